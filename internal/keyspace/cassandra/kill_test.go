package cassandra_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/keyspace"
	"berth/internal/keyspace/cassandra"
	"berth/internal/keyspace/cassandra/cassandratest"
	"berth/schema"
)

// openAt returns a backend of a node of the test's own.
func openAt(t *testing.T, n *cassandratest.Node) keyspace.Backend {
	t.Helper()
	b, err := cassandra.New("//"+n.Address+"?prefix=test_", slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// patiently does the same again until it succeeds, as sealing does.
func patiently(t *testing.T, what string, fn func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := fn(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// numbered returns changes whose block, row and mark are told apart by their number.
func numbered(n int) *keyspace.Changes {
	p := schema.Position{Sequence: uint64(n + 1)}
	first := int64(n) * schema.HourSpan
	name := fmt.Sprintf("g%02d", n%10)
	return &keyspace.Changes{
		Marks:    []keyspace.Mark{{RollupKey: keyspace.RollupKey{Gateway: name, Span: keyspace.Hour, Start: first}, Stale: p}},
		Blocks:   []keyspace.Block{{BlockKey: keyspace.BlockKey{Gateway: name, First: first, From: p, To: p}, Last: first, Data: fmt.Appendf(nil, "%d", n)}},
		Gateways: []keyspace.Gateway{{Name: name, Position: p, Entry: fmt.Appendf(nil, "entry %d", n), Tail: fmt.Appendf(nil, "tail %d", n)}},
	}
}

// missing counts what is not there of the first n numbered changes.
func missing(t *testing.T, r keyspace.Reader, n int) (blocks int) {
	t.Helper()
	for i := range 10 {
		name := fmt.Sprintf("g%02d", i)
		patiently(t, "read", func(ctx context.Context) error {
			found := map[int64]bool{}
			err := r.Blocks(ctx, name, 0, 1<<62, func(b keyspace.Block) error { found[b.First] = true; return nil })
			blocks -= len(found)
			return err
		})
	}
	return blocks + n
}

// TestKilledNode kills a node by SIGKILL after it has acknowledged writes, with its commit log's period at a minute and at a
// second. With the minute, what it acknowledged is lost, and nothing of it was reported durable. With the second, what
// was lost is written again, and what is reported durable outlives the next kill at that very moment. The first commit
// log is compressed: the pages of one that is not outlive the process, but for the last tenth of a second.
func TestKilledNode(t *testing.T) {
	const atLeast = 300
	n := cassandratest.Started(t, "SYNC=60000ms", "COMPRESS=true")
	b := openAt(t, n)
	if err := b.Create(t.Context(), "killed"); err != nil {
		t.Fatal(err)
	}
	w, err := b.Writer(t.Context(), "killed")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var acked atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := w.Write(context.WithoutCancel(t.Context()), numbered(int(acked.Load()))); err != nil {
				return
			}
			acked.Add(1)
		}
	}()
	patiently(t, "write", func(context.Context) error {
		if n := acked.Load(); n < atLeast {
			return fmt.Errorf("%d of %d", n, atLeast)
		}
		return nil
	})
	if d, err := w.Durable(t.Context()); err != nil || d != keyspace.Opened {
		t.Errorf("at once %d are durable, %v", d, err)
	}
	restart := func() {
		n.Kill()
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n.Env = []string{"SYNC=1000ms"}
	restart()
	<-ended
	writes := int(acked.Load())
	last := keyspace.Opened + keyspace.Receipt(writes)
	if lost := missing(t, w, writes); lost < 1 {
		t.Error("the kill lost nothing: the test shows nothing")
	} else {
		t.Logf("of %d acknowledged blocks the kill lost %d", writes, lost)
	}
	begun := time.Now()
	patiently(t, "wait until all is durable", func(ctx context.Context) error {
		d, err := w.Durable(ctx)
		if err == nil && d < last {
			err = fmt.Errorf("%d of %d", d, last)
		}
		return err
	})
	if took := time.Since(begun); took < 3*time.Second {
		t.Errorf("it was reported durable after %v, before three periods", took)
	}
	restart()
	if lost := missing(t, w, writes); lost > 0 { // the write that was killed may be there too
		t.Errorf("of %d durable blocks the kill lost %d", writes, lost)
	}
	for i := range 10 {
		patiently(t, "read rows", func(ctx context.Context) error {
			g, err := w.Gateway(ctx, fmt.Sprintf("g%02d", i))
			if newest := uint64(writes - 9); err == nil && g.Position.Sequence < newest {
				t.Errorf("the row of %s is that of write %d, want one of %d or later", g.Name, g.Position.Sequence, newest)
			}
			return err
		})
	}
	unrolled := 0
	patiently(t, "look for marks", func(ctx context.Context) error {
		return w.Unrolled(ctx, 1<<62, func(keyspace.RollupKey) bool { unrolled++; return true })
	})
	if unrolled < writes {
		t.Errorf("%d of %d marks are there", unrolled, writes)
	}
}

// TestTakenOver opens a second writer, as of another process: the first reports nothing durable any more, and its late row
// does not replace the newer one.
func TestTakenOver(t *testing.T) {
	first, second := onSharedNode(t), onSharedNode(t)
	defer first.Close()
	defer second.Close()
	ctx := t.Context()
	if err := errors.Join(first.Drop(ctx, "taken"), first.Create(ctx, "taken")); err != nil {
		t.Fatal(err)
	}
	old, err := first.Writer(ctx, "taken")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if _, err := old.Write(ctx, numbered(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Durable(ctx); err != nil {
		t.Errorf("before the take-over: %v", err)
	}
	next, err := second.Writer(ctx, "taken")
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if _, err := next.Write(ctx, numbered(20)); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Write(ctx, numbered(10)); err != nil {
		t.Errorf("a late write: %v", err)
	}
	if d, err := old.Durable(ctx); d != keyspace.Opened || !schema.Is(err, schema.Conflict) {
		t.Errorf("after the take-over the older writer reports %d, %v, want a Conflict error", d, err)
	}
	if _, err := old.Write(ctx, numbered(30)); !schema.Is(err, schema.Conflict) {
		t.Errorf("once it knows, it still writes: %v", err)
	}
	if d, err := next.Durable(ctx); d != 0 || err != nil {
		t.Errorf("the newer writer reports %d durable, %v, though what the older has written last may yet be lost", d, err)
	}
	if g, err := next.Gateway(ctx, "g00"); err != nil || string(g.Tail) != "tail 20" {
		t.Errorf("the row is %q, %v", g.Tail, err)
	}
}
