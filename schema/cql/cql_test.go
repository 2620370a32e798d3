package cql_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/schema"
	"berth/schema/cql"
)

var update = flag.Bool("update", false, "write the golden files of new versions")

// TestReleasedMigrations holds the checksum of every migration: keyspaces with their outcome exist, so none may change.
func TestReleasedMigrations(t *testing.T) {
	want := []string{"9a9dd08b6369e733", "2abda429c097f601"}
	if cql.Version() != len(want) {
		t.Fatalf("there are %d migrations, this test knows %d: add the new one's checksum", cql.Version(), len(want))
	}
	for i, want := range want {
		statements := strings.Join(cql.Migration(i+1, "k"), ";\n")
		sum := sha256.Sum256([]byte(statements))
		if got := hex.EncodeToString(sum[:8]); got != want {
			t.Errorf("migration %d has checksum %s, want %s: a released migration never changes", i+1, got, want)
		}
		for _, s := range cql.Migration(i+1, "k") {
			if !strings.Contains(s, "IF NOT EXISTS k.") && !strings.Contains(s, "IF EXISTS k.") || strings.Contains(s, "{keyspace}") {
				t.Errorf("migration %d has a statement that cannot be repeated, or is of no keyspace: %s", i+1, s)
			}
		}
	}
}

// TestGoldenCells holds the bytes of cells, of which keyspaces are full.
func TestGoldenCells(t *testing.T) {
	p := schema.Position{Sequence: 0x0102030405060708, Ordinal: 0x090a0b0c}
	got := hex.EncodeToString(cql.Stale(p)) + "\n" + hex.EncodeToString(cql.Cell(p, 0x1112131415161718, []byte("data"))) + "\n"
	path := filepath.Join("testdata", "v1-cells.golden")
	if _, err := os.Stat(path); *update && os.IsNotExist(err) {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("cells are\n%swant\n%s", got, want)
	}
	for gateway, want := range map[string]int{"gw1": 22, "": 37, "日本": 17} {
		if got := cql.Bucket(gateway); got != want {
			t.Errorf("gateway %q is in bucket %d, want %d: it never moves", gateway, got, want)
		}
	}
}

// TestOrder: of two cells the later wins by Cassandra's own rule, the higher write time and then the higher bytes.
func TestOrder(t *testing.T) {
	position := rapid.Custom(func(t *rapid.T) schema.Position {
		near := []uint64{0, 1, 2, 5, 1 << 20, 1<<39 - 3, 1<<39 - 2, 1<<39 - 1, 1 << 39, math.MaxInt64}
		ordinals := []uint32{0, 1, 1<<24 - 2, 1<<24 - 1, 1 << 24, math.MaxUint32}
		return schema.Position{Sequence: rapid.SampledFrom(near).Draw(t, "sequence"), Ordinal: rapid.SampledFrom(ordinals).Draw(t, "ordinal")}
	})
	rapid.Check(t, func(t *rapid.T) {
		p, q := position.Draw(t, "p"), position.Draw(t, "q")
		data := rapid.SliceOfN(rapid.Byte(), 0, 3)
		a, b := cql.Cell(p, 1, data.Draw(t, "a")), cql.Cell(q, 2, data.Draw(t, "b"))
		later := cql.WriteTime(q) > cql.WriteTime(p) || cql.WriteTime(q) == cql.WriteTime(p) && bytes.Compare(b, a) > 0
		if want := !q.Less(p); later != want {
			t.Errorf("%v after %v wins: %v, want %v", q, p, later, want)
		}
		if w := cql.WriteTime(p); w <= 0 {
			t.Errorf("the write time of %v is %d", p, w)
		}
	})
}

func TestParse(t *testing.T) {
	p := schema.Position{Sequence: 7, Ordinal: 9}
	got, data, err := cql.ParseCell(cql.Cell(p, 1, []byte("x")))
	if err != nil || got != p || string(data) != "x" {
		t.Errorf("a cell is read as %v, %q, %v", got, data, err)
	}
	if got, err := cql.ParseStale(cql.Stale(p)); err != nil || got != p {
		t.Errorf("a mark is read as %v, %v", got, err)
	}
	for n := 1; n < 20; n++ {
		if _, _, err := cql.ParseCell(make([]byte, n)); err == nil {
			t.Errorf("a cell of %d bytes is read", n)
		}
	}
	if got, data, err := cql.ParseCell(nil); err != nil || !got.IsZero() || data != nil {
		t.Errorf("no cell is read as %v, %q, %v", got, data, err)
	}
}

// FuzzParseCell reads cells of any bytes.
func FuzzParseCell(f *testing.F) {
	f.Add([]byte{})
	f.Add(cql.Stale(schema.Position{Sequence: 7, Ordinal: 9}))
	f.Add(cql.Cell(schema.Position{Sequence: 7, Ordinal: 9}, 1, []byte("x")))
	f.Fuzz(func(t *testing.T, cell []byte) {
		p, data, err := cql.ParseCell(cell)
		if err != nil || len(cell) == 0 {
			return
		}
		if again, _, err := cql.ParseCell(cql.Cell(p, 0, data)); err != nil || again != p {
			t.Errorf("%x is read as %v, and that again as %v, %v", cell, p, again, err)
		}
	})
}
