package sqlite

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"berth/internal/keyspace"
	"berth/schema"
)

// TestCommitsAreSynced asks the connections that write whether a commit of theirs survives a power cut: the write-ahead
// log is synced at each (FULL). Also those of a month that was closed for others and opened again.
func TestCommitsAreSynced(t *testing.T) {
	w := newSynced(t)
	ask := func(f *writeFile, pragma string) (said string) {
		t.Helper()
		if err := f.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&said); err != nil {
			t.Fatal(err)
		}
		return said
	}
	check := func(f *writeFile) {
		t.Helper()
		page, _ := strconv.Atoi(ask(f, "page_size"))
		for pragma, want := range map[string]int{
			"synchronous": 2, "journal_size_limit": journalLimit, "wal_autocheckpoint": autoCheckpoint / page, // 2: FULL
		} {
			if got := ask(f, pragma); got != strconv.Itoa(want) {
				t.Errorf("%s is written with %s %s, want %d", filepath.Base(f.path), pragma, got, want)
			}
		}
		if mode := ask(f, "journal_mode"); mode != "wal" {
			t.Errorf("%s is written with journal_mode %s", filepath.Base(f.path), mode)
		}
	}
	check(w.catalog)
	opened := map[*writeFile]bool{}
	for range 2 {
		for m := range int64(openMonths + 1) {
			at := m * 31 * schema.DaySpan
			w.put(t, at)
			f := w.months[monthOf(at)]
			if opened[f] {
				t.Fatalf("month %d was not closed for others", m)
			}
			opened[f] = true
			check(f)
		}
	}
}

// TestLogsThatAreFoundAreSynced gives a writer the files as a process leaves them that is killed: what is in their logs may be seen,
// and not be on the disk.
func TestLogsThatAreFoundAreSynced(t *testing.T) {
	w := newSynced(t)
	w.put(t, 0)
	next := newSynced(t)
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(next.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(next.dir, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	var synced []string
	syncs := syncFolder
	defer func() { syncFolder = syncs }()
	syncFolder = func(f *os.File) error {
		synced = append(synced, filepath.Base(f.Name()))
		return syncs(f)
	}
	opened, err := next.backend.Writer(t.Context(), "synced")
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if d, err := opened.Durable(t.Context()); d != keyspace.Opened || err != nil || !slices.Contains(synced, catalogName+"-wal") {
		t.Errorf("%d is durable, %v, and synced are %v", d, err, synced)
	}
	next.writer, _ = opened.(*writer)
	next.put(t, 0) // it is there
	if log := monthOf(0).file() + "-wal"; !slices.Contains(synced, log) {
		t.Errorf("synced are %v, and not %s", synced, log)
	}
}

// TestFoldersAreSynced looks at what each folder held when it was synced last: a name that was made, changed or removed
// after that may be what it was before when the power is back.
func TestFoldersAreSynced(t *testing.T) {
	held := map[string][]string{} // by folder
	syncs := syncFolder
	defer func() { syncFolder = syncs }()
	syncFolder = func(f *os.File) error {
		held[f.Name()] = names(t, f.Name())
		return syncs(f)
	}
	check := func(what, dir string) {
		t.Helper()
		// SQLite sees to its own files, and a lock means nothing after a power cut.
		if got, want := held[dir], names(t, dir); !slices.Equal(got, want) {
			t.Errorf("%s: %s held %v when it was synced last, and holds %v", what, filepath.Base(dir), got, want)
		}
		delete(held, dir)
	}
	w := newSynced(t)
	root := filepath.Dir(w.dir)
	check("create", filepath.Dir(root))
	check("create", root)
	check("create", w.dir)
	w.put(t, 0)
	check("a month", w.dir)
	w.put(t, 31*schema.DaySpan)
	check("another month", w.dir)
	if err := w.Expire(t.Context(), 31*schema.DaySpan, math.MinInt64); err != nil {
		t.Fatal(err)
	}
	if n := len(names(t, w.dir)); n != 2 {
		t.Fatalf("%d files are left, want the catalog and a month", n)
	}
	check("expire", w.dir)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.backend.Drop(t.Context(), "synced"); err != nil {
		t.Fatal(err)
	}
	for _, name := range held[root] {
		if name == "synced" {
			t.Error("the keyspace's folder was not synced away when it was dropped")
		}
	}
	if len(held[root]) == 0 {
		t.Error("drop synced nothing")
	}
}

// names returns what a folder holds, but for SQLite's own files and the lock.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".db-wal" && ext != ".db-shm" && e.Name() != lockName {
			all = append(all, e.Name())
		}
	}
	return all
}

// synced is the writer of a keyspace just made.
type synced struct {
	*writer
	backend *Backend
}

func newSynced(t *testing.T) *synced {
	t.Helper()
	b, err := New(filepath.Join(t.TempDir(), "keyspaces"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Create(t.Context(), "synced"); err != nil {
		t.Fatal(err)
	}
	opened, err := b.Writer(t.Context(), "synced")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	w, ok := opened.(*writer)
	if !ok {
		t.Fatalf("the writer is a %T", opened)
	}
	return &synced{writer: w, backend: b}
}

// put writes a block of one reading.
func (w *synced) put(t *testing.T, at int64) {
	t.Helper()
	p := schema.Position{Sequence: 1}
	_, err := w.Write(t.Context(), &keyspace.Changes{Blocks: []keyspace.Block{{
		BlockKey: keyspace.BlockKey{Gateway: "g", First: at, From: p, To: p}, Last: at, Data: []byte{1},
	}}})
	if err != nil {
		t.Fatal(err)
	}
}
