package seal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"berth/internal/bus"
	"berth/internal/keyspace"
	"berth/internal/keyspace/sqlite"
	"berth/schema"
)

var errCrashed = errors.New("the process is gone")

// crashing is a keyspace's writer in a process that ends within one write: of that it writes the first kinds of change
// only, and nothing after it.
type crashing struct {
	keyspace.Writer
	when    func(c *keyspace.Changes) bool
	keep    int // kinds of change that the last write still makes: marks, blocks, gateways, rollups
	crashed bool
}

func (c *crashing) Write(ctx context.Context, changes *keyspace.Changes) (keyspace.Receipt, error) {
	if c.crashed {
		return 0, errCrashed
	}
	if c.when == nil || !c.when(changes) {
		return c.Writer.Write(ctx, changes)
	}
	c.crashed = true
	kinds := keyspace.Changes{}
	for i, keep := range []func(){
		func() { kinds.Marks = changes.Marks }, func() { kinds.Blocks = changes.Blocks },
		func() { kinds.Gateways = changes.Gateways }, func() { kinds.Rollups = changes.Rollups },
	} {
		if i < c.keep {
			keep()
		}
	}
	if _, err := c.Writer.Write(ctx, &kinds); err != nil {
		return 0, err
	}
	return 0, errCrashed
}

func (c *crashing) Durable(ctx context.Context) (keyspace.Receipt, error) {
	if c.crashed {
		return 0, errCrashed
	}
	return c.Writer.Durable(ctx)
}

// realLog is the log of an embedded NATS server.
type realLog struct {
	t       *testing.T
	log     *bus.Log
	writer  *bus.Writer
	claims  int
	crashed *crashing
	when    string // "before trim" or "after trim": the process ends there
}

func (l *realLog) claim(above uint64, data []byte) (seq uint64) {
	l.t.Helper()
	if l.writer != nil {
		l.writer.Close()
	}
	l.claims++
	w, seq, err := l.log.Claim(l.t.Context(), fmt.Sprint("claim-", l.claims), above, func([]byte) ([]byte, error) { return data, nil })
	if err != nil {
		l.t.Fatal(err)
	}
	l.writer = w
	return seq
}

func (l *realLog) append(data []byte) (seq uint64) {
	l.t.Helper()
	if err := l.writer.Append(data); err != nil {
		l.t.Fatal(err)
	}
	c, err := l.writer.Next(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return c.Sequence
}

func (l *realLog) bounds() (first, last uint64) {
	l.t.Helper()
	s, err := l.log.State(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return s.First, s.Last
}

func (l *realLog) read(ctx context.Context, from, upTo uint64, fn func(uint64, []byte) error) error {
	return l.log.Read(ctx, from, upTo, fn)
}

func (l *realLog) trim(ctx context.Context, upTo uint64) error {
	if l.crashed.crashed || l.when == "before trim" {
		l.crashed.crashed = true
		return errCrashed
	}
	if err := l.log.Trim(ctx, upTo); err != nil {
		return err
	}
	if l.when == "after trim" {
		l.crashed.crashed = true
		return errCrashed
	}
	return nil
}

// realWorld is a world with NATS and SQLite.
func realWorld(t *testing.T) (*world, *crashing, *realLog, func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	authority, err := bus.OpenAuthority(filepath.Join(dir, "authority"))
	check(err)
	server, err := bus.StartServer(bus.ServerOptions{Dir: filepath.Join(dir, "nats"), Host: "127.0.0.1", Authority: authority, Logger: log})
	check(err)
	t.Cleanup(server.Stop)
	full, _, _, err := authority.Provider("harbor")
	check(err)
	conn, err := bus.Connect(t.Context(), bus.Options{URL: server.URL(), Credentials: full, Name: "test", Logger: log})
	check(err)
	t.Cleanup(conn.Close)
	check(conn.Prepare(t.Context(), bus.LogOptions{}))
	journal, err := conn.OpenLog(t.Context())
	check(err)
	backend, err := sqlite.New(filepath.Join(dir, "keyspaces"), log)
	check(err)
	check(backend.Create(t.Context(), "harbor"))
	c := &crashing{}
	l := &realLog{t: t, log: journal, crashed: c}
	reopen := func() {
		t.Helper()
		if c.Writer != nil {
			check(c.Close())
		}
		c.Writer, err = backend.Writer(t.Context(), "harbor")
		check(err)
		c.when, c.crashed, l.when = nil, false, ""
	}
	t.Cleanup(func() {
		l.writer.Close()
		_ = c.Close()
		_ = backend.Close()
	})
	reopen()
	w := newWorldOn(t, l, c)
	return w, c, l, reopen
}

// TestEveryCrashIsRecovered ends the process at each named point and starts it again: whatever was acknowledged is found
// once, by queries and in rollups, and the log is trimmed in the end.
func TestEveryCrashIsRecovered(t *testing.T) {
	var (
		blocks  = func(c *keyspace.Changes) bool { return len(c.Blocks) > 0 }
		rows    = func(c *keyspace.Changes) bool { return len(c.Gateways) > 0 }
		rollups = func(c *keyspace.Changes) bool { return len(c.Rollups) > 0 }
	)
	for _, c := range []struct {
		left string
		when func(c *keyspace.Changes) bool
		keep int
		trim string
	}{
		{left: "nothing of a block", when: blocks, keep: 0},
		{left: "marks without their blocks", when: blocks, keep: 1},
		{left: "blocks without a row", when: blocks, keep: 2},
		{left: "nothing of a tail", when: rows, keep: 0},
		{left: "marks without blocks and tails", when: rows, keep: 1},
		{left: "blocks without their gateways' tails", when: rows, keep: 2},
		{left: "tails that nobody confirmed", when: rows, keep: 3},
		{left: "no rollup", when: rollups, keep: 3},
		{left: "rollups that nobody confirmed", when: rollups, keep: 4},
		{left: "everything stored, the log not trimmed", trim: "before trim"},
		{left: "everything stored, the log just trimmed", trim: "after trim"},
	} {
		t.Run(c.left, func(t *testing.T) {
			w, process, log, reopen := realWorld(t)
			for round := range 3 { // what one crash leaves, the next meets
				process.when, process.keep, log.when = c.when, c.keep, c.trim
				history1(w, round)
				for n := 0; !process.crashed; n++ {
					if n > 60 {
						t.Fatal("the crash never comes: the test does not test")
					}
					w.pass(time.Minute)
				}
				reopen()
				w.begin()
				w.replay()
				w.compare(true)
				w.compareLatest()
				w.compareRollups(false)
			}
			history1(w, 1) // sent again
			w.pass(30 * time.Minute)
			w.check(w.sealer.Finish(t.Context()))
			w.pass(5 * time.Minute)
			w.compare(true)
			w.compare(false)
			w.compareLatest()
			w.compareRollups(true)
			if first, last := log.bounds(); first != last {
				t.Errorf("the log still holds %d to %d", first, last)
			}
		})
	}
}

// history1 sends full parts, small ones, late ones, and ones that overwrite what was sent before.
func history1(w *world, round int) {
	at := w.clock.Add(time.Duration(round) * time.Minute)
	w.send(frame("full", at, 250)...)
	w.send(frame("small", at, 7)...)
	w.send(frame("late", at.Add(-30*time.Hour), 260)...)
	again := frame("full", at.Add(200*time.Second), 100)
	for i := range again {
		again[i].values[round] = schema.TextValue(fmt.Sprint("again ", round))
	}
	w.send(again...)
	slices.Reverse(again)
	w.send(again[:10]...)
	w.send(frame("late", at.Add(-31*time.Hour), 3)...)
}

// TestALogThatBeginsAnewBeginsAboveTheKeyspace loses the log but not the keyspace.
func TestALogThatBeginsAnewBeginsAboveTheKeyspace(t *testing.T) {
	w := newWorld(t)
	history1(w, 0)
	w.settle()
	before, err := w.keyspace.Position(t.Context())
	w.check(err)
	w.log = &messages{}
	w.begin()
	w.replay()
	again := frame("small", w.clock, 7)
	if seq := w.send(again...); seq <= before.Sequence {
		t.Errorf("a log that begins anew gives sequence %d, the keyspace knows %v", seq, before)
	}
	history1(w, 1)
	w.settle()
	w.compare(true)
	w.compareLatest()
}

// TestANodesEndSoonAfterAnothersWrites: what the keyspace has of a process that has ended counts when it is durable, not when it is
// seen: a node may forget it yet, and then only the log has it.
func TestANodesEndSoonAfterAnothersWrites(t *testing.T) {
	w := newWorld(t)
	w.store.lag = true
	w.send(frame("truck-1", w.clock, 300)...) // a block and a tail
	w.pass(2 * time.Minute)
	w.store.reopen() // the process is killed
	w.begin()
	w.replay()
	w.pass(2 * time.Minute)
	w.store.outage() // then the node is
	w.store.lag = false
	w.pass(5 * time.Minute)
	first, last := w.log.bounds()
	if last-first > 1 {
		t.Errorf("the log is not trimmed: it holds %d to %d", first, last)
	}
	w.compare(true)
}
