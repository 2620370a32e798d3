package seal_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
)

// TestDayAtTheEndOfRetentionIsRolledUp has a gateway deliver what it measured almost too long ago: the day has begun
// before the time that readings are kept, and ends after it.
func TestDayAtTheEndOfRetentionIsRolledUp(t *testing.T) {
	w := newWorld(t)
	w.keep = 10 * 24 * time.Hour
	w.begin()
	w.replay()
	w.send(frame("truck-1", w.clock.Add(-w.keep).Add(time.Hour), 300)...)
	w.pass(15 * time.Minute) // the rest of the part becomes a block
	w.compareRollups(true)
}

// TestATailIsGoneWhenItsDayIsABlock: what a tail holds becomes a block when its day has ended; then the row is written anew
// without it, though the gateway sends nothing more.
func TestATailIsGoneWhenItsDayIsABlock(t *testing.T) {
	w := newWorld(t)
	w.send(frame("truck-1", w.clock, 5)...)
	w.pass(2 * time.Minute)
	tail := func() []byte {
		row, err := w.store.Gateway(t.Context(), "truck-1")
		w.check(err)
		return row.Tail
	}
	if len(tail()) == 0 {
		t.Fatal("a few readings are no tail")
	}
	w.clock = w.clock.Add(12 * time.Hour)
	w.pass(5 * time.Minute)
	if n := len(tail()); n > 0 || len(w.store.blocks) != 1 {
		t.Errorf("the row has a tail of %d bytes, and %d blocks are stored", n, len(w.store.blocks))
	}
	w.compare(false)
	w.compareRollups(true)
}

// TestRollupsStayAsLongAsReadings, and for years where readings go sooner.
func TestRollupsStayAsLongAsReadings(t *testing.T) {
	const years = 5 * 366 * 24 * time.Hour
	for _, keep := range []time.Duration{20 * 365 * 24 * time.Hour, 10 * 24 * time.Hour} {
		w := newWorld(t)
		w.keep = keep
		w.begin()
		w.replay()
		w.pass(2 * time.Minute)
		for i, most := range []time.Duration{keep, max(keep, years)} {
			if before := time.Unix(0, w.store.expired[i]); before.Unix() == 0 || before.After(w.clock.Add(-most)) {
				t.Errorf("of readings that are kept for %v, %s older than %v were dropped", keep, []string{"blocks", "rollups"}[i], before.UTC())
			}
		}
	}
}

// TestARollupOfReadingsThatHaveGoneStays: the blocks of a span that is older than readings are kept may be gone in part, so its
// rollup is not computed anew, though it is marked.
func TestARollupOfReadingsThatHaveGoneStays(t *testing.T) {
	w := newWorld(t)
	w.keep = 10 * 24 * time.Hour
	w.begin()
	w.replay()
	w.send(frame("truck-2", w.clock, 1)...)
	key := keyspace.RollupKey{Gateway: "truck-1", Span: keyspace.Hour, Start: schema.Start(w.clock.Add(-20*24*time.Hour).UnixNano(), schema.HourSpan)}
	_, err := w.store.Write(t.Context(), &keyspace.Changes{
		Marks:   []keyspace.Mark{{RollupKey: key, Stale: schema.Position{Sequence: 2}}},
		Rollups: []keyspace.Rollup{{RollupKey: key, Computed: schema.Position{Sequence: 1}, Data: []byte("of all its readings")}},
	})
	w.check(err)
	w.pass(15 * time.Minute)
	if got := w.store.rollups[key]; string(got.Data) != "of all its readings" {
		t.Errorf("the rollup was computed anew, of what is left: %+v", got)
	}
}

// TestRowNeverOutgrowsTheKeyspace has a gateway send long texts of many sensors over many days, a few each: together
// they are more than a row can hold, and every one of them must be stored.
func TestRowNeverOutgrowsTheKeyspace(t *testing.T) {
	w := newWorld(t)
	w.store.fail = (*keyspace.Changes).Check
	for day := range 60 {
		w.send(texts(fmt.Sprintf("log%d", day), w.clock.Add(-time.Duration(day)*24*time.Hour), 12))
	}
	w.pass(3 * time.Minute)
	if len(w.aside) > 0 {
		t.Fatalf("%d pieces were set aside, the first: %v", len(w.aside), w.aside[0].Why)
	}
	if first, last := w.log.bounds(); first != last {
		t.Errorf("the log still holds %d to %d", first, last)
	}
	w.compare(false)
}

// texts returns a row of the longest texts, which cannot be compressed much.
func texts(prefix string, at time.Time, sensors int) row {
	r := row{gateway: "truck-1", time: at.UnixNano()}
	random := rand.NewChaCha8([32]byte{byte(sensors)})
	for s := range sensors {
		text := make([]byte, schema.MaxText)
		_, _ = random.Read(text)
		for i, c := range text {
			text[i] = ' ' + c%90
		}
		r.sensors = append(r.sensors, fmt.Sprintf("%s.%d", prefix, s))
		r.values = append(r.values, schema.TextValue(string(text)))
	}
	return r
}

// TestRollupThatIsTooLargeIsGivenUp has the first and last texts of an hour be more than a rollup can hold: readers
// compute it, and nothing is set aside, now or at each scan.
func TestRollupThatIsTooLargeIsGivenUp(t *testing.T) {
	w := newWorld(t)
	w.store.fail = (*keyspace.Changes).Check
	for i := range 20 {
		w.send(texts(fmt.Sprintf("log%d", i), w.clock.Add(-30*time.Hour), 16))
	}
	w.pass(15 * time.Minute)
	if len(w.aside) > 0 {
		t.Errorf("%d pieces were set aside, the first: %v", len(w.aside), w.aside[0].Why)
	}
	w.compare(true)
}

// TestSpansThatCannotBeComputedYetHoldUpNoOthers has more old spans than one scan takes wait for what never comes: the
// younger ones are computed all the same, and the old ones too when they can be.
func TestSpansThatCannotBeComputedYetHoldUpNoOthers(t *testing.T) {
	w := newWorld(t)
	old := schema.Start(w.clock.Add(-5000*time.Hour).UnixNano(), schema.HourSpan)
	mark := func(p schema.Position) {
		var c keyspace.Changes
		for i := range int64(2500) {
			k := keyspace.RollupKey{Gateway: "lost", Span: keyspace.Hour, Start: old + i*schema.HourSpan}
			c.Marks = append(c.Marks, keyspace.Mark{RollupKey: k, Stale: p})
		}
		_, err := w.store.Write(t.Context(), &c)
		w.check(err)
	}
	mark(schema.Position{Sequence: 12}) // nothing in the log is that new yet
	w.send(frame("truck-1", w.clock.Add(-30*time.Hour), 300)...)
	w.pass(15 * time.Minute)
	w.compareRollups(true)
	computed := func() (n int) {
		for k, r := range w.store.rollups {
			if k.Gateway == "lost" && !r.Computed.Less(r.Stale) {
				n++
			}
		}
		return n
	}
	if n := computed(); n > 0 {
		t.Fatalf("%d rollups were computed before what they wait for", n)
	}
	for w.send(frame("truck-2", w.clock, 1)...) < 12 {
	}
	w.pass(15 * time.Minute)
	if n := computed(); n != 2500 {
		t.Errorf("%d of 2500 rollups were computed when they could be", n)
	}
}

// TestCorruptTailWaitsUntilItIsSetAside has the place for what cannot be read away for a while: the row must not be
// replaced meanwhile, since nothing else has what is left of it.
func TestCorruptTailWaitsUntilItIsSetAside(t *testing.T) {
	w := newWorld(t)
	w.send(frame("truck-1", w.clock, 5)...)
	w.pass(2 * time.Minute)
	g := w.store.gateways["truck-1"]
	g.Tail[len(g.Tail)/2] ^= 1
	w.store.gateways["truck-1"] = g
	w.asideErr = errAway
	w.begin()
	w.replay()
	w.send(frame("truck-1", w.clock, 2)...)
	w.pass(2 * time.Minute)
	if got := w.store.gateways["truck-1"].Position; got != g.Position {
		t.Errorf("the row was replaced by one at %v", got)
	}
	w.asideErr = nil
	w.pass(2 * time.Minute)
	if len(w.aside) != 1 || w.aside[0].What != "row" || len(w.aside[0].Data) == 0 {
		t.Errorf("set aside is %+v", w.aside)
	}
}

// TestTailOfSeveralBlocksOfADayIsReadBack has a tail with two blocks of one day, as another release may write it.
func TestTailOfSeveralBlocksOfADayIsReadBack(t *testing.T) {
	w := newWorld(t)
	var tails [][]byte
	for i := range 2 {
		w.send(frame("truck-1", w.clock.Add(time.Duration(i)*time.Minute), 5)...)
		b := block.NewBuilder("truck-1")
		for _, r := range frame("truck-1", w.clock.Add(time.Duration(i)*time.Minute), 5) {
			for j, s := range r.sensors {
				b.Add(s, r.time, r.values[j], schema.Position{Sequence: uint64(i + 2), Ordinal: uint32(j)})
			}
		}
		data, err := block.Encode(nil, b.Content())
		w.check(err)
		tails = append(tails, data)
	}
	w.pass(2 * time.Minute)
	g := w.store.gateways["truck-1"]
	g.Tail = catalog.EncodeTail(nil, tails)
	w.store.gateways["truck-1"] = g
	w.begin()
	w.replay()
	w.send(frame("truck-1", w.clock.Add(time.Hour), 5)...)
	w.pass(2 * time.Minute)
	w.compare(true)
	w.compare(false)
}
