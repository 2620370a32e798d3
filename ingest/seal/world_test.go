package seal_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/ingest/head"
	"berth/ingest/seal"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/block"
	"berth/schema/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is when every test begins: some hours into a day, so that some hours have ended.
var start = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// reading is a value as the model keeps it, comparable also when it is NaN.
type reading struct {
	kind schema.Kind
	bits uint64
	text string
}

func readingOf(v schema.Value) reading {
	r := reading{kind: v.Kind(), bits: v.Bits()}
	if v.Kind() == schema.Text {
		r.text = v.Text()
	}
	return r
}

type identity struct {
	sensor string
	time   int64
}

// world is a provider's ingest without its listeners: a log, a keyspace, the head and the sealer; and beside it a model
// that simply remembers every reading. The clock is the test's.
type world struct {
	t        fataler
	log      journal
	store    *store // nil when the keyspace is a real one
	keyspace keyspace.Writer
	shapes   *batch.Interner
	encoder  batch.Encoder
	head     *head.Head
	sealer   *seal.Sealer
	budget   int64
	clock    time.Time     // the steady one
	jump     time.Duration // the wall clock is so far from it
	aside    []*seal.Refused
	asideErr error                           // what setting aside returns, if it cannot be done
	keep     time.Duration                   // retention of readings; 0: for ever
	model    map[string]map[identity]reading // by gateway
	late     map[string]map[identity]bool    // of those, which came late each time
	readings map[string]int                  // sent, by gateway
}

// fataler is what testing.T and rapid.T share.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// journal is the log as the world uses it.
type journal interface {
	claim(above uint64, data []byte) (seq uint64)
	append(data []byte) (seq uint64)
	bounds() (first, last uint64)
	read(ctx context.Context, from, upTo uint64, fn func(uint64, []byte) error) error
	trim(ctx context.Context, upTo uint64) error
}

// newWorld returns a world in memory.
func newWorld(t fataler) *world {
	s := newStore()
	w := newWorldOn(t, &messages{}, s)
	w.store = s
	return w
}

func newWorldOn(t fataler, log journal, k keyspace.Writer) *world {
	w := &world{
		t: t, log: log, keyspace: k, shapes: batch.NewInterner(1 << 12), clock: start,
		model: make(map[string]map[identity]reading), late: make(map[string]map[identity]bool), readings: make(map[string]int),
	}
	w.begin()
	w.replay()
	return w
}

// begin starts ingest: it claims the log and makes a head and a sealer.
func (w *world) begin() {
	w.t.Helper()
	position, err := w.keyspace.Position(context.Background())
	w.check(err)
	claim := w.log.claim(position.Sequence, w.encoder.Encode(nil, &batch.Header{Kind: batch.Claim, Claim: "c", Created: w.clock.UnixNano()}))
	first, _ := w.log.bounds()
	now, steady := func() time.Time { return w.clock.Add(w.jump) }, func() time.Time { return w.clock }
	w.head = head.New(head.Options{Budget: w.budget, PartTimes: 120, Now: now}, first, claim)
	o := seal.Options{
		Head: w.head, Keyspace: w.keyspace, Trim: w.log.trim, Now: now, Steady: steady, Logger: slog.New(slog.DiscardHandler),
		Aside: func(_ context.Context, r *seal.Refused) error {
			if w.asideErr == nil {
				w.aside = append(w.aside, r)
			}
			return w.asideErr
		},
	}
	if w.keep > 0 {
		o.Retention = func() time.Duration { return w.keep }
	}
	w.sealer = seal.New(o)
}

// replay has the head follow the log, with rounds of the sealer meanwhile so that a small one finds room.
func (w *world) replay() {
	w.t.Helper()
	replay := func() error {
		return w.head.Replay(context.Background(), w.log.read, w.shapes, func(context.Context, uint64, []byte, error) error { return nil })
	}
	if w.budget == 0 {
		w.check(replay())
		return
	}
	done := make(chan error, 1)
	go func() { done <- replay() }()
	for {
		select {
		case err := <-done:
			w.check(err)
			return
		default:
			w.round()
		}
	}
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v", err)
	}
}

// round has the sealer do one round; its errors are the store's failures.
func (w *world) round() {
	_, _ = w.sealer.Round(context.Background())
}

// pass lets time pass, with a round every ten seconds.
func (w *world) pass(d time.Duration) {
	for end := w.clock.Add(d); w.clock.Before(end); w.clock = w.clock.Add(10 * time.Second) {
		for range 4 {
			w.round()
		}
	}
}

// row is a row that a gateway sends.
type row struct {
	gateway string
	time    int64
	sensors []string
	values  []schema.Value
}

// send commits rows as one batch and has the head follow it.
func (w *world) send(rows ...row) (seq uint64) {
	b := &batch.Rows{}
	h := &batch.Header{Kind: batch.Data, Claim: "c", Created: w.clock.Add(w.jump).UnixNano()}
	for _, r := range rows {
		kinds := make([]schema.Kind, len(r.values))
		for i, v := range r.values {
			kinds[i] = v.Kind()
		}
		shape := w.shapes.Shape(r.gateway, r.sensors, kinds, []batch.Attribute{{Name: "site", Value: "harbor"}})
		b.Rows = append(b.Rows, batch.Row{Shape: shape, Time: r.time, First: uint32(len(b.Bits))})
		if w.model[r.gateway] == nil {
			w.model[r.gateway], w.late[r.gateway] = make(map[identity]reading), make(map[identity]bool)
		}
		for i, v := range r.values {
			id := identity{r.sensors[i], r.time}
			_, again := w.model[r.gateway][id]
			w.late[r.gateway][id] = schema.Late(r.time, h.Created) && (!again || w.late[r.gateway][id])
			w.model[r.gateway][id] = readingOf(v)
			w.readings[r.gateway]++
			if v.Kind() == schema.Text {
				b.Bits = append(b.Bits, b.AddText([]byte(v.Text())))
			} else {
				b.Bits = append(b.Bits, v.Bits())
			}
		}
	}
	seq = w.log.append(w.encoder.Encode(nil, h, b))
	w.head.Follow(seq, h, b)
	return seq
}

// crash kills ingest, has the keyspace forget what kept says, and starts anew.
func (w *world) crash(kept func() int) {
	w.t.Helper()
	w.store.crash(kept)
	w.begin()
}

// ask puts a question to the head and returns the header and the chunks after it.
func (w *world) ask(subject string, question any) (header headapi.Header, chunks [][]byte) {
	w.t.Helper()
	request, err := json.Marshal(question)
	w.check(err)
	n := 0
	err = w.head.Answers()[subject](context.Background(), request, func(chunk []byte) error {
		if n++; n == 1 {
			return json.Unmarshal(chunk, &header)
		}
		chunks = append(chunks, slices.Clone(chunk))
		return nil
	})
	w.check(err)
	return header, chunks
}

// sources returns all of a gateway's readings as a query finds them: the head first, the keyspace second.
func (w *world) sources(gateway string, from, to int64, withHead bool) (sources []block.Source) {
	w.t.Helper()
	if withHead {
		header, chunks := w.ask(headapi.Parts, headapi.PartsRequest{Gateway: gateway, From: from, To: to})
		if !header.Complete {
			w.t.Fatalf("the head is not complete: %+v", header)
		}
		for _, data := range chunks {
			sources = append(sources, w.open(data))
		}
	}
	if g, err := w.keyspace.Gateway(context.Background(), gateway); err == nil && len(g.Tail) > 0 {
		blocks, err := catalog.DecodeTail(g.Tail)
		w.check(err)
		for _, data := range blocks {
			sources = append(sources, w.open(data))
		}
	} else if err != nil && !schema.Is(err, schema.NotFound) {
		w.check(err)
	}
	w.check(w.keyspace.Blocks(context.Background(), gateway, from, to, func(b keyspace.Block) error {
		sources = append(sources, w.open(slices.Clone(b.Data)))
		return nil
	}))
	return sources
}

func (w *world) open(data []byte) *block.Reader {
	w.t.Helper()
	r, err := block.Open(data)
	w.check(err)
	return r
}

// found returns all that is found of a gateway's readings, and which of them came late.
func (w *world) found(gateway string, withHead bool) (found map[identity]reading, late map[identity]bool) {
	w.t.Helper()
	series, err := block.Merge(w.sources(gateway, math.MinInt64/2, math.MaxInt64/2, withHead), nil, math.MinInt64/2, math.MaxInt64/2)
	w.check(err)
	found, late = make(map[identity]reading), make(map[identity]bool)
	for i := range series {
		for j := range series[i].Len() {
			id := identity{series[i].Sensor, series[i].Times[j]}
			found[id], late[id] = readingOf(series[i].Value(j)), series[i].Late != nil && series[i].Late[j]
		}
	}
	return found, late
}

var _ fataler = (*testing.T)(nil)
