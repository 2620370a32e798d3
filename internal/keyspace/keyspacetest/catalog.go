package keyspacetest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"berth/internal/keyspace"
	"berth/schema"
)

func testGateways(t tb, s *space) {
	w := s.writer(t)
	row := func(p schema.Position, text string) keyspace.Gateway {
		return keyspace.Gateway{Name: "g", Position: p, Entry: []byte("entry " + text), Tail: []byte("tail " + text)}
	}
	_, err := w.Gateway(t.Context(), "g")
	isCode(t, "a gateway without a row", err, schema.NotFound, "g")
	for _, c := range []struct {
		what  string
		write []keyspace.Gateway
		want  keyspace.Gateway
	}{
		{"the first", []keyspace.Gateway{row(at(5, 5), "1")}, row(at(5, 5), "1")},
		{"a lower sequence", []keyspace.Gateway{row(at(4, 9), "2")}, row(at(5, 5), "1")},
		{"a lower ordinal", []keyspace.Gateway{row(at(5, 4), "3")}, row(at(5, 5), "1")},
		{"the same again", []keyspace.Gateway{row(at(5, 5), "1")}, row(at(5, 5), "1")},
		{"a higher ordinal", []keyspace.Gateway{row(at(5, 6), "4")}, row(at(5, 6), "4")},
		{"a higher sequence", []keyspace.Gateway{row(at(6, 0), "5")}, row(at(6, 0), "5")},
		{"two in one write", []keyspace.Gateway{row(at(8, 0), "6"), row(at(7, 0), "7")}, row(at(8, 0), "6")},
		{"without a tail", []keyspace.Gateway{{Name: "g", Position: at(9, 0), Entry: []byte("e")}}, keyspace.Gateway{Name: "g", Position: at(9, 0), Entry: []byte("e")}},
		{"with nothing", []keyspace.Gateway{{Name: "g", Position: at(10, 0)}}, keyspace.Gateway{Name: "g", Position: at(10, 0)}},
	} {
		write(t, w, &keyspace.Changes{Gateways: c.write})
		got, err := w.Gateway(t.Context(), "g")
		must(t, err)
		same(t, "after "+c.what, got, c.want)
	}
	// A gateway that has blocks and no row has no row.
	write(t, w, put(block("h", 0, 0, at(1, 0), at(1, 0))))
	_, err = w.Gateway(t.Context(), "h")
	isCode(t, "a gateway with blocks alone", err, schema.NotFound)
	mark := keyspace.Mark{RollupKey: keyspace.RollupKey{Gateway: "i", Span: keyspace.Hour}, Stale: at(1, 0)}
	write(t, w, &keyspace.Changes{Marks: []keyspace.Mark{mark}})
	_, err = w.Gateway(t.Context(), "i")
	isCode(t, "a gateway with marks alone", err, schema.NotFound)
	same(t, "rows", len(gateways(t, w, "", 10)), 1)
	same(t, "rows counted", counted(t, w), 1)
}

func testGatewayNames(t tb, s *space) {
	w := s.writer(t)
	names := []string{
		"a", "A", "a b", "a'b", `a"b`, "a;drop table gateways", "a%", "a_", "a?", "../../up", "a/b", `a\b`, "ä", "a\u0308", "z", "日本", "é",
		"0", "00", "1", "-1", "null", "*", strings.Repeat("x", schema.MaxGatewayName), strings.Repeat("x", schema.MaxGatewayName-1), "🚢",
	}
	var c keyspace.Changes
	for i, name := range names {
		p := at(1, uint32(i))
		c.Blocks = append(c.Blocks, block(name, 0, 0, p, p))
		c.Gateways = append(c.Gateways, keyspace.Gateway{Name: name, Position: p, Entry: []byte(name), Tail: []byte("tail")})
		c.Marks = append(c.Marks, keyspace.Mark{RollupKey: keyspace.RollupKey{Gateway: name, Span: keyspace.Hour}, Stale: p})
	}
	write(t, w, &c)
	slices.Sort(names)
	for i, name := range names {
		if got := blocks(t, w, name, 0, 1); len(got) != 1 || got[0].Gateway != name {
			t.Errorf("blocks of %q: %v", name, got)
		}
		g, err := w.Gateway(t.Context(), name)
		must(t, err)
		same(t, "entry of "+name, string(g.Entry), name)
		for _, limit := range []int{1, 3, 100} {
			var got []string
			for _, g := range gateways(t, w, name, limit) {
				got = append(got, g.Name)
				if g.Tail != nil {
					t.Errorf("the list gives the tail of %q", g.Name)
				}
			}
			same(t, fmt.Sprintf("%d after %q", limit, name), got, names[i+1:min(i+1+limit, len(names))])
		}
	}
	same(t, "all", len(gateways(t, w, "", 1000)), len(names))
	same(t, "none", len(gateways(t, w, "", 0)), 0)
	var marked []string
	for _, k := range unrolled(t, w, math.MaxInt64) {
		marked = append(marked, k.Gateway)
	}
	slices.Sort(marked)
	same(t, "marked", marked, names)

	c = keyspace.Changes{}
	for i := range 700 {
		c.Gateways = append(c.Gateways, keyspace.Gateway{Name: fmt.Sprintf("many%03d", i), Position: at(2, 0)})
	}
	write(t, w, &c)
	same(t, "a long list", len(gateways(t, w, "many", 600)), 600)
	same(t, "a long list counted", counted(t, w), len(names)+700)
	same(t, "its last", gateways(t, w, "many", 600)[599].Name, "many599")
}

func testPosition(t tb, s *space) {
	w := s.writer(t)
	r := s.reader(t)
	key := keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour}
	for _, c := range []struct {
		what  string
		write keyspace.Changes
		want  schema.Position
	}{
		{"nothing", keyspace.Changes{}, at(0, 0)},
		{"a block", *put(block("g", 0, 5, at(3, 0), at(3, 7))), at(3, 7)},
		{"an earlier block", *put(block("g", 6, 7, at(2, 0), at(2, 9))), at(3, 7)},
		{"a later block of another month", *put(block("g", -100*schema.DaySpan, -100*schema.DaySpan, at(3, 8), at(3, 8))), at(3, 8)},
		{"a row", keyspace.Changes{Gateways: []keyspace.Gateway{{Name: "g", Position: at(5, 1)}}}, at(5, 1)},
		{"an earlier row", keyspace.Changes{Gateways: []keyspace.Gateway{{Name: "h", Position: at(4, 1)}}}, at(5, 1)},
		{"a rollup", keyspace.Changes{Rollups: []keyspace.Rollup{{RollupKey: key, Computed: at(5, 2), Data: []byte{1}}}}, at(5, 2)},
		{"a mark", keyspace.Changes{Marks: []keyspace.Mark{{RollupKey: key, Stale: at(6, 0)}}}, at(6, 0)},
		{"the highest there is", *put(block("g", 9, 9, at(7, 0), at(keyspace.MaxSequence, math.MaxUint32))), at(keyspace.MaxSequence, math.MaxUint32)},
	} {
		write(t, w, &c.write)
		for who, r := range map[string]keyspace.Reader{"writer": w, "reader": r} {
			p, err := r.Position(t.Context())
			must(t, err)
			same(t, who+"'s position after "+c.what, p, c.want)
		}
	}
	same(t, "the block of the highest position", blocks(t, w, "g", 9, 10)[0].To, at(keyspace.MaxSequence, math.MaxUint32))
}

func testRollups(t tb, s *space) {
	w := s.writer(t)
	key := keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour, Start: -5 * schema.HourSpan}
	mark := func(p schema.Position) keyspace.Changes {
		return keyspace.Changes{Marks: []keyspace.Mark{{RollupKey: key, Stale: p}}}
	}
	rollup := func(p schema.Position, data string) keyspace.Changes {
		return keyspace.Changes{Rollups: []keyspace.Rollup{{RollupKey: key, Computed: p, Stale: at(99, 0), Data: []byte(data)}}}
	}
	for _, c := range []struct {
		what  string
		write keyspace.Changes
		want  keyspace.Rollup
	}{
		{"a mark alone", mark(at(5, 5)), keyspace.Rollup{Stale: at(5, 5)}},
		{"a lower mark", mark(at(5, 4)), keyspace.Rollup{Stale: at(5, 5)}},
		{"a rollup", rollup(at(5, 5), "a"), keyspace.Rollup{Computed: at(5, 5), Stale: at(5, 5), Data: []byte("a")}},
		{"a lower rollup", rollup(at(5, 4), "b"), keyspace.Rollup{Computed: at(5, 5), Stale: at(5, 5), Data: []byte("a")}},
		{"an equal rollup", rollup(at(5, 5), "c"), keyspace.Rollup{Computed: at(5, 5), Stale: at(5, 5), Data: []byte("c")}},
		{"a higher mark", mark(at(6, 0)), keyspace.Rollup{Computed: at(5, 5), Stale: at(6, 0), Data: []byte("c")}},
		{"a higher rollup that is still stale", rollup(at(5, 9), "d"), keyspace.Rollup{Computed: at(5, 9), Stale: at(6, 0), Data: []byte("d")}},
		{"a rollup beyond the mark", rollup(at(7, 0), "e"), keyspace.Rollup{Computed: at(7, 0), Stale: at(6, 0), Data: []byte("e")}},
		{"a mark in between", mark(at(6, 5)), keyspace.Rollup{Computed: at(7, 0), Stale: at(6, 5), Data: []byte("e")}},
	} {
		write(t, w, &c.write)
		c.want.RollupKey = key
		same(t, "after "+c.what, rollups(t, w, "g", keyspace.Hour, key.Start, key.Start+1), []keyspace.Rollup{c.want})
		var stale []keyspace.RollupKey
		if c.want.Computed.Less(c.want.Stale) {
			stale = append(stale, key)
		}
		same(t, "unrolled after "+c.what, unrolled(t, w, math.MaxInt64), stale)
	}
	other := rollup(at(1, 1), "never marked")
	other.Rollups[0].Start = 0
	write(t, w, &other)
	same(t, "a rollup that was never marked", rollups(t, w, "g", keyspace.Hour, 0, 1), []keyspace.Rollup{{
		RollupKey: keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour}, Computed: at(1, 1), Data: []byte("never marked"),
	}})
	both := mark(at(9, 0))
	both.Rollups = rollup(at(8, 0), "f").Rollups
	write(t, w, &both)
	same(t, "a mark and a rollup in one write", unrolled(t, w, math.MaxInt64), []keyspace.RollupKey{key})
}

func testRollupRanges(t tb, s *space) {
	w := s.writer(t)
	var c keyspace.Changes
	for i := int64(-50); i < 550; i++ {
		k := keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour, Start: i * schema.HourSpan}
		c.Rollups = append(c.Rollups, keyspace.Rollup{RollupKey: k, Computed: at(1, 1), Data: fmt.Appendf(nil, "hour %d%s", i, strings.Repeat(".", 1000))})
	}
	day := keyspace.Rollup{RollupKey: keyspace.RollupKey{Gateway: "g", Span: keyspace.Day}, Computed: at(1, 1), Data: []byte("day")}
	other := keyspace.Rollup{RollupKey: keyspace.RollupKey{Gateway: "h", Span: keyspace.Hour}, Computed: at(1, 1), Data: []byte("other")}
	all := slices.Clone(c.Rollups)
	c.Rollups = append(c.Rollups, day, other)
	slices.Reverse(c.Rollups)
	write(t, w, &c)
	for _, r := range [][2]int64{{-100, 1000}, {-50, 550}, {0, 0}, {10, 5}, {0, 1}, {-3, 3}, {100, 500}, {549, 550}, {550, 600}} {
		var want []keyspace.Rollup
		for _, o := range all {
			if o.Start >= r[0]*schema.HourSpan && o.Start < r[1]*schema.HourSpan {
				want = append(want, o)
			}
		}
		same(t, fmt.Sprintf("hours %d to %d", r[0], r[1]), rollups(t, w, "g", keyspace.Hour, r[0]*schema.HourSpan, r[1]*schema.HourSpan), want)
	}
	same(t, "from within an hour", rollups(t, w, "g", keyspace.Hour, 1, schema.HourSpan+1), all[51:52])
	same(t, "all times", len(rollups(t, w, "g", keyspace.Hour, math.MinInt64, math.MaxInt64)), len(all))
	same(t, "days", rollups(t, w, "g", keyspace.Day, math.MinInt64, math.MaxInt64), []keyspace.Rollup{day})
	same(t, "another gateway", rollups(t, w, "h", keyspace.Hour, math.MinInt64, math.MaxInt64), []keyspace.Rollup{other})
	same(t, "no gateway", rollups(t, w, "nobody", keyspace.Hour, math.MinInt64, math.MaxInt64), nil)
}

func testUnrolled(t tb, s *space) {
	w := s.writer(t)
	var c keyspace.Changes
	for i := range int64(300) {
		for _, g := range []string{"g", "h"} {
			k := keyspace.RollupKey{Gateway: g, Span: keyspace.Hour, Start: i * schema.HourSpan}
			c.Marks = append(c.Marks, keyspace.Mark{RollupKey: k, Stale: at(5, 0)})
			if i%3 == 0 {
				c.Rollups = append(c.Rollups, keyspace.Rollup{RollupKey: k, Computed: at(5, 0), Data: []byte{1}})
			}
		}
	}
	day := keyspace.RollupKey{Gateway: "g", Span: keyspace.Day}
	c.Marks = append(c.Marks, keyspace.Mark{RollupKey: day, Stale: at(5, 0)})
	write(t, w, &c)
	same(t, "none have ended", len(unrolled(t, w, schema.HourSpan-1)), 0)
	same(t, "none ever end so early", len(unrolled(t, w, math.MinInt64)), 0)
	same(t, "hour 0 is rolled up", len(unrolled(t, w, 2*schema.HourSpan-1)), 0)
	same(t, "hour 1 of two gateways has ended", len(unrolled(t, w, 2*schema.HourSpan)), 2)
	same(t, "a day has not ended", len(unrolled(t, w, schema.DaySpan-1)), 2*15)
	same(t, "a day has ended", len(unrolled(t, w, schema.DaySpan)), 2*16+1)
	all := unrolled(t, w, math.MaxInt64)
	same(t, "all", len(all), 401)
	var last keyspace.RollupKey
	seen := map[keyspace.RollupKey]bool{}
	for _, k := range all {
		if k.Span == last.Span && k.Start < last.Start || seen[k] || k.Span == keyspace.Hour && k.Start/schema.HourSpan%3 == 0 {
			t.Fatalf("%v after %v", k, last)
		}
		last, seen[k] = k, true
	}
	// Each is rolled up when it comes: none comes twice, none is missed.
	n := 0
	must(t, w.Unrolled(t.Context(), math.MaxInt64, func(k keyspace.RollupKey) bool {
		n++
		if n%10 == 0 {
			write(t, w, &keyspace.Changes{Rollups: []keyspace.Rollup{{RollupKey: k, Computed: at(5, 0), Data: []byte{2}}}})
		}
		return true
	}))
	same(t, "yielded while they are rolled up", n, 401)
	same(t, "left", len(unrolled(t, w, math.MaxInt64)), 401-40)
	n = 0
	must(t, w.Unrolled(t.Context(), math.MaxInt64, func(keyspace.RollupKey) bool { n++; return n < 7 }))
	same(t, "yielded until yield returns false", n, 7)
}

func testExpire(t tb, s *space) {
	w := s.writer(t)
	r := s.reader(t)
	day := func(d int64) int64 { return d * schema.DaySpan }
	var c keyspace.Changes
	for d := range int64(200) {
		p := at(uint64(1000-d), 0) // what expires has the highest position
		c.Blocks = append(c.Blocks, block("g", day(d), day(d)+1, p, p))
		k := keyspace.RollupKey{Gateway: "g", Span: keyspace.Day, Start: day(d)}
		c.Marks = append(c.Marks, keyspace.Mark{RollupKey: k, Stale: at(1, 0)})
		c.Rollups = append(c.Rollups, keyspace.Rollup{RollupKey: k, Computed: at(1, 0), Data: []byte{1}})
	}
	c.Gateways = []keyspace.Gateway{{Name: "g", Position: at(1, 0), Entry: []byte("kept")}}
	write(t, w, &c)
	same(t, "blocks before", len(blocks(t, r, "g", 0, day(200))), 200)
	must(t, w.Expire(t.Context(), math.MinInt64, math.MinInt64))
	same(t, "blocks when nothing expires", len(blocks(t, r, "g", 0, day(200))), 200)
	same(t, "rollups when nothing expires", len(rollups(t, r, "g", keyspace.Day, 0, day(200))), 200)
	for range 2 {
		must(t, w.Expire(t.Context(), day(100), day(50)))
		for who, r := range map[string]keyspace.Reader{"writer": w, "reader": r} {
			same(t, who+"'s younger blocks", blocks(t, r, "g", day(100), day(200)), c.Blocks[100:])
			same(t, who+"'s younger rollups", len(rollups(t, r, "g", keyspace.Day, day(50), day(200))), 150)
			for i, b := range blocks(t, r, "g", 0, day(200)) {
				if i > 0 && string(b.Data) == "" {
					t.Errorf("%s's block %d is empty", who, i)
				}
			}
			p, err := r.Position(t.Context())
			must(t, err)
			same(t, who+"'s position", p, at(1000, 0))
			g, err := r.Gateway(t.Context(), "g")
			must(t, err)
			same(t, who+"'s row", string(g.Entry), "kept")
		}
	}
	late := block("g", day(1), day(1)+9, at(2000, 0), at(2000, 0))
	write(t, w, put(late))
	for who, r := range map[string]keyspace.Reader{"writer": w, "reader": r} {
		got := blocks(t, r, "g", day(1)+5, day(2))
		same(t, who+"'s block that came after its time had expired", got, []keyspace.Block{late})
	}
	must(t, w.Expire(t.Context(), math.MaxInt64, math.MaxInt64))
	p, err := r.Position(t.Context())
	must(t, err)
	same(t, "position when all has expired", p, at(2000, 0))
	write(t, w, &c)
	same(t, "blocks written again", blocks(t, r, "g", day(150), day(200)), c.Blocks[150:])
}
