package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/keyspace"
	"berth/schema"
)

const march, april = int64(1772323200e9), int64(1775001600e9) // the begin of two months of 2026

// testBlock returns a block at a time, long enough to fill some pages.
func testBlock(at int64, sequence uint64) keyspace.Block {
	p := schema.Position{Sequence: sequence}
	return keyspace.Block{
		BlockKey: keyspace.BlockKey{Gateway: "g", First: at, From: p, To: p}, Last: at, Data: bytes.Repeat([]byte{byte(sequence)}, 20000),
	}
}

// filled returns the backend and folder of a keyspace that holds 20 blocks in March and 20 in April.
func filled(t *testing.T) (b keyspace.Backend, dir string) {
	t.Helper()
	dir = t.TempDir()
	b = open(t, dir)
	if err := b.Create(t.Context(), "filled"); err != nil {
		t.Fatal(err)
	}
	var c keyspace.Changes
	for i := range int64(20) {
		c.Blocks = append(c.Blocks, testBlock(march+i, uint64(i+1)), testBlock(april+i, uint64(i+50)))
	}
	c.Gateways = []keyspace.Gateway{{Name: "g", Position: schema.Position{Sequence: 69}}}
	writeTo(t, b, &c)
	return b, filepath.Join(dir, "filled")
}

// writeTo opens the keyspace, writes and closes it.
func writeTo(t *testing.T, b keyspace.Backend, c *keyspace.Changes) {
	t.Helper()
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, r keyspace.Reader, from, to int64) (n int, err error) {
	t.Helper()
	err = r.Blocks(t.Context(), "g", from, to, func(b keyspace.Block) error {
		if bytes.Count(b.Data, b.Data[:1]) != 20000 {
			t.Errorf("a block has other bytes than were written")
		}
		n++
		return nil
	})
	return n, err
}

// damages are what may happen to a file.
var damages = map[string]func(data []byte) []byte{
	"text":             func([]byte) []byte { return []byte(strings.Repeat("this is no database\n", 5000)) },
	"zeros":            func(d []byte) []byte { return make([]byte, len(d)) },
	"header":           func(d []byte) []byte { copy(d, "another file's!!"); return d },
	"application":      func(d []byte) []byte { copy(d[68:], "SQLi"); return d },
	"empty":            func([]byte) []byte { return nil },
	"half a page":      func(d []byte) []byte { return d[:3000] },
	"garbage":          func(d []byte) []byte { copy(d[200:], bytes.Repeat([]byte{0xa5}, len(d))); return d },
	"trees' garbage":   func(d []byte) []byte { copy(d[32<<10:], bytes.Repeat([]byte{0xa5}, len(d))); return d },
	"cut to two pages": func(d []byte) []byte { return d[:64<<10] },
}

func TestDamagedMonth(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			b, dir := filled(t)
			damageFile(t, filepath.Join(dir, "2026-03.db"), damage)
			w, err := b.Writer(t.Context(), "filled")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = w.Close() }()
			r, err := b.Reader(t.Context(), "filled")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			_, err = count(t, r, march, april)
			namesFile(t, "reading", err, "filled/2026-03.db")
			if n, err := count(t, r, april, math.MaxInt64); n != 20 || err != nil {
				t.Errorf("of the other month %d of 20 blocks are read, with error %v", n, err)
			}
			if _, err := w.Write(t.Context(), &keyspace.Changes{Blocks: []keyspace.Block{testBlock(march+100, 100)}}); err != nil {
				t.Errorf("writing: %v; the file was to be set aside", err)
			}
			if n, err := count(t, r, march+100, april); n != 1 {
				t.Errorf("of the new file %d of 1 blocks are read, with error %v", n, err)
			} else {
				namesFile(t, "reading beside what was set aside", err, "filled/2026-03.damaged-1.db")
			}
			if p, err := w.Position(t.Context()); err != nil || p.Sequence < 100 {
				t.Errorf("the position is %v, with error %v", p, err)
			}
			if _, err := w.Write(t.Context(), &keyspace.Changes{Blocks: []keyspace.Block{testBlock(april+100, 100)}}); err != nil {
				t.Errorf("writing another month: %v", err)
			}
		})
	}
}

// TestOrderOfChanges writes to a month that cannot be written: what comes before its blocks is stored, and nothing of
// what comes after them.
func TestOrderOfChanges(t *testing.T) {
	b, dir := filled(t)
	damageFile(t, filepath.Join(dir, "2026-03.db"), newerVersion)
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	p := schema.Position{Sequence: 100}
	key := keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour, Start: march}
	_, err = w.Write(t.Context(), &keyspace.Changes{
		Marks:    []keyspace.Mark{{RollupKey: key, Stale: p}},
		Blocks:   []keyspace.Block{testBlock(march, 100)},
		Gateways: []keyspace.Gateway{{Name: "g", Position: p}},
		Rollups:  []keyspace.Rollup{{RollupKey: key, Computed: p, Data: []byte("sums")}},
	})
	if !schema.Is(err, schema.Conflict) {
		t.Errorf("writing: got error %v, want a Conflict", err)
	}
	if g, err := w.Gateway(t.Context(), "g"); err != nil || g.Position == p {
		t.Errorf("the row has position %v (error %v), though the blocks before it are not stored", g.Position, err)
	}
	var got []keyspace.Rollup
	err = w.Rollups(t.Context(), "g", keyspace.Hour, march, april, func(r keyspace.Rollup) error { got = append(got, r); return nil })
	if err != nil || len(got) != 1 || got[0].Stale != p || !got[0].Computed.IsZero() {
		t.Errorf("rollups %v (error %v), want one that is marked and not computed", got, err)
	}
}

func TestDamagedCatalog(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			b, dir := filled(t)
			damageFile(t, filepath.Join(dir, "catalog.db"), damage)
			w, err := b.Writer(t.Context(), "filled")
			if err == nil {
				_, err = w.Write(t.Context(), &keyspace.Changes{Gateways: []keyspace.Gateway{{Name: "g", Position: schema.Position{Sequence: 100}}}})
				_ = w.Close() // the file is damaged
			}
			namesFile(t, "writing", err, "filled/catalog.db")
			r, err := b.Reader(t.Context(), "filled")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			_, err = r.Gateway(t.Context(), "g")
			namesFile(t, "reading", err, "filled/catalog.db")
		})
	}
}

// newerVersion makes a file one of a version to come.
func newerVersion(d []byte) []byte {
	d[63] = 99 // user_version
	return d
}

// TestRottenPages spoils single pages of a month's file, each in turn: what is not on the page is read, in order, and what
// is missing is said, unless a page was free. Then the month is written, whatever that takes, and read again.
func TestRottenPages(t *testing.T) {
	const page = 32 << 10
	b, dir := filled(t)
	whole, err := os.ReadFile(filepath.Join(dir, "2026-03.db"))
	if err != nil {
		t.Fatal(err)
	}
	rotten := 0
	for n := 1; n < len(whole)/page; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b, dir = filled(t)
			damageFile(t, filepath.Join(dir, "2026-03.db"), func(d []byte) []byte {
				copy(d[n*page:(n+1)*page], bytes.Repeat([]byte{0xa5}, page))
				return d
			})
			r, err := b.Reader(t.Context(), "filled")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			found, err := countAny(t, r, march, april)
			if err != nil {
				rotten++
				namesFile(t, "reading", err, "filled/2026-03.db")
			}
			if found == 20 && err != nil || found < 20 && err == nil {
				t.Errorf("%d of 20 blocks are read, with error %v", found, err)
			}
			writeTo(t, b, &keyspace.Changes{Blocks: []keyspace.Block{testBlock(march+100, 100)}})
			if after, err := countAny(t, r, march, april); after != found+1 {
				t.Errorf("%d blocks and a new one are %d, with error %v", found, after, err)
			}
		})
	}
	if rotten < 10 {
		t.Errorf("%d pages were missed: the test spoils the wrong places", rotten)
	}
}

// countAny counts the blocks whose bytes are as they were written, and checks their order.
func countAny(t *testing.T, r keyspace.Reader, from, to int64) (n int, err error) {
	t.Helper()
	before := from - 1
	err = r.Blocks(t.Context(), "g", from, to, func(b keyspace.Block) error {
		if b.First <= before {
			t.Errorf("a block of %d follows one of %d", b.First, before)
		}
		before = b.First
		if bytes.Count(b.Data, b.Data[:1]) == 20000 {
			n++
		}
		return nil
	})
	return n, err
}

func TestNewerVersion(t *testing.T) {
	b, dir := filled(t)
	damageFile(t, filepath.Join(dir, "2026-03.db"), newerVersion)
	r, err := b.Reader(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	_, err = count(t, r, march, april)
	if !schema.Is(err, schema.Conflict) || !strings.Contains(err.Error(), "version 99") || !strings.Contains(err.Error(), "2026-03.db") {
		t.Errorf("got error %v, want a Conflict that names the file and its version", err)
	}
}

func damageFile(t *testing.T, path string, damage func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, damage(data)[:], 0o600); err != nil {
		t.Fatal(err)
	}
}

func namesFile(t *testing.T, act string, err error, file string) {
	t.Helper()
	if !errors.Is(err, keyspace.ErrDamaged) || !schema.Is(err, schema.Internal) || !strings.Contains(schema.Show(err), file+" is damaged") {
		t.Errorf("%s: got error %v, want one that says that %s is damaged", act, err, file)
	}
}

const sector = 4096 // bytes of a disk that rot together; a page of the file has several

// rots are ways in which a file rots behind its first sector. With each seed one of the trees takes what is written to it, and leads
// nobody to it, or has numbers in it that are taken.
var rots = []struct {
	name  string
	seeds []uint64
	rot   func(r *rand.Rand, d []byte)
}{
	{"every other sector is spoilt", []uint64{0, 15}, func(_ *rand.Rand, d []byte) {
		for at := sector; at+sector <= len(d); at += 2 * sector {
			copy(d[at+64:], bytes.Repeat([]byte("rot!"), 500))
		}
	}},
	{"sectors are in the place of others", []uint64{80, 192}, func(r *rand.Rand, d []byte) {
		one := func() []byte { return d[sector*(1+r.IntN(len(d)/sector-1)):][:sector] }
		for range 1 + r.IntN(8) {
			copy(one(), bytes.Clone(one()))
		}
	}},
	{"bytes of sectors change", []uint64{6, 98, 122}, func(r *rand.Rand, d []byte) {
		for at := sector; at+sector <= len(d); at += sector {
			if r.IntN(3) != 0 {
				continue
			}
			for range 1 + r.IntN(20) {
				d[at+8+r.IntN(200)] = byte(r.IntN(256))
			}
		}
	}},
}

// TestWhatIsWrittenBesideRotIsFound: what a rotten tree takes is not counted as stored unless it is found: a new file takes it.
func TestWhatIsWrittenBesideRotIsFound(t *testing.T) {
	for _, rot := range rots {
		for _, seed := range rot.seeds {
			t.Run(fmt.Sprint(rot.name, " ", seed), func(t *testing.T) { writtenBesideRot(t, rand.New(rand.NewPCG(seed, 1)), rot.rot) })
		}
	}
}

// writtenBesideRot fills a month, has it rot, writes to it, and looks for what it wrote.
func writtenBesideRot(t *testing.T, r *rand.Rand, rot func(r *rand.Rand, d []byte)) {
	t.Helper()
	dir, sequence := t.TempDir(), uint64(0)
	b := open(t, dir)
	if err := b.Create(t.Context(), "filled"); err != nil {
		t.Fatal(err)
	}
	block := func(gateway string, at int64) keyspace.Block {
		sequence++
		k := testBlock(at, sequence)
		k.Gateway, k.Data = gateway, k.Data[:650+r.IntN(60)]
		return k
	}
	var before keyspace.Changes
	for range 500 + r.IntN(1000) {
		before.Blocks = append(before.Blocks, block(fmt.Sprintf("wild%02d", r.IntN(100)), march+20*schema.DaySpan+r.Int64N(schema.DaySpan)))
	}
	writeTo(t, b, &before)
	damageFile(t, filepath.Join(dir, "filled", "2026-03.db"), func(d []byte) []byte {
		rot(r, d)
		return d
	})
	w, err := b.Writer(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for n := range int64(15) {
		var c keyspace.Changes
		for range 1 + r.IntN(4) {
			gateway := fmt.Sprint("after", r.IntN(4))
			want[gateway]++
			c.Blocks = append(c.Blocks, block(gateway, march+18*schema.DaySpan+n*schema.DaySpan/12))
		}
		if _, err := w.Write(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := b.Reader(t.Context(), "filled")
	if err != nil {
		t.Fatal(err)
	}
	for gateway, n := range want {
		found := 0
		err := reader.Blocks(t.Context(), gateway, march, april, func(keyspace.Block) error { found++; return nil })
		if found != n {
			t.Errorf("of %d blocks of %s that were written %d are found, with error %v", n, gateway, found, err)
		}
	}
	if err := errors.Join(reader.Close(), w.Close()); err != nil {
		t.Error(err)
	}
}
