package sqlite_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"berth/internal/keyspace"
	"berth/internal/keyspace/sqlite"
	"berth/schema"
)

// TestTailsGiveTheirDiskBack: when a fleet's tails have become blocks, the catalog is as small as it was without them.
func TestTailsGiveTheirDiskBack(t *testing.T) {
	b, dir := filled(t)
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	size := func() int64 {
		sqlite.EmptyLogs(w)
		info, err := os.Stat(filepath.Join(dir, "catalog.db"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	write := func(sequence uint64, tail []byte) {
		var c keyspace.Changes
		for i := range 100 {
			c.Gateways = append(c.Gateways, keyspace.Gateway{
				Name: fmt.Sprint("truck_", i), Position: schema.Position{Sequence: sequence}, Entry: make([]byte, 360), Tail: tail,
			})
		}
		if _, err := w.Write(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
	write(100, nil)
	before := size()
	for i := range uint64(20) {
		write(200+i, bytes.Repeat([]byte{1}, 700*int(i+1)))
	}
	if with := size(); with < 100*14000 {
		t.Fatalf("100 tails take %d bytes: the test shows nothing", with)
	}
	write(300, nil)
	const kept = 16 * 16 << 10 // free pages that are not worth it
	if after := size(); after > before+kept {
		t.Errorf("the catalog has %d bytes after its tails, before them it had %d", after, before)
	}
	write(250, bytes.Repeat([]byte{1}, 700)) // of an instance that was taken over
	g, err := w.Gateway(t.Context(), "truck_7")
	if err != nil || g.Position.Sequence != 300 || g.Tail != nil {
		t.Errorf("an older row replaced a newer: %v, %d bytes of tail, %v", g.Position, len(g.Tail), err)
	}
	write(250, nil)
	if g, err := w.Gateway(t.Context(), "truck_7"); err != nil || g.Position.Sequence != 300 {
		t.Errorf("an older row without tail replaced a newer: %v, %v", g.Position, err)
	}
	write(400, []byte{1})
	write(350, nil)
	if g, err := w.Gateway(t.Context(), "truck_7"); err != nil || g.Position.Sequence != 400 || len(g.Tail) != 1 {
		t.Errorf("an older row without tail replaced a newer with one: %v, %d bytes of tail, %v", g.Position, len(g.Tail), err)
	}
}
