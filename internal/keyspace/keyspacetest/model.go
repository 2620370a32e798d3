package keyspacetest

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"pgregory.net/rapid"

	"berth/internal/keyspace"
	"berth/schema"
)

// model is a keyspace in memory, as its contract says it.
type model struct {
	blocks   map[keyspace.BlockKey]keyspace.Block
	gateways map[string]keyspace.Gateway
	rollups  map[keyspace.RollupKey]keyspace.Rollup
	position schema.Position
}

func newModel() *model {
	return &model{
		blocks: map[keyspace.BlockKey]keyspace.Block{}, gateways: map[string]keyspace.Gateway{},
		rollups: map[keyspace.RollupKey]keyspace.Rollup{},
	}
}

func (m *model) raise(p schema.Position) {
	if m.position.Less(p) {
		m.position = p
	}
}

func (m *model) write(c *keyspace.Changes) {
	for _, k := range c.Marks {
		r := m.rollups[k.RollupKey]
		r.RollupKey = k.RollupKey
		if r.Stale.Less(k.Stale) {
			r.Stale = k.Stale
		}
		m.rollups[k.RollupKey] = r
		m.raise(k.Stale)
	}
	for _, b := range c.Blocks {
		if _, ok := m.blocks[b.BlockKey]; !ok {
			m.blocks[b.BlockKey] = b
		}
		m.raise(b.To)
	}
	for _, g := range c.Gateways {
		if old, ok := m.gateways[g.Name]; !ok || !g.Position.Less(old.Position) {
			m.gateways[g.Name] = g
		}
		m.raise(g.Position)
	}
	for _, r := range c.Rollups {
		old := m.rollups[r.RollupKey]
		old.RollupKey = r.RollupKey
		if !r.Computed.Less(old.Computed) {
			old.Computed, old.Data = r.Computed, r.Data
		}
		m.rollups[r.RollupKey] = old
		m.raise(r.Computed)
	}
}

func (m *model) blocksOf(gateway string, from, to int64) []keyspace.Block {
	var all []keyspace.Block
	for _, b := range m.blocks {
		if b.Gateway == gateway && b.First < to && b.Last >= from && from < to {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, compareBlocks)
	return all
}

func (m *model) rollupsOf(gateway string, span keyspace.Span, from, to int64) []keyspace.Rollup {
	var all []keyspace.Rollup
	for _, r := range m.rollups {
		if r.Gateway == gateway && r.Span == span && r.Start >= from && r.Start < to {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b keyspace.Rollup) int { return cmp.Compare(a.Start, b.Start) })
	return all
}

// unrolled returns the keys that do not count, in an order of its own.
func (m *model) unrolled(endBefore int64) []keyspace.RollupKey {
	var all []keyspace.RollupKey
	for _, r := range m.rollups {
		if r.Computed.Less(r.Stale) && r.Start+r.Span.Length() <= endBefore {
			all = append(all, r.RollupKey)
		}
	}
	slices.SortFunc(all, compareKeys)
	return all
}

func compareKeys(a, b keyspace.RollupKey) int {
	return cmp.Or(cmp.Compare(a.Span, b.Span), cmp.Compare(a.Start, b.Start), cmp.Compare(a.Gateway, b.Gateway))
}

// testModel writes what chance gives and compares all answers with the model's. Each run has gateways of its own, so
// that one keyspace serves them all.
func testModel(t tb, s *space) {
	w := s.writer(t)
	r := s.reader(t)
	m := newModel()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		names := []string{fmt.Sprintf("%04da", run), fmt.Sprintf("%04db", run)}
		for range rapid.IntRange(1, 4).Draw(rt, "writes") {
			c := drawChanges(rt, names)
			if _, err := w.Write(t.Context(), c); err != nil {
				rt.Fatal(err)
			}
			m.write(c)
		}
		from := rapid.SampledFrom([]keyspace.Reader{r, w}).Draw(rt, "reader")
		for _, name := range names {
			compareGateway(rt, m, from, name)
		}
		compareFleet(rt, from, names, keyspace.Hour, math.MinInt64, math.MaxInt64)
		compareLists(rt, m, w, names)
	})
}

func compareGateway(rt *rapid.T, m *model, r keyspace.Reader, name string) {
	instant := rapid.Custom(drawTime)
	from, to := instant.Draw(rt, "from"), instant.Draw(rt, "to")
	same(rt, "blocks", blocks(rt, r, name, from, to), m.blocksOf(name, from, to))
	same(rt, "all blocks", blocks(rt, r, name, math.MinInt64, math.MaxInt64), m.blocksOf(name, math.MinInt64, math.MaxInt64))
	for _, span := range []keyspace.Span{keyspace.Hour, keyspace.Day} {
		same(rt, "rollups", rollups(rt, r, name, span, from, to), m.rollupsOf(name, span, from, to))
	}
	g, err := r.Gateway(rt.Context(), name)
	if want, ok := m.gateways[name]; ok {
		must(rt, err)
		same(rt, "gateway", g, want)
	} else {
		isCode(rt, "gateway", err, schema.NotFound)
	}
	p, err := r.Position(rt.Context())
	must(rt, err)
	same(rt, "position", p, m.position)
}

func compareLists(rt *rapid.T, m *model, w keyspace.Writer, names []string) {
	var want []keyspace.Gateway
	for _, name := range slices.Sorted(maps.Keys(m.gateways)) {
		if name >= names[0] {
			g := m.gateways[name]
			g.Tail = nil
			want = append(want, g)
		}
	}
	listed := gateways(rt, w, names[0][:len(names[0])-1], 100)
	for i := range listed {
		if g := &listed[i]; g.Tailless { // a backend need not tell
			same(rt, "bytes of the tail of one that has none", len(m.gateways[g.Name].Tail), 0)
			g.Tailless = false
		}
	}
	same(rt, "gateways", listed, want)
	same(rt, "gateways counted", counted(rt, w), len(m.gateways))
	end := rapid.Custom(drawTime).Draw(rt, "end")
	got := unrolled(rt, w, end)
	slices.SortFunc(got, compareKeys)
	same(rt, "unrolled", got, m.unrolled(end))
}

// drawTime draws times that meet often: near the turns of days and of months, on both sides of 1970.
func drawTime(rt *rapid.T) int64 {
	days := rapid.SampledFrom([]int64{-1, 0, 1, 30, 31, 32}).Draw(rt, "day")
	return days*schema.DaySpan + rapid.SampledFrom([]int64{0, 1, 2, schema.HourSpan, schema.DaySpan - 1}).Draw(rt, "instant")
}

func drawPosition(rt *rapid.T) schema.Position {
	return at(rapid.Uint64Range(1, 4).Draw(rt, "sequence"), rapid.Uint32Range(0, 3).Draw(rt, "ordinal"))
}

func drawChanges(rt *rapid.T, names []string) *keyspace.Changes {
	gateway := rapid.SampledFrom(names)
	key := rapid.Custom(func(rt *rapid.T) keyspace.RollupKey {
		k := keyspace.RollupKey{Gateway: gateway.Draw(rt, "gateway"), Span: rapid.SampledFrom([]keyspace.Span{keyspace.Hour, keyspace.Day}).Draw(rt, "span")}
		k.Start = schema.Start(drawTime(rt), k.Span.Length())
		return k
	})
	return &keyspace.Changes{
		Marks: rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) keyspace.Mark {
			return keyspace.Mark{RollupKey: key.Draw(rt, "key"), Stale: drawPosition(rt)}
		}), 0, 4).Draw(rt, "marks"),
		Blocks: rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) keyspace.Block {
			first := drawTime(rt)
			last := min(schema.Start(first, schema.DaySpan)+schema.DaySpan-1, first+rapid.Int64Range(0, 2).Draw(rt, "length"))
			from, to := drawPosition(rt), drawPosition(rt)
			if to.Less(from) {
				from, to = to, from
			}
			b := block(gateway.Draw(rt, "gateway"), first, last, from, to)
			b.Part = rapid.Uint16Range(0, 1).Draw(rt, "part")
			return b
		}), 0, 6).Draw(rt, "blocks"),
		Gateways: rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) keyspace.Gateway {
			data := rapid.SliceOfN(rapid.Byte(), 0, 20)
			return keyspace.Gateway{
				Name: gateway.Draw(rt, "gateway"), Position: drawPosition(rt), Entry: data.Draw(rt, "entry"), Tail: data.Draw(rt, "tail"),
			}
		}), 0, 3).Draw(rt, "gateways"),
		Rollups: rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) keyspace.Rollup {
			return keyspace.Rollup{
				RollupKey: key.Draw(rt, "key"), Computed: drawPosition(rt), Data: rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(rt, "data"),
			}
		}), 0, 4).Draw(rt, "rollups"),
	}
}
