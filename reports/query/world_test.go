package query

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/internal/keyspace/open"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/record"
	"berth/schema/rollup"
)

// event is a reading as it entered the log: its index is its order.
type event struct {
	sensor string
	time   int64
	value  schema.Value
}

// position deals positions out so that two readings share each batch.
func position(i int) schema.Position {
	return schema.Position{Sequence: uint64(i/2) + 1, Ordinal: uint32(i % 2)}
}

const testGateway = "g1"

// now is when the questions of these tests are asked.
var now = time.Date(2026, 3, 10, 9, 30, 0, 0, time.UTC)

// history draws what a gateway sent over some days: repeated, late, at equal times and changing kind.
func history(t *rapid.T) []event {
	days := rapid.IntRange(1, 6).Draw(t, "days")
	spread := int64(days) * int64(day) / 60
	count := rapid.IntRange(1, 120).Draw(t, "count")
	events := make([]event, 0, count)
	for range count {
		e := event{
			sensor: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "sensor"),
			time:   now.UnixNano() - rapid.Int64Range(1, 60).Draw(t, "slot")*spread,
		}
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			e.value = schema.TextValue(rapid.SampledFrom([]string{"ok", "bad"}).Draw(t, "text"))
		case 1:
			e.value = schema.BoolValue(rapid.Bool().Draw(t, "bool"))
		case 2:
			e.value = schema.IntValue(rapid.Int64Range(-9, 9).Draw(t, "int"))
		case 3:
			e.value = schema.FloatValue(math.NaN())
		default:
			e.value = schema.FloatValue(float64(rapid.IntRange(-1000, 1000).Draw(t, "float")) / 4)
		}
		events = append(events, e)
	}
	return events
}

// world is a history as a running installation may hold it.
type world struct {
	events []event
	store  keyspace.Writer
	head   *fakeHead
	engine *Engine
	ctx    context.Context //nolint:containedctx // of the test
}

// fakeHead answers as ingest's head does, or not at all.
type fakeHead struct {
	away    bool
	header  headapi.Header
	parts   [][]byte
	entries []*catalog.Entry
}

// Ask answers head.parts, head.latest and head.gateways.
func (h *fakeHead) Ask(_ context.Context, subject string, request []byte, chunk func([]byte) error) error {
	if h.away {
		return schema.Errorf(schema.Unavailable, "nobody answers")
	}
	header, err := json.Marshal(h.header)
	if err != nil {
		return err
	}
	if err := chunk(header); err != nil {
		return err
	}
	var chunks [][]byte
	switch subject {
	case headapi.Parts:
		chunks = h.parts
	case headapi.Latest, headapi.Gateways:
		var q struct{ Gateway, After string }
		if err := json.Unmarshal(request, &q); err != nil {
			return err
		}
		for _, e := range h.entries {
			if q.Gateway == e.Gateway || subject == headapi.Gateways && e.Gateway > q.After {
				chunks = append(chunks, catalog.EncodeEntry(nil, e))
			}
		}
	}
	for _, c := range chunks {
		if err := chunk(c); err != nil {
			return err
		}
	}
	return nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	backend, err := open.Open("sqlite:"+t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	ctx := context.Background()
	if err := backend.Create(ctx, "p1"); err != nil {
		t.Fatal(err)
	}
	store, err := backend.Writer(ctx, "p1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := &world{store: store, head: &fakeHead{header: headapi.Header{Complete: true}}, ctx: ctx}
	settings := record.DefaultSettings()
	w.engine = New(Options{
		Store: store, Head: w.head, Now: func() time.Time { return now }, Logger: log,
		Settings: func() record.Settings { return settings },
		Keys:     func() []string { return []string{"quiet"} },
	})
	return w
}

// contents returns the readings [from, to) of the history, a content for each day, in parts of at most size readings.
func (w *world) contents(from, to, size int) []*block.Content {
	builders := map[int64]*block.Builder{}
	var done []*block.Content
	for i := from; i < to; i++ {
		e := w.events[i]
		d := schema.Start(e.time, schema.DaySpan)
		if builders[d] == nil {
			builders[d] = block.NewBuilder(testGateway)
		}
		builders[d].Add(e.sensor, e.time, e.value, position(i))
		if builders[d].Len() >= size {
			done = append(done, builders[d].Content())
			delete(builders, d)
		}
	}
	for _, b := range builders {
		done = append(done, b.Content())
	}
	return done
}

// store writes contents as blocks, with the marks of what they touch.
func (w *world) put(t *rapid.T, contents []*block.Content) {
	var c keyspace.Changes
	for _, content := range contents {
		first, last := content.Span()
		data, err := block.Encode(nil, content)
		if err != nil {
			t.Fatal(err)
		}
		c.Blocks = append(c.Blocks, keyspace.Block{
			BlockKey: keyspace.BlockKey{Gateway: testGateway, First: first, From: content.From, To: content.To}, Last: last, Data: data,
		})
		for _, span := range []keyspace.Span{keyspace.Hour, keyspace.Day} {
			for start := schema.Start(first, span.Length()); start <= last; start += span.Length() {
				c.Marks = append(c.Marks, keyspace.Mark{RollupKey: keyspace.RollupKey{Gateway: testGateway, Span: span, Start: start}, Stale: content.To})
			}
		}
	}
	if _, err := w.store.Write(w.ctx, &c); err != nil {
		t.Fatal(err)
	}
}

// roll writes the rollups of what has been stored up to now, of some of the spans.
func (w *world) roll(t *rapid.T, upTo int) {
	var c keyspace.Changes
	err := w.store.Unrolled(w.ctx, math.MaxInt64, func(key keyspace.RollupKey) bool {
		if !rapid.Bool().Draw(t, "rolled") {
			return true
		}
		var sources []block.Source
		for _, content := range w.contents(0, upTo, math.MaxInt) {
			sources = append(sources, content)
		}
		series, err := block.Merge(sources, nil, key.Start, key.Start+key.Span.Length())
		if err != nil {
			t.Fatal(err)
		}
		computed := position(upTo - 1)
		c.Rollups = append(c.Rollups, keyspace.Rollup{RollupKey: key, Computed: computed, Data: rollup.Encode(nil, rollup.Compute(series))})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Write(w.ctx, &c); err != nil {
		t.Fatal(err)
	}
}

// settle deals the history out: what is stored as blocks in two runs that may overlap as after a crash, what is in the
// tail, what is in the head, which may still hold what is stored.
func (w *world) settle(t *rapid.T) {
	n := len(w.events)
	firstRun := rapid.IntRange(0, n).Draw(t, "first run ends")
	secondFrom := rapid.IntRange(0, firstRun).Draw(t, "second run begins")
	stored := rapid.IntRange(firstRun, n).Draw(t, "stored")
	tailed := rapid.IntRange(stored, n).Draw(t, "tailed")
	headFrom := rapid.IntRange(0, tailed).Draw(t, "head begins")
	size := rapid.IntRange(1, 40).Draw(t, "size")

	w.put(t, w.contents(0, firstRun, size))
	if firstRun > 0 {
		w.roll(t, firstRun)
	}
	w.put(t, w.contents(secondFrom, stored, size+1))
	if tailed > 0 {
		var blocks [][]byte
		for _, content := range w.contents(stored, tailed, math.MaxInt) {
			blocks = append(blocks, w.encode(t, content))
		}
		row := keyspace.Gateway{
			Name: testGateway, Position: position(tailed - 1),
			Entry: catalog.EncodeEntry(nil, w.entry(0, tailed)), Tail: catalog.EncodeTail(nil, blocks),
		}
		if _, err := w.store.Write(w.ctx, &keyspace.Changes{Gateways: []keyspace.Gateway{row}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, content := range w.contents(headFrom, n, size) {
		w.head.parts = append(w.head.parts, w.encode(t, content))
	}
	if headFrom < n {
		w.head.entries = []*catalog.Entry{w.entry(headFrom, n)}
	}
}

func (w *world) encode(t *rapid.T, c *block.Content) []byte {
	data, err := block.Encode(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// entry is what the catalog knows after the readings [from, to).
func (w *world) entry(from, to int) *catalog.Entry {
	e := &catalog.Entry{Gateway: testGateway, FirstSeen: now.UnixNano() - int64(time.Hour), LastSeen: now.UnixNano() - int64(time.Minute)}
	for i := from; i < to; i++ {
		v := w.events[i]
		e.Observe(v.sensor, v.time, v.value, position(i))
	}
	return e
}

// truth returns the readings that are valid, in order of time and sensor.
func (w *world) truth() []event {
	byIdentity := map[string]event{}
	for _, e := range w.events {
		byIdentity[fmt.Sprint(e.sensor, " ", e.time)] = e
	}
	var out []event
	for _, e := range byIdentity {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.sensor, b.sensor))
	})
	return out
}
