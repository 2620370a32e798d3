// Package querytest deals a random history of one gateway out as a running installation may hold it: late, repeated and of changing
// kinds, in blocks that overlap as after a crash, in rollups that are stale, in the tail and in the head. What reads it is compared
// with the brute force of [World.Truth].
package querytest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/internal/keyspace/open"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/rollup"
)

// Event is a reading as it entered the log: its index is its order.
type Event struct {
	Sensor string
	Time   int64
	Value  schema.Value
	Late   bool // it came late
}

// Position deals positions out so that two readings share each batch.
func Position(i int) schema.Position {
	return schema.Position{Sequence: uint64(i/2) + 1, Ordinal: uint32(i % 2)}
}

// Gateway is whose history it is.
const Gateway = "g1"

// Now is when the questions of these tests are asked.
var Now = time.Date(2026, 3, 10, 9, 30, 0, 0, time.UTC)

// History draws what a gateway sent over some days: repeated, late, at equal times and changing kind.
func History(t *rapid.T) []Event {
	days := rapid.IntRange(1, 6).Draw(t, "days")
	spread := int64(days) * schema.DaySpan / 60
	count := rapid.IntRange(1, 120).Draw(t, "count")
	events := make([]Event, 0, count)
	for range count {
		e := Event{
			Sensor: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "sensor"),
			Time:   Now.UnixNano() - rapid.Int64Range(1, 60).Draw(t, "slot")*spread,
		}
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			e.Value = schema.TextValue(rapid.SampledFrom([]string{"ok", "bad"}).Draw(t, "text"))
		case 1:
			e.Value = schema.BoolValue(rapid.Bool().Draw(t, "bool"))
		case 2:
			e.Value = schema.IntValue(rapid.Int64Range(-9, 9).Draw(t, "int"))
		case 3:
			e.Value = schema.FloatValue(math.NaN())
		default:
			e.Value = schema.FloatValue(float64(rapid.IntRange(-1000, 1000).Draw(t, "float")) / 4)
		}
		e.Late = rapid.IntRange(0, 2).Draw(t, "late") == 0
		events = append(events, e)
	}
	return events
}

// World is a history as a running installation may hold it.
type World struct {
	Events []Event
	Store  keyspace.Writer
	Head   *Head

	Interval int64 // the gateway's, as the catalog knows it

	ctx context.Context //nolint:containedctx // of the test
}

// Head answers as ingest's head does, or not at all.
type Head struct {
	Away    bool
	Header  headapi.Header
	Parts   [][]byte
	Entries []*catalog.Entry
	Fleets  atomic.Int64 // how often head.fleet was asked

	Changes Changes
}

// Ask answers head.parts, head.fleet, head.latest and head.gateways.
func (h *Head) Ask(_ context.Context, subject string, request []byte, chunk func([]byte) error) error {
	if h.Away {
		return schema.Errorf(schema.Unavailable, "nobody answers")
	}
	said := h.Header
	var of headapi.GatewaysRequest
	if subject == headapi.Gateways {
		var err error
		if said.Parts, err = h.within(request); err != nil {
			return err
		}
		if err := json.Unmarshal(request, &of); err != nil {
			return err
		}
		h.Changes.begin(&of, &said)
	}
	header, err := json.Marshal(said)
	if err != nil {
		return err
	}
	if err := chunk(header); err != nil {
		return err
	}
	var chunks [][]byte
	switch subject {
	case headapi.Parts, headapi.Fleet:
		if subject == headapi.Fleet {
			h.Fleets.Add(1)
		}
		var q struct {
			Gateway  string
			Gateways []string
		}
		if err := json.Unmarshal(request, &q); err != nil {
			return err
		}
		for _, part := range h.Parts {
			reader, err := block.Open(slices.Clone(part))
			if err != nil {
				return err
			}
			if name := reader.Gateway(); name == q.Gateway || slices.Contains(q.Gateways, name) {
				chunks = append(chunks, part)
			}
		}
	case headapi.Latest:
		var q headapi.LatestRequest
		if err := json.Unmarshal(request, &q); err != nil {
			return err
		}
		for _, e := range h.Entries {
			if q.Gateway == e.Gateway {
				chunks = append(chunks, catalog.EncodeEntry(nil, e))
			}
		}
	case headapi.Gateways:
		chunks = h.Changes.chunks(h.Entries, &of, said.Missed)
	}
	for _, c := range chunks {
		if err := chunk(c); err != nil {
			return err
		}
	}
	return nil
}

// within returns the gateways that have parts of days in the range of a question.
func (h *Head) within(request []byte) (*headapi.Names, error) {
	var q headapi.GatewaysRequest
	if err := json.Unmarshal(request, &q); err != nil || q.From >= q.To {
		return nil, err
	}
	all := &headapi.Names{Whole: true}
	for _, part := range h.Parts {
		reader, err := block.Open(slices.Clone(part))
		if err != nil {
			return nil, err
		}
		if day := schema.Start(reader.First(), schema.DaySpan); reader.Gateway() > q.After && day < q.To && q.From < day+schema.DaySpan {
			all.Names = append(all.Names, reader.Gateway())
		}
	}
	slices.Sort(all.Names)
	all.Names = slices.Compact(all.Names)
	return all, nil
}

// New returns a World without a history, in a keyspace of its own that is empty.
func New(t testing.TB) *World {
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
	w := &World{Store: store, Head: &Head{Header: headapi.Header{Complete: true}}, ctx: ctx}
	return w
}

// contents returns the readings [from, to) of the history, a content for each day, in parts of at most size readings.
func (w *World) contents(from, to, size int) []*block.Content {
	builders := map[int64]*block.Builder{}
	var done []*block.Content
	for i := from; i < to; i++ {
		e := w.Events[i]
		d := schema.Start(e.Time, schema.DaySpan)
		if builders[d] == nil {
			builders[d] = block.NewBuilder(Gateway)
		}
		add := builders[d].Add
		if e.Late {
			add = builders[d].AddLate
		}
		add(e.Sensor, e.Time, e.Value, Position(i))
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

// put writes contents as blocks, with the marks of what they touch.
func (w *World) put(t fataler, contents []*block.Content) {
	var c keyspace.Changes
	for _, content := range contents {
		first, last := content.Span()
		data, err := block.Encode(nil, content)
		if err != nil {
			t.Fatal(err)
		}
		c.Blocks = append(c.Blocks, keyspace.Block{
			BlockKey: keyspace.BlockKey{Gateway: Gateway, First: first, From: content.From, To: content.To}, Last: last, Data: data,
		})
		for _, span := range []keyspace.Span{keyspace.Hour, keyspace.Day} {
			for start := schema.Start(first, span.Length()); start <= last; start += span.Length() {
				c.Marks = append(c.Marks, keyspace.Mark{RollupKey: keyspace.RollupKey{Gateway: Gateway, Span: span, Start: start}, Stale: content.To})
			}
		}
	}
	if _, err := w.Store.Write(w.ctx, &c); err != nil {
		t.Fatal(err)
	}
}

// roll writes the rollups of what has been stored up to now, of some of the spans.
func (w *World) roll(t *rapid.T, upTo int) {
	var c keyspace.Changes
	err := w.Store.Unrolled(w.ctx, math.MaxInt64, func(key keyspace.RollupKey) bool {
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
		computed := Position(upTo - 1)
		c.Rollups = append(c.Rollups, keyspace.Rollup{RollupKey: key, Computed: computed, Data: rollup.Encode(nil, rollup.Compute(series))})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Store.Write(w.ctx, &c); err != nil {
		t.Fatal(err)
	}
}

// fataler is a test, or a property's.
type fataler interface{ Fatal(args ...any) }

// Keep stores the whole history as blocks of so many readings, and the gateway's row.
func (w *World) Keep(t fataler, size int) {
	n := len(w.Events)
	w.put(t, w.contents(0, n, size))
	row := keyspace.Gateway{Name: Gateway, Position: Position(n - 1), Entry: catalog.EncodeEntry(nil, w.Entry(0, n))}
	if _, err := w.Store.Write(w.ctx, &keyspace.Changes{Gateways: []keyspace.Gateway{row}}); err != nil {
		t.Fatal(err)
	}
}

// Settle deals the history out: what is stored as blocks in two runs that may overlap as after a crash, what is in the
// tail, what is in the head, which may still hold what is stored.
func (w *World) Settle(t *rapid.T) {
	n := len(w.Events)
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
			Name: Gateway, Position: Position(tailed - 1),
			Entry: catalog.EncodeEntry(nil, w.Entry(0, tailed)), Tail: catalog.EncodeTail(nil, blocks),
		}
		if _, err := w.Store.Write(w.ctx, &keyspace.Changes{Gateways: []keyspace.Gateway{row}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, content := range w.contents(headFrom, n, size) {
		w.Head.Parts = append(w.Head.Parts, w.encode(t, content))
	}
	if headFrom < n {
		w.Head.Entries = []*catalog.Entry{w.Entry(headFrom, n)}
	}
}

func (w *World) encode(t fataler, c *block.Content) []byte {
	data, err := block.Encode(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Entry is what the catalog knows after the readings [from, to).
func (w *World) Entry(from, to int) *catalog.Entry {
	e := &catalog.Entry{Gateway: Gateway, Interval: w.Interval, FirstSeen: Now.UnixNano() - int64(time.Hour), LastSeen: Now.UnixNano() - int64(time.Minute)}
	for i := from; i < to; i++ {
		v := w.Events[i]
		e.Observe(v.Sensor, v.Time, v.Value, Position(i))
	}
	return e
}

// Truth returns the readings that are valid, in order of time and sensor. Late are those that came late each time.
func (w *World) Truth() []Event {
	byIdentity := map[string]Event{}
	for _, e := range w.Events {
		id := fmt.Sprint(e.Sensor, " ", e.Time)
		if earlier, again := byIdentity[id]; again {
			e.Late = e.Late && earlier.Late
		}
		byIdentity[id] = e
	}
	var out []Event
	for _, e := range byIdentity {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Sensor, b.Sensor))
	})
	return out
}
