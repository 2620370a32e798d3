package query

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/internal/api"
	"berth/internal/keyspace"
	"berth/reports/query/querytest"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/rollup"
)

func recountOf(t interface{ Fatal(...any) }, e *Engine) (Recount, []api.Finding) {
	var found []api.Finding
	r, err := e.Recount(context.Background(), testGateway, func(f api.Finding) { found = append(found, f) })
	if err != nil {
		t.Fatal(err)
	}
	return r, found
}

// Of histories as a running installation may hold them, with blocks that overlap as after a crash, a recount finds
// nothing wrong, and as many identities as there are.
func TestRecountFindsNothingWhereNothingIsWrong(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.Events = querytest.History(rt)
		w.Settle(rt)
		r, found := recountOf(rt, w.engine)
		if len(found) > 0 {
			rt.Fatalf("found %+v", found)
		}
		if want := len(w.Truth()); int(r.Identities) != want {
			rt.Fatalf("%d identities are counted, there are %d", r.Identities, want)
		}
	})
}

// altered is a keyspace of which something was changed behind its back.
type altered struct {
	keyspace.Reader
	block func(b *keyspace.Block) (kept bool)
	row   func(g *keyspace.Gateway)
}

func (a *altered) Blocks(ctx context.Context, gateway string, from, to int64, yield func(keyspace.Block) error) error {
	return a.Reader.Blocks(ctx, gateway, from, to, func(b keyspace.Block) error {
		b.Data = slices.Clone(b.Data)
		if a.block != nil && !a.block(&b) {
			return nil
		}
		return yield(b)
	})
}

func (a *altered) Gateway(ctx context.Context, name string) (keyspace.Gateway, error) {
	g, err := a.Reader.Gateway(ctx, name)
	if err == nil && a.row != nil {
		a.row(&g)
	}
	return g, err
}

// storeDays stores two days of readings in blocks of half an hour, with rollups that count and the gateway's row.
func (w *world) storeDays(t *testing.T) {
	t.Helper()
	var c keyspace.Changes
	entry := &catalog.Entry{Gateway: testGateway}
	sums := map[keyspace.RollupKey][]block.Source{}
	begin := now.Add(-72 * time.Hour).Truncate(24 * time.Hour).UnixNano()
	var last schema.Position
	for n := range int64(96) {
		b := block.NewBuilder(testGateway)
		for i := range int64(30) {
			at := begin + n*int64(30*time.Minute) + i*int64(time.Minute)
			last = schema.Position{Sequence: uint64(n + 1), Ordinal: uint32(i)}
			b.Add("a", at, schema.FloatValue(float64(i)), last)
			entry.Observe("a", at, schema.FloatValue(float64(i)), last)
		}
		content := b.Content()
		first, end := content.Span()
		data, err := block.Encode(nil, content)
		if err != nil {
			t.Fatal(err)
		}
		c.Blocks = append(c.Blocks, keyspace.Block{
			BlockKey: keyspace.BlockKey{Gateway: testGateway, First: first, From: content.From, To: content.To}, Last: end, Data: data,
		})
		for _, span := range []keyspace.Span{keyspace.Hour, keyspace.Day} {
			key := keyspace.RollupKey{Gateway: testGateway, Span: span, Start: schema.Start(first, span.Length())}
			sums[key] = append(sums[key], content)
			c.Marks = append(c.Marks, keyspace.Mark{RollupKey: key, Stale: content.To})
		}
	}
	for key, sources := range sums {
		series, err := block.Merge(sources, nil, key.Start, key.Start+key.Span.Length())
		if err != nil {
			t.Fatal(err)
		}
		c.Rollups = append(c.Rollups, keyspace.Rollup{RollupKey: key, Computed: last, Data: rollup.Encode(nil, rollup.Compute(series))})
	}
	c.Gateways = []keyspace.Gateway{{Name: testGateway, Position: last, Entry: catalog.EncodeEntry(nil, entry)}}
	if _, err := w.Store.Write(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
}

func TestRecountNamesWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.storeDays(t)
	if r, found := recountOf(t, w.engine); len(found) > 0 || r.Blocks != 96 || r.Identities != 96*30 || r.Rollups != 48+2 || r.Moving != 0 || r.Latest != 1 {
		t.Fatalf("before anything was changed: %+v, %+v", r, found)
	}
	middle := now.Add(-72*time.Hour).Truncate(24*time.Hour).UnixNano() + int64(5*time.Hour)
	for name, c := range map[string]struct {
		altered altered
		what    []string
		text    string
	}{
		"a block is gone": {
			altered{block: func(b *keyspace.Block) bool { return b.First != middle }},
			[]string{api.FoundRollup, api.FoundRollup},
			"its rollup counts 60 readings of a, but 30 are stored",
		},
		"all blocks are gone": {
			altered{block: func(*keyspace.Block) bool { return false }},
			append(slices.Repeat([]string{api.FoundRollup}, 50), api.FoundLatest),
			"no reading of that time is stored",
		},
		"a byte of a block is changed": {
			altered{block: func(b *keyspace.Block) bool {
				if b.First == middle {
					b.Data[len(b.Data)/2] ^= 1
				}
				return true
			}}, []string{api.FoundBlock}, "its checksum is wrong",
		},
		"a block is another's": {
			altered{block: func(b *keyspace.Block) bool {
				if b.First == middle {
					b.To.Ordinal++
				}
				return true
			}}, []string{api.FoundBlock}, "it holds gateway",
		},
		"the row knows something newer": {
			altered{row: func(g *keyspace.Gateway) {
				e, _ := catalog.DecodeEntry(g.Entry)
				e.Observe("b", now.UnixNano(), schema.FloatValue(1), g.Position)
				g.Entry = catalog.EncodeEntry(nil, e)
			}}, []string{api.FoundLatest}, "b was last measured at",
		},
		"the row's tail cannot be read": {
			altered{row: func(g *keyspace.Gateway) { g.Tail = []byte("no tail") }}, []string{api.FoundRow}, "cannot be read",
		},
	} {
		c.altered.Reader = w.Store
		e := New(Options{Store: &c.altered, Head: w.Head, Settings: w.engine.settings, Keys: w.engine.keys, Now: w.engine.now, Logger: w.engine.log})
		_, found := recountOf(t, e)
		var what []string
		text := ""
		for _, f := range found {
			what = append(what, f.What)
			text += f.Text + "\n"
			if f.Where != testGateway || f.Next == "" {
				t.Errorf("%s: the finding does not say where, or what to do: %+v", name, f)
			}
		}
		slices.Sort(what)
		slices.Sort(c.what)
		if !slices.Equal(what, c.what) || !strings.Contains(text, c.text) {
			t.Errorf("%s: found %v\n%s", name, what, text)
		}
	}
}

// TestARollupOfTheReleaseBeforeIsRight: a rollup that an older release wrote has other bytes, and says the same.
func TestARollupOfTheReleaseBeforeIsRight(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "schema", "rollup", "testdata", "v1.golden"))
	if err != nil {
		t.Fatal(err)
	}
	stats, err := rollup.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	r := &recount{found: func(api.Finding) { found++ }}
	row := &keyspace.Rollup{Data: data}
	if r.compareRollup(row, stats); found != 0 {
		t.Errorf("%d faults are found in it", found)
	}
	stats[0].Count++
	if r.compareRollup(row, stats); found != 1 {
		t.Errorf("%d faults are found where a count is wrong", found)
	}
}
