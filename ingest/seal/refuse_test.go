package seal_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
)

func TestWhatTheKeyspaceRefusesIsSetAside(t *testing.T) {
	w := newWorld(t)
	w.store.fail = func(c *keyspace.Changes) error {
		if slices.ContainsFunc(c.Blocks, func(b keyspace.Block) bool { return b.Gateway == "bad" }) {
			return schema.Errorf(schema.Invalid, "this block cannot be stored")
		}
		return nil
	}
	w.send(frame("good-1", w.clock, 300)...)
	w.send(frame("bad", w.clock, 300)...)
	w.send(frame("good-2", w.clock, 300)...)
	w.pass(2 * time.Minute)
	if len(w.aside) != 1 || w.aside[0].Gateway != "bad" || w.aside[0].What != "block" {
		t.Fatalf("set aside is %+v", w.aside)
	}
	r, err := block.Open(w.aside[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := r.Content(); err != nil || c.Readings() < 1000 {
		t.Errorf("what was set aside holds %v, %v", c, err)
	}
	if first, last := w.log.bounds(); first != last {
		t.Errorf("the log still holds %d to %d", first, last)
	}
	delete(w.model, "bad")
	w.compare(true)
}

// TestWhatIsWrittenSinglyStaysUntilItIsDurable: the last of what is written piece by piece is refused, and those before it are
// not on disk yet. Their rollups are computed anew, as ever.
func TestWhatIsWrittenSinglyStaysUntilItIsDurable(t *testing.T) {
	w := newWorld(t)
	w.store.lag = true
	w.store.fail = func(c *keyspace.Changes) error {
		if slices.ContainsFunc(c.Blocks, func(b keyspace.Block) bool { return b.Gateway == "bad" }) {
			return schema.Errorf(schema.Invalid, "this block cannot be stored")
		}
		return nil
	}
	old := w.clock.Add(-30 * time.Hour)
	w.send(slices.Concat(frame("good", old, 205), frame("bad", old, 205))...) // a full part each
	held := func() int { return int(w.head.Figures().Readings) }
	w.pass(20 * time.Second)
	if all := w.readings["good"] + w.readings["bad"]; len(w.aside) != 1 || len(w.store.blocks) != 1 || held() != all {
		t.Errorf("%d are set aside, %d blocks are written, and the head holds %d readings of %d", len(w.aside), len(w.store.blocks), held(), all)
	}
	before := held()
	w.store.sync(-1)
	w.pass(20 * time.Second)
	if held() >= before {
		t.Error("the head holds what is durable")
	}
	w.store.lag = false
	w.pass(5 * time.Minute)
	delete(w.model, "bad")
	w.compareRollups(true)
}

// TestRollupsAreNotComputedAgainAndAgain backfills an old day for ten minutes: its hours are read now and then only, and
// count within a minute of the end.
func TestRollupsAreNotComputedAgainAndAgain(t *testing.T) {
	w := newWorld(t)
	computed := 0
	w.store.fail = func(c *keyspace.Changes) error {
		computed += len(c.Rollups)
		return nil
	}
	old := w.clock.Add(-72 * time.Hour).Truncate(24 * time.Hour)
	for i := range 60 {
		w.send(frame("truck-1", old.Add(time.Duration(i)*5*time.Minute), 205)...) // a full part
		w.pass(10 * time.Second)
	}
	if n := len(w.store.blocks); n != 60 {
		t.Errorf("there are %d blocks of 60 full parts", n)
	}
	if computed > 40 {
		t.Errorf("%d rollups were computed for 5 hours and a day in ten minutes", computed)
	}
	w.pass(time.Minute)
	w.compareRollups(true)
	w.compare(true)
}

func TestCorruptTailIsSetAside(t *testing.T) {
	w := newWorld(t)
	w.send(frame("truck-1", w.clock, 5)...)
	w.pass(2 * time.Minute)
	g := w.store.gateways["truck-1"]
	g.Tail[len(g.Tail)/2] ^= 1
	w.store.gateways["truck-1"] = g
	w.begin() // not a crash: the store keeps what it has
	w.replay()
	w.send(frame("truck-1", w.clock, 2)...)
	w.pass(2 * time.Minute)
	if len(w.aside) != 1 || w.aside[0].What != "row" || len(w.aside[0].Data) == 0 {
		t.Errorf("set aside is %+v", w.aside)
	}
	if got, _ := w.found("truck-1", true); len(got) != 10 {
		t.Errorf("%d readings are found after the corrupt tail", len(got))
	}
}

func TestCorruptMessageIsSetAside(t *testing.T) {
	w := newWorld(t)
	w.send(frame("truck-1", w.clock, 5)...)
	w.log.append([]byte("no message"))
	w.send(frame("truck-2", w.clock, 5)...) // the head misses one, and reads the log
	aside := 0
	err := w.head.Replay(t.Context(), w.log.read, w.shapes, func(_ context.Context, seq uint64, data []byte, why error) error {
		aside++
		if string(data) != "no message" || why == nil {
			t.Errorf("set aside is %d %q: %v", seq, data, why)
		}
		return nil
	})
	if err != nil || aside != 1 {
		t.Errorf("replay set %d messages aside and returned %v", aside, err)
	}
	w.compare(true)
}
