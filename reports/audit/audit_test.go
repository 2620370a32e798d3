package audit

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/internal/keyspace/open"
	"berth/reports/query"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const gateway = "g1"

// world is a provider whose readings are all in the log, and in the head.
type world struct {
	t      *testing.T
	first  uint64 // sequence of the first message
	log    [][]byte
	trims  uint64 // so many are trimmed while the log is read
	begin  int64
	books  api.Books
	totals batch.Totals
	shapes *batch.Interner
	head   map[string]map[int64]schema.Value // by sensor and time
	store  keyspace.Reader
	ends   Keyspace                      // where the keyspace ends
	asked  int                           // how often for the books
	tell   func(asked int, b *api.Books) // changes what the books say; nil: nothing
}

// at is a keyspace that ends there.
type at schema.Position

func (a at) Position(context.Context) (schema.Position, error) { return schema.Position(a), nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	backend, err := open.Open("sqlite:"+t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	if err := backend.Create(t.Context(), "p1"); err != nil {
		t.Fatal(err)
	}
	store, err := backend.Reader(t.Context(), "p1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := &world{
		t: t, first: 7, begin: time.Now().Add(-time.Hour).Truncate(time.Second).UnixNano(), shapes: batch.NewInterner(100),
		head: map[string]map[int64]schema.Value{"a": {}, "b": {}}, store: store, ends: store,
	}
	w.message(batch.Claim, "c1", 0)
	for n := range 5 {
		w.message(batch.Data, "c1", 10+n)
	}
	w.message(batch.Claim, "c2", 0)
	for range 5 {
		w.message(batch.Data, "c2", 10)
	}
	return w
}

// message appends a message of so many rows of two readings; each message gives the first readings of all new values.
func (w *world) message(kind batch.Kind, claim string, rows int) {
	shape := w.shapes.Shape(gateway, []string{"a", "b"}, []schema.Kind{schema.Float, schema.Float}, nil)
	r := &batch.Rows{}
	for i := range rows {
		at := w.begin + int64(i)*int64(time.Second)
		value := schema.FloatValue(float64(len(w.log)*100 + i))
		r.Rows = append(r.Rows, batch.Row{Shape: shape, Time: at, First: uint32(len(r.Bits))})
		r.Bits = append(r.Bits, value.Bits(), value.Bits())
		w.head["a"][at], w.head["b"][at] = value, value
	}
	if rows > 0 {
		w.totals.FramesCommitted++
		w.totals.FramesReceived++
	}
	w.totals.Accepted += uint64(r.Readings())
	w.append(kind, claim, w.totals, r)
}

func (w *world) append(kind batch.Kind, claim string, totals batch.Totals, r *batch.Rows) {
	var e batch.Encoder
	h := &batch.Header{Kind: kind, Claim: claim, Created: w.begin, Totals: totals}
	if kind == batch.Claim {
		w.log = append(w.log, e.Encode(nil, h))
		return
	}
	w.log = append(w.log, e.Encode(nil, h, r))
}

// change changes the header of a message that is in the log.
func (w *world) change(n int, fn func(h *batch.Header)) {
	h, rows, err := batch.Decode(w.log[n], w.shapes)
	if err != nil {
		w.t.Fatal(err)
	}
	fn(&h)
	var e batch.Encoder
	w.log[n] = e.Encode(nil, &h, rows)
}

// takesBack changes totals by less.
func takesBack(less *batch.Totals) func(h *batch.Header) {
	return func(h *batch.Header) {
		h.Totals.FramesCommitted -= less.FramesCommitted
		h.Totals.FramesRejected -= less.FramesRejected
		h.Totals.FramesGivenUp -= less.FramesGivenUp
		h.Totals.FramesReceived -= less.FramesCommitted + less.FramesRejected + less.FramesGivenUp
	}
}

// State and Read are Log.
func (w *world) State(context.Context) (bus.LogState, error) {
	return bus.LogState{First: w.first, Last: w.first + uint64(len(w.log)) - 1, Messages: uint64(len(w.log))}, nil
}

func (w *world) Read(_ context.Context, from, upTo uint64, fn func(uint64, []byte) error) error {
	for i, m := range w.log {
		sequence := w.first + uint64(i)
		if sequence < from || sequence > upTo {
			continue
		}
		if w.trims > 0 && i == 2 {
			w.first, w.log = w.first+w.trims, w.log[w.trims:]
			w.trims = 0
			return schema.Errorf(schema.Conflict, "trimmed while it was read")
		}
		if err := fn(sequence, m); err != nil {
			return err
		}
	}
	return nil
}

// Ask is the head's.
func (w *world) Ask(_ context.Context, subject string, _ []byte, chunk func([]byte) error) error {
	if subject == headapi.Books {
		b := w.books
		b.Frames.Received += w.totals.FramesReceived
		b.Frames.Committed, b.Readings.Accepted = w.totals.FramesCommitted, w.totals.Accepted
		b.Log.Last = w.first + uint64(len(w.log)) - 1
		b.Log.Followed = b.Log.Last
		if w.asked++; w.tell != nil {
			w.tell(w.asked, &b)
		}
		data, err := json.Marshal(&b)
		if err != nil {
			return err
		}
		return chunk(data)
	}
	header, err := json.Marshal(headapi.Header{Complete: true})
	if err != nil {
		return err
	}
	if err := chunk(header); err != nil {
		return err
	}
	builder, entry := block.NewBuilder(gateway), &catalog.Entry{Gateway: gateway}
	for _, sensor := range []string{"a", "b"} {
		for _, at := range slices.Sorted(maps.Keys(w.head[sensor])) {
			builder.Add(sensor, at, w.head[sensor][at], schema.Position{Sequence: 9})
			entry.Observe(sensor, at, w.head[sensor][at], schema.Position{Sequence: 9})
		}
	}
	if subject == headapi.Parts {
		data, err := block.Encode(nil, builder.Content())
		if err != nil {
			return err
		}
		return chunk(data)
	}
	return chunk(catalog.EncodeEntry(nil, entry))
}

func (w *world) audit() *api.Audit {
	w.t.Helper()
	settings := record.DefaultSettings()
	engine := query.New(query.Options{
		Store: w.store, Head: w, Settings: func() record.Settings { return settings }, Keys: func() []string { return nil },
		Logger: slog.New(slog.DiscardHandler),
	})
	var result *api.Audit
	err := Run(w.t.Context(), Options{Provider: "p1", Engine: engine, Keyspace: w.ends, Head: w, Log: w, Tell: func(e api.AuditEvent) error {
		if e.Result != nil {
			result = e.Result
		}
		return nil
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

func TestWhatBalancesBalances(t *testing.T) {
	w := newWorld(t)
	r := w.audit()
	if !r.Balanced || r.Log.Messages != 12 || r.Log.Readings != 220 || r.Keyspace.Identities != 28 || r.Keyspace.Latest != 2 || r.Log.Trimmed != 0 {
		t.Errorf("%+v", r)
	}
	w.trims = 4
	if r := w.audit(); !r.Balanced || r.Log.Trimmed != 2 || r.Log.Messages != 10 {
		t.Errorf("of a log that was trimmed meanwhile: %+v", r)
	}
}

// TestAnAuditWaitsForTheHead: what the log has and the head has not followed yet is not lost.
func TestAnAuditWaitsForTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		late := w.begin + 4*int64(time.Second)
		value := w.head["b"][late]
		delete(w.head["b"], late)
		w.tell = func(asked int, b *api.Books) {
			if asked < 5 {
				b.Log.Followed--
			} else {
				w.head["b"][late] = value
			}
		}
		if r := w.audit(); !r.Balanced || r.Log.Messages != 12 {
			t.Errorf("%+v", r)
		}
	})
}

// TestWhatRetentionHasRemovedIsNotLost: the log may have readings still that are too old to be shown.
func TestWhatRetentionHasRemovedIsNotLost(t *testing.T) {
	w := newWorld(t)
	now, head := w.begin, map[string]map[int64]schema.Value{"a": maps.Clone(w.head["a"]), "b": maps.Clone(w.head["b"])}
	w.begin -= int64(record.DefaultSettings().Retention)
	w.message(batch.Data, "c2", 3)
	w.begin, w.head = now, head
	if r := w.audit(); !r.Balanced || r.Log.Expired != 6 {
		t.Errorf("%+v", r)
	}
}

// TestAFenceIsNoFinding puts a claim's fence, whose totals are outdated, before the claim.
func TestAFenceIsNoFinding(t *testing.T) {
	w := newWorld(t)
	w.log = slices.Insert(w.log, 6, slices.Clone(w.log[6]))
	w.change(6, func(h *batch.Header) { h.Totals.Accepted, h.Totals.FramesCommitted, h.Totals.FramesReceived = 20, 1, 1 })
	if r := w.audit(); !r.Balanced || r.Log.Messages != 13 {
		t.Errorf("%+v", r)
	}
}

// TestWhatDoesNotBalanceIsNamed tampers with totals, messages and readings, one at a time.
func TestWhatDoesNotBalanceIsNamed(t *testing.T) {
	timeOf := func(w *world, i int) int64 { return w.begin + int64(i)*int64(time.Second) }
	for name, c := range map[string]struct {
		tamper      func(w *world)
		where, text string
	}{
		"a message counts too many": {func(w *world) {
			w.change(3, func(h *batch.Header) { h.Totals.Accepted++ })
		}, "log message 10", "it holds 24 readings, but counts 25 more"},
		"a message is missing": {func(w *world) {
			w.log = slices.Delete(w.log, 3, 4)
		}, "log message 10", "it holds 26 readings, but counts 50 more"},
		"a message is another writer's": {func(w *world) {
			w.change(8, func(h *batch.Header) { h.Claim = "c1" })
		}, "log message 15", `it is of claim "c1", but the log was claimed by "c2"`},
		"a claim counts too few": {func(w *world) {
			w.change(6, func(h *batch.Header) { h.Totals.Accepted-- })
		}, "log message 14", `it is of claim "c2", but the log was claimed by "c1"`},
		"a message's frames do not add up": {func(w *world) {
			w.change(11, func(h *batch.Header) { h.Totals.FramesReceived += 3 })
		}, "log message 18", "totals that do not balance"},
		"a message counts other bytes": {func(w *world) {
			w.change(11, func(h *batch.Header) { h.Totals.Bytes = 3 })
		}, "log message 18", "it counts 3 bytes before it"},
		"a message's bytes are changed": {func(w *world) { w.log[4][len(w.log[4])/2] ^= 4 }, "log message 11", "cannot be read"},
		"a message is lost":             {func(w *world) { w.log[4] = nil }, "log message 11", "the log has lost it"},
		"the books know more than the log": {func(w *world) {
			w.log = w.log[:11]
		}, "books readings", "said 220 readings were accepted before"},
		"frames are nowhere": {func(w *world) { w.books.Frames.Received = 2 }, "books frames", "12 frames were received, but 10 committed"},
		"frames are nowhere before": {func(w *world) {
			w.tell = func(asked int, b *api.Books) {
				if asked == 1 {
					b.Frames.InHand = 2
				}
			}
		}, "books frames", "before the recount 10 frames were received, but 10 committed, 0 rejected, 0 given up and 2 in hand"},
		"frames are nowhere after": {func(w *world) {
			w.tell = func(asked int, b *api.Books) {
				if asked > 2 {
					b.Frames.Rejected = 1
				}
			}
		}, "books frames", "after the recount 10 frames were received, but 10 committed, 1 rejected"},
		"the books know less than the log": {func(w *world) {
			w.tell = func(asked int, b *api.Books) {
				if asked > 2 {
					b.Readings.Accepted--
				}
			}
		}, "books readings", "accepted before and 219 after"},
		"the keyspace ends after the log":  {func(w *world) { w.ends = at{Sequence: 99} }, "books log", "ends at 18, but the keyspace holds readings up to 99"},
		"a message takes back a committed": {func(w *world) { w.change(9, takesBack(&batch.Totals{FramesCommitted: 2})) }, "log message 16", "less than those"},
		"a message takes back a rejected": {func(w *world) {
			w.change(8, takesBack(&batch.Totals{FramesRejected: math.MaxUint64})) // the next has none
		}, "log message 16", "less than those"},
		"a message takes back what was given up": {func(w *world) {
			w.change(8, takesBack(&batch.Totals{FramesGivenUp: math.MaxUint64}))
		}, "log message 16", "less than those"},
		"a reading has the value of before": {func(w *world) {
			w.head["b"][timeOf(w, 4)] = schema.FloatValue(104)
		}, "lost g1", "is 104, but the log gave it"},
		"a reading is gone": {func(w *world) { delete(w.head["b"], timeOf(w, 4)) }, "lost g1", "1 readings of"},
		"a reading has another value": {func(w *world) {
			w.head["b"][timeOf(w, 4)] = schema.FloatValue(-1)
		}, "lost g1", "is -1, but the log gave it"},
		"readings are there that nobody sent": {func(w *world) {
			for i := range 300 {
				w.head["a"][timeOf(w, i+100)] = schema.FloatValue(1)
			}
		}, "books readings", "328 different readings are stored, but only 220 were ever accepted"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			c.tamper(w)
			r := w.audit()
			found := false
			for _, f := range r.Findings {
				found = found || f.What+" "+f.Where == c.where && strings.Contains(f.Text, c.text) && f.Next != ""
			}
			if r.Balanced || !found {
				t.Errorf("%s: found %+v", name, r.Findings)
			}
		})
	}
}
