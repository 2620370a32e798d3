package sqlite_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/keyspace"
	"berth/schema"
)

var writeGolden = flag.Bool("golden", false, "write the golden files of the newest version")

// goldenChanges is what every golden keyspace holds, the blocks in March 2026.
func goldenChanges() *keyspace.Changes {
	key := keyspace.RollupKey{Gateway: "quay 1", Span: keyspace.Hour, Start: march}
	p := schema.Position{Sequence: 1 << 40, Ordinal: math.MaxUint32}
	return &keyspace.Changes{
		Marks: []keyspace.Mark{{RollupKey: key, Stale: p}},
		Blocks: []keyspace.Block{
			{BlockKey: keyspace.BlockKey{Gateway: "quay 1", First: march, From: schema.Position{Sequence: 7}, To: p, Part: 3}, Last: march + schema.DaySpan - 1, Data: []byte("first")},
			{BlockKey: keyspace.BlockKey{Gateway: "quay 1", First: march + schema.DaySpan, From: p, To: p}, Last: march + schema.DaySpan, Data: []byte("second")},
		},
		Gateways: []keyspace.Gateway{{Name: "quay 1", Position: p, Entry: []byte("entry"), Tail: []byte("tail")}},
		Rollups:  []keyspace.Rollup{{RollupKey: key, Computed: schema.Position{Sequence: 7, Ordinal: 1}, Data: []byte("sums")}},
	}
}

// TestGolden opens keyspaces as each version wrote them: first a reader, then the writer, which may migrate them.
func TestGolden(t *testing.T) {
	if *writeGolden {
		makeGolden(t, "v2")
	}
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			dir := t.TempDir()
			for _, file := range []string{"catalog.db", "2026-03.db"} {
				put(t, filepath.Join(dir, "filled", file), string(unzip(t, filepath.Join("testdata", version, file+".gz"))))
			}
			b := open(t, dir)
			r, err := b.Reader(t.Context(), "filled")
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, r)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			writeTo(t, b, goldenChanges())
			w, err := b.Writer(t.Context(), "filled")
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, w)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func checkGolden(t *testing.T, r keyspace.Reader) {
	t.Helper()
	var got keyspace.Changes
	err := r.Blocks(t.Context(), "quay 1", math.MinInt64, math.MaxInt64, func(b keyspace.Block) error {
		b.Data = bytes.Clone(b.Data)
		got.Blocks = append(got.Blocks, b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := r.Gateway(t.Context(), "quay 1")
	if err != nil {
		t.Fatal(err)
	}
	got.Gateways = append(got.Gateways, g)
	err = r.Rollups(t.Context(), "quay 1", keyspace.Hour, math.MinInt64, math.MaxInt64, func(r keyspace.Rollup) error {
		r.Data = bytes.Clone(r.Data)
		got.Marks = append(got.Marks, keyspace.Mark{RollupKey: r.RollupKey, Stale: r.Stale})
		r.Stale = schema.Position{}
		got.Rollups = append(got.Rollups, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(goldenChanges(), &got); diff != "" {
		t.Errorf("what it holds (-want +got):\n%s", diff)
	}
	p, err := r.Position(t.Context())
	if want := goldenChanges().Highest(); err != nil || p != want {
		t.Errorf("position %v (error %v), want %v", p, err, want)
	}
}

// makeGolden writes the golden files of a version. It is for the day on which a version is made, and never after.
func makeGolden(t *testing.T, version string) {
	t.Helper()
	dir := t.TempDir()
	b := open(t, dir)
	if err := b.Create(t.Context(), "filled"); err != nil {
		t.Fatal(err)
	}
	writeTo(t, b, goldenChanges())
	for _, file := range []string{"catalog.db", "2026-03.db"} {
		data, err := os.ReadFile(filepath.Join(dir, "filled", file))
		if err != nil {
			t.Fatal(err)
		}
		var zipped bytes.Buffer
		z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join("testdata", version, file+".gz"), zipped.String())
	}
}

func unzip(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
