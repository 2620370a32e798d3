package sqlite_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/internal/keyspace"
	"berth/schema"
)

// TestLeftovers is the table of what a crash can leave, row by row.
func TestLeftovers(t *testing.T) {
	t.Run("a folder without a catalog", func(t *testing.T) {
		dir := t.TempDir()
		b := open(t, dir)
		put(t, filepath.Join(dir, "filled", "catalog.db.new"), "half made")
		put(t, filepath.Join(dir, "filled", "catalog.db.new-wal"), "half made")
		if _, err := b.Reader(t.Context(), "filled"); !schema.Is(err, schema.NotFound) {
			t.Errorf("a reader of half a keyspace: got error %v, want NotFound", err)
		}
		if _, err := b.Writer(t.Context(), "filled"); !schema.Is(err, schema.NotFound) {
			t.Errorf("a writer of half a keyspace: got error %v, want NotFound", err)
		}
		if err := b.Create(t.Context(), "filled"); err != nil {
			t.Fatal(err)
		}
		writeTo(t, b, &keyspace.Changes{Blocks: []keyspace.Block{testBlock(march, 1)}})
		holds(t, filepath.Join(dir, "filled"), "2026-03.db", "catalog.db", "writer.lock")
	})
	t.Run("a month half made", func(t *testing.T) {
		b, dir := filled(t)
		put(t, filepath.Join(dir, "2026-05.db.new"), "half made")
		put(t, filepath.Join(dir, "2026-05.db.new-wal"), "half made")
		may := april + 30*schema.DaySpan
		writeTo(t, b, &keyspace.Changes{Blocks: []keyspace.Block{testBlock(may, 100)}})
		holds(t, dir, "2026-03.db", "2026-04.db", "2026-05.db", "catalog.db", "writer.lock")
		readable(t, b, may, math.MaxInt64, 1)
	})
	t.Run("a log without its month", func(t *testing.T) {
		b, dir := filled(t)
		w, err := b.Writer(t.Context(), "filled")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(t.Context(), &keyspace.Changes{Blocks: []keyspace.Block{testBlock(april+100, 100)}}); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(filepath.Join(dir, "2026-04.db-wal"))
		if err != nil || len(log) == 0 {
			t.Fatalf("the writer has no log of %d bytes: %v", len(log), err)
		}
		put(t, filepath.Join(dir, "2026-05.db-wal"), string(log))
		put(t, filepath.Join(dir, "2026-06.db-wal"), string(log))
		put(t, filepath.Join(dir, "2026-06.db-shm"), "x")
		may := april + 30*schema.DaySpan
		if _, err := w.Write(t.Context(), &keyspace.Changes{Blocks: []keyspace.Block{testBlock(may, 101)}}); err != nil {
			t.Fatal(err)
		}
		if n, err := count(t, w, may, math.MaxInt64); n != 1 || err != nil {
			t.Errorf("%d blocks in May, want 1; error %v", n, err)
		}
		if err := w.Expire(t.Context(), math.MinInt64, math.MinInt64); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, "2026-03.db", "2026-04.db", "2026-05.db", "catalog.db", "writer.lock")
		readable(t, b, march, april, 20)
	})
	t.Run("a keyspace half dropped", func(t *testing.T) {
		dir := t.TempDir()
		b := open(t, dir)
		put(t, filepath.Join(dir, ".dropped-gone-0", "2026-03.db"), "gone")
		if err := b.Create(t.Context(), "filled"); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, "filled")
		put(t, filepath.Join(dir, ".dropped-filled-0", "2026-03.db"), "gone")
		if err := b.Drop(t.Context(), "filled"); err != nil {
			t.Fatal(err)
		}
		holds(t, dir)
	})
	t.Run("a lock nobody holds", func(t *testing.T) {
		b, dir := filled(t)
		put(t, filepath.Join(dir, "writer.lock"), "process 1 (of long ago)")
		readable(t, b, march, math.MaxInt64, 40)
		writeTo(t, b, &keyspace.Changes{})
	})
}

func TestExpireRemovesFiles(t *testing.T) {
	b, dir := filled(t)
	r, err := b.Reader(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	expire := func(before int64) {
		if err := w.Expire(t.Context(), before, math.MinInt64); err != nil {
			t.Fatal(err)
		}
	}
	expire(april - 1)
	if n, err := count(t, r, march, april); n != 20 || err != nil {
		t.Fatalf("%d of 20 blocks, error %v, while a nanosecond of March is to be kept", n, err)
	}
	// The month goes while it is being read, by the writer's own reader too.
	seen := 0
	for _, r := range []keyspace.Reader{r, w} {
		err := r.Blocks(t.Context(), "g", march, math.MaxInt64, func(keyspace.Block) error {
			if seen++; seen == 1 {
				expire(april)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen != 40+20 {
		t.Errorf("%d blocks were seen, want all 40 of the reader that was under way, and the 20 of April", seen)
	}
	if n, err := count(t, r, march, april); n != 0 || err != nil {
		t.Errorf("%d blocks of March are left, error %v", n, err)
	}
	// Late readings begin the month anew.
	if _, err := w.Write(t.Context(), &keyspace.Changes{Blocks: []keyspace.Block{testBlock(march+5, 200)}}); err != nil {
		t.Fatal(err)
	}
	if n, err := count(t, r, march, april); n != 1 || err != nil {
		t.Errorf("%d of 1 block of March begun anew, error %v", n, err)
	}
	expire(math.MaxInt64)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, "catalog.db", "writer.lock")
}

// TestMonthTakenAway moves a month's file away under the writer and a reader, as an operator may.
func TestMonthTakenAway(t *testing.T) {
	b, dir := filled(t)
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	write := func(at int64, sequence uint64) {
		t.Helper()
		if _, err := w.Write(t.Context(), &keyspace.Changes{Blocks: []keyspace.Block{testBlock(at, sequence)}}); err != nil {
			t.Fatal(err)
		}
	}
	write(march+100, 100)
	if n, err := count(t, w, march, april); n != 21 || err != nil {
		t.Fatalf("%d of 21 blocks, error %v", n, err)
	}
	if err := os.Rename(filepath.Join(dir, "2026-03.db"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	if n, err := count(t, w, march, math.MaxInt64); n != 20 || err != nil {
		t.Errorf("%d of 20 blocks of April, error %v", n, err)
	}
	write(march+100, 100)
	if n, err := count(t, w, march, april); n != 1 || err != nil {
		t.Errorf("%d of 1 block of the month begun anew, error %v", n, err)
	}
}

func TestDurableIsNewest(t *testing.T) {
	b, _ := filled(t)
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	for range 3 {
		receipt, err := w.Write(t.Context(), &keyspace.Changes{Blocks: []keyspace.Block{testBlock(march, 1)}})
		if err != nil {
			t.Fatal(err)
		}
		if d, err := w.Durable(t.Context()); d != receipt || err != nil {
			t.Errorf("durable up to %d (error %v) after receipt %d", d, err, receipt)
		}
	}
}

// TestManyMonths writes to more months than stay open.
func TestManyMonths(t *testing.T) {
	b, dir := filled(t)
	var c keyspace.Changes
	for i := range int64(9) {
		c.Blocks = append(c.Blocks, testBlock(april+i*31*schema.DaySpan+100, 100))
	}
	slices.Reverse(c.Blocks)
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	for range 2 {
		if _, err := w.Write(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
	logs, err := filepath.Glob(filepath.Join(dir, "20*-wal"))
	if err != nil || len(logs) > 4 {
		t.Errorf("%d months are open for writing (error %v)", len(logs), err)
	}
	if n, err := count(t, w, april+100, math.MaxInt64); n != 9 || err != nil {
		t.Errorf("%d of 9 blocks, error %v", n, err)
	}
}

// TestWriteEndsWithItsContext ends the context of a large write at some moment: all or nothing of each transaction is
// stored, and the writer goes on.
func TestWriteEndsWithItsContext(t *testing.T) {
	b, _ := filled(t)
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	var c keyspace.Changes
	for i := range uint64(1000) {
		c.Blocks = append(c.Blocks, testBlock(march+1000+int64(i), 100+i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := w.Write(ctx, &c)
		done <- err
	}()
	for n := 0; n == 0; { // until the first transaction of some is there
		if n, err = count(t, w, march+1000, april); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil && !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Fatal(err)
	}
	if _, err := w.Write(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	if n, err := count(t, w, march+1000, april); n != 1000 || err != nil {
		t.Errorf("%d of 1000 blocks, error %v", n, err)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// holds checks which files a folder holds, but for the catalog's logs, which a reader may have opened.
func holds(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "catalog.db-") {
			got = append(got, e.Name())
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}

// readable checks how many blocks a reader sees.
func readable(t *testing.T, b keyspace.Backend, from, to int64, want int) {
	t.Helper()
	r, err := b.Reader(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if n, err := count(t, r, from, to); n != want || err != nil {
		t.Errorf("%d of %d blocks are read, error %v", n, want, err)
	}
}
