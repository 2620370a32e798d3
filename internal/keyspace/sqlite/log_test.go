package sqlite_test

import (
	"context"
	"database/sql"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"berth/internal/keyspace"
	"berth/internal/keyspace/sqlite"
)

// logged is a keyspace whose write-ahead log of March is watched while much is written.
type logged struct {
	keyspace.Writer
	path     string // of March's file
	sequence uint64
}

func newLogged(t *testing.T) *logged {
	t.Helper()
	b, dir := filled(t)
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return &logged{Writer: w, path: filepath.Join(dir, "2026-03.db"), sequence: 1000}
}

// write writes about as many MiB to March, one in a Write.
func (l *logged) write(t *testing.T, mib int) {
	t.Helper()
	for range mib {
		var c keyspace.Changes
		for range 52 {
			l.sequence++
			c.Blocks = append(c.Blocks, testBlock(march+int64(l.sequence), l.sequence))
		}
		if _, err := l.Write(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
}

// size returns the log's size.
func (l *logged) size(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(l.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestSlowYield writes much while a yield function takes its time: it holds up no checkpoint.
func TestSlowYield(t *testing.T) {
	l := newLogged(t)
	err := l.Blocks(t.Context(), "g", march, math.MaxInt64, func(b keyspace.Block) error {
		if b.First == march {
			l.write(t, 30)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if size := l.size(t); size > 10<<20 {
		t.Errorf("the log has %d bytes after 30 MiB were written under a slow reader", size)
	}
}

// TestLogIsBounded writes much while another program stays in the file, which makes the log grow until it leaves, and
// then while there is always some other in the file, but none stays.
func TestLogIsBounded(t *testing.T) {
	l := newLogged(t)
	other, err := sql.Open("sqlite", "file:"+l.path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	tx, err := stay(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	l.write(t, 30)
	if size := l.size(t); size < 20<<20 {
		t.Fatalf("the log has %d bytes: nobody stayed in it", size)
	}
	ended := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() { comeAndGo(t, other, tx, ended) })
	most, emptied := int64(0), false
	for range 70 {
		l.write(t, 1)
		size := l.size(t)
		if emptied = emptied || size < 20<<20; emptied {
			most = max(most, size)
		}
	}
	close(ended)
	others.Wait()
	if !emptied || most > 32<<20 {
		t.Errorf("the log has up to %d bytes, though no reader stays in it (emptied: %t)", most, emptied)
	}
	if got, err := count(t, l, march, april); err != nil || got != 20+52*100 {
		t.Errorf("%d of %d blocks, error %v", got, 20+52*100, err)
	}
}

// comeAndGo begins one reading transaction before it ends the one before, until it is told to end.
func comeAndGo(t *testing.T, db *sql.DB, tx *sql.Tx, ended <-chan struct{}) {
	t.Helper()
	for {
		next, err := stay(t.Context(), db)
		if err != nil {
			t.Error(err)
			return
		}
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
		tx = next
		select {
		case <-ended:
			_ = tx.Rollback() // it only read
			return
		default:
		}
	}
}

// stay begins a transaction that reads the file.
func stay(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	var n int
	return tx, tx.QueryRowContext(ctx, "SELECT 1 FROM blocks").Scan(&n)
}

// TestLogIsGivenBack writes less than SQLite copies by itself: when nothing more comes the log's disk is given back,
// and what comes then is written as before.
func TestLogIsGivenBack(t *testing.T) {
	l := newLogged(t)
	l.write(t, 3)
	if size := l.size(t); size < 2<<20 {
		t.Fatalf("the log has %d bytes after 3 MiB were written", size)
	}
	err := l.Blocks(t.Context(), "g", march, math.MaxInt64, func(keyspace.Block) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	sqlite.EmptyLogs(l.Writer)
	if size := l.size(t); size != 0 {
		t.Errorf("the log still has %d bytes", size)
	}
	l.write(t, 1)
}
