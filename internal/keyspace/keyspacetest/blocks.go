package keyspacetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"berth/internal/keyspace"
	"berth/schema"
)

func testTwice(t tb, s *space) {
	w := s.writer(t)
	b := block("g", 0, 5, at(1, 0), at(1, 5))
	write(t, w, put(b))
	write(t, w, put(b))
	write(t, w, put(b, b))
	same(t, "a block written four times", blocks(t, w, "g", 0, 10), []keyspace.Block{b})
	// Each part of a key tells blocks apart.
	want := []keyspace.Block{b}
	for i := range 5 {
		o := b
		switch i {
		case 0:
			o.First++
		case 1:
			o.From = at(1, 1)
		case 2:
			o.From, o.To = at(2, 0), at(2, 5)
		case 3:
			o.To = at(1, 6)
		case 4:
			o.Part++
		}
		o.Data = fmt.Appendf(nil, "variant %d", i)
		want = append(want, o)
	}
	write(t, w, put(want...))
	slices.SortFunc(want, compareBlocks)
	same(t, "blocks whose keys differ in one part", blocks(t, w, "g", 0, 10), want)
	o := block("h", 0, 5, at(1, 0), at(1, 5))
	write(t, w, put(o))
	same(t, "another gateway's block of the same times and positions", blocks(t, w, "h", 0, 10), []keyspace.Block{o})
}

func testOrder(t tb, s *space) {
	w := s.writer(t)
	var want []keyspace.Block
	for day := range int64(3) {
		for i := range int64(5) {
			first := day*schema.DaySpan + i/2*schema.HourSpan
			for part := range uint16(2) {
				b := block("g", first, first+i, at(uint64(100-i), uint32(i)), at(uint64(200+i), 0))
				b.Part = part
				want = append(want, b)
			}
		}
	}
	mixed := slices.Clone(want)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same disorder each time
	random.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	for some := range slices.Chunk(mixed, 7) {
		write(t, w, put(some...))
	}
	slices.SortFunc(want, compareBlocks)
	same(t, "blocks written in disorder", blocks(t, w, "g", 0, 10*schema.DaySpan), want)
}

func testRanges(t tb, s *space) {
	w := s.writer(t)
	day := 20000 * schema.DaySpan
	var all []keyspace.Block
	for i, span := range [][2]int64{
		{0, 0},
		{0, 100},
		{50, 60},
		{100, 100},
		{100, 200},
		{0, schema.DaySpan - 1},
		{schema.DaySpan - 1, schema.DaySpan - 1},
		{schema.DaySpan, schema.DaySpan},
		{schema.DaySpan + 50, 2*schema.DaySpan - 1},
		{-1, -1},
		{-schema.DaySpan, -1},
	} {
		p := at(uint64(i+1), 0)
		all = append(all, block("g", day+span[0], day+span[1], p, p))
	}
	write(t, w, put(all...))
	slices.SortFunc(all, compareBlocks)
	edges := []int64{math.MinInt64, -schema.DaySpan, -1, 0, 1, 50, 60, 61, 99, 100, 101, 200, 201, schema.DaySpan - 1, schema.DaySpan, schema.DaySpan + 1, 2 * schema.DaySpan, math.MaxInt64}
	for _, from := range edges {
		for _, to := range edges {
			if from != math.MinInt64 && from != math.MaxInt64 {
				from += day
			}
			if to != math.MinInt64 && to != math.MaxInt64 {
				to += day
			}
			var want []keyspace.Block
			for _, b := range all {
				if b.First < to && b.Last >= from && from < to {
					want = append(want, b)
				}
			}
			same(t, fmt.Sprintf("blocks of [day%+d, day%+d)", from-day, to-day), blocks(t, w, "g", from, to), want)
			if from != math.MinInt64 && from != math.MaxInt64 {
				from -= day
			}
		}
	}
	if n := len(blocks(t, w, "nobody", math.MinInt64, math.MaxInt64)); n != 0 {
		t.Errorf("a gateway without blocks has %d", n)
	}
}

func testCalendar(t tb, s *space) {
	w := s.writer(t)
	var want []keyspace.Block
	for i, day := range []time.Time{
		time.Unix(0, math.MinInt64), // the first nanosecond that there is
		time.Date(1969, 11, 30, 0, 0, 0, 0, time.UTC),
		time.Date(1969, 12, 31, 23, 0, 0, 0, time.UTC),
		time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(1999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC),
		time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC),
		time.Date(2100, 2, 28, 12, 0, 0, 0, time.UTC),
		time.Unix(0, math.MaxInt64-1), // [from, to) cannot hold the last
	} {
		p := at(uint64(100-i), 0)
		want = append(want, block("g", day.UnixNano(), day.UnixNano(), p, p))
	}
	write(t, w, put(want...))
	same(t, "blocks of all times", blocks(t, w, "g", math.MinInt64, math.MaxInt64), want)
	for i, b := range want {
		same(t, "a block by its instant", blocks(t, w, "g", b.First, b.First+1), want[i:i+1])
		if i > 0 {
			same(t, "two blocks and what is between them", blocks(t, w, "g", want[i-1].First, b.First+1), want[i-1:i+1])
			same(t, "what is between two blocks", blocks(t, w, "g", want[i-1].First+1, b.First), nil)
		}
	}
	p, err := w.Position(t.Context())
	must(t, err)
	same(t, "position of blocks of many months", p, at(100, 0))
}

func testLarge(t tb, s *space) {
	w := s.writer(t)
	var want []keyspace.Block
	random := rand.NewChaCha8([32]byte{1})
	for i, size := range []int{1, 100, 4 << 10, 16<<10 - 1, 32 << 10, 64<<10 + 1, 300 << 10, 1 << 20, keyspace.MaxData} {
		p := at(uint64(i+1), 0)
		b := block("g", int64(i), int64(i), p, p)
		b.Data = make([]byte, size)
		_, _ = random.Read(b.Data)
		want = append(want, b)
	}
	write(t, w, put(want...))
	got := blocks(t, w, "g", 0, 100)
	if len(got) != len(want) {
		t.Fatalf("%d of %d blocks", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i].Data, want[i].Data) {
			t.Errorf("a block of %d bytes came back otherwise, with %d", len(want[i].Data), len(got[i].Data))
		}
	}
	g := keyspace.Gateway{Name: "g", Position: at(1, 0), Entry: want[7].Data, Tail: want[8].Data}
	key := keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour}
	write(t, w, &keyspace.Changes{
		Gateways: []keyspace.Gateway{g},
		Rollups:  []keyspace.Rollup{{RollupKey: key, Computed: at(1, 0), Data: want[6].Data}},
	})
	row, err := w.Gateway(t.Context(), "g")
	must(t, err)
	same(t, "a large row", row, g)
	same(t, "a large rollup", rollups(t, w, "g", keyspace.Hour, 0, 1)[0].Data, want[6].Data)
}

func testMany(t tb, s *space) {
	w := s.writer(t)
	var want []keyspace.Block
	var others []keyspace.Block
	for i := range int64(700) {
		p := at(uint64(i+1), 0)
		b := block("g", i*schema.HourSpan/10, i*schema.HourSpan/10+5, p, p)
		b.Data = append(b.Data, make([]byte, i*10)...)
		want = append(want, b)
		o := block(fmt.Sprintf("other%d", i%50), i*schema.HourSpan/10, i*schema.HourSpan/10+5, p, p)
		others = append(others, o)
	}
	write(t, w, put(append(slices.Clone(want), others...)...))
	same(t, "700 blocks in one write", blocks(t, w, "g", 0, 100*schema.DaySpan), want)
	same(t, "those from some time on", blocks(t, w, "g", want[333].First, 100*schema.DaySpan), want[333:])
	same(t, "those up to some time", blocks(t, w, "g", 0, want[333].First), want[:333])
	if n := len(blocks(t, w, "other7", 0, 100*schema.DaySpan)); n != 14 {
		t.Errorf("another gateway has %d blocks, want 14", n)
	}
	var same int
	for i := range want { // all at one time
		want[i].First, want[i].Last, want[i].Gateway = 7, 7, "h"
	}
	write(t, w, put(want...))
	for _, b := range blocks(t, w, "h", 0, 100) {
		if b.BlockKey != want[same].BlockKey {
			t.Fatalf("block %d of one time is %v, want %v", same, b.BlockKey, want[same].BlockKey)
		}
		same++
	}
	if same != len(want) {
		t.Errorf("%d of %d blocks of one time", same, len(want))
	}
}

func testInvalid(t tb, s *space) {
	w := s.writer(t)
	good := block("g", 0, 5, at(1, 0), at(1, 5))
	key := keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour}
	change := func(f func(b *keyspace.Block)) *keyspace.Changes {
		b := good
		f(&b)
		return put(good, b)
	}
	mark := func(k keyspace.RollupKey, p schema.Position) *keyspace.Changes {
		return &keyspace.Changes{Blocks: []keyspace.Block{good}, Marks: []keyspace.Mark{{RollupKey: k, Stale: p}}}
	}
	rollup := func(k keyspace.RollupKey, p schema.Position, data string) *keyspace.Changes {
		return &keyspace.Changes{Blocks: []keyspace.Block{good}, Rollups: []keyspace.Rollup{{RollupKey: k, Computed: p, Data: []byte(data)}}}
	}
	for what, c := range map[string]*keyspace.Changes{
		"no gateway":             change(func(b *keyspace.Block) { b.Gateway = "" }),
		"a gateway with a break": change(func(b *keyspace.Block) { b.Gateway = "a\nb" }),
		"a gateway not in UTF-8": change(func(b *keyspace.Block) { b.Gateway = "a\xff" }),
		"a block of two days":    change(func(b *keyspace.Block) { b.Last = schema.DaySpan }),
		"ends before it begins":  change(func(b *keyspace.Block) { b.Last = -1 }),
		"positions go back":      change(func(b *keyspace.Block) { b.To = schema.Position{} }),
		"position too high":      change(func(b *keyspace.Block) { b.To.Sequence = math.MaxUint64 }),
		"no data":                change(func(b *keyspace.Block) { b.Data = nil }),
		"too much data":          change(func(b *keyspace.Block) { b.Data = make([]byte, keyspace.MaxData+1) }),
		"row without a name":     {Blocks: []keyspace.Block{good}, Gateways: []keyspace.Gateway{{Position: at(1, 0)}}},
		"row too large":          {Blocks: []keyspace.Block{good}, Gateways: []keyspace.Gateway{{Name: "g", Tail: make([]byte, keyspace.MaxData+1)}}},
		"mark without position":  mark(key, schema.Position{}),
		"mark without span":      mark(keyspace.RollupKey{Gateway: "g"}, at(1, 0)),
		"mark within an hour":    mark(keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour, Start: 1}, at(1, 0)),
		"rollup of no position":  rollup(key, schema.Position{}, "x"),
		"rollup without data":    rollup(key, at(1, 0), ""),
		"rollup within a day":    rollup(keyspace.RollupKey{Gateway: "g", Span: keyspace.Day, Start: schema.HourSpan}, at(1, 0), "x"),
	} {
		_, err := w.Write(t.Context(), c)
		isCode(t, what, err, schema.Invalid)
	}
	same(t, "what was stored of writes that were refused", blocks(t, w, "g", math.MinInt64, math.MaxInt64), nil)
	write(t, w, put(good))
}

func testYield(t tb, s *space) {
	w := s.writer(t)
	var c keyspace.Changes
	for i := range int64(300) {
		p := at(uint64(i+1), 0)
		c.Blocks = append(c.Blocks, block("g", i, i, p, p))
		c.Rollups = append(c.Rollups, keyspace.Rollup{
			RollupKey: keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour, Start: i * schema.HourSpan}, Computed: p, Data: []byte{1},
		})
	}
	write(t, w, &c)
	enough := errors.New("enough")
	for _, stop := range []int{1, 64, 65, 257} {
		n := 0
		err := w.Blocks(t.Context(), "g", 0, 1000, func(keyspace.Block) error {
			if n++; n == stop {
				return enough
			}
			return nil
		})
		if err != enough || n != stop { //nolint:errorlint // the very same error is promised
			t.Errorf("blocks ended with error %v after %d, want %v after %d", err, n, enough, stop)
		}
		n = 0
		err = w.Rollups(t.Context(), "g", keyspace.Hour, 0, math.MaxInt64, func(keyspace.Rollup) error {
			if n++; n == stop {
				return enough
			}
			return nil
		})
		if err != enough || n != stop { //nolint:errorlint // the very same error is promised
			t.Errorf("rollups ended with error %v after %d, want %v after %d", err, n, enough, stop)
		}
	}
	// Writing and reading from within, which must neither wait for the one outside nor change what it holds.
	n := 0
	must(t, w.Blocks(t.Context(), "g", 0, 300, func(b keyspace.Block) error {
		before := string(b.Data)
		if n%50 == 0 {
			write(t, w, put(block("h", int64(n), int64(n), at(1000, 0), at(1000, 0))))
			if got := blocks(t, w, "g", 0, 1000); len(got) != 300 {
				t.Errorf("reading from within yields %d blocks, want 300", len(got))
			}
		}
		if string(b.Data) != before {
			t.Error("data changed before yield returned")
		}
		n++
		return nil
	}))
	same(t, "blocks while others are read and written", n, 300)
}

func compareBlocks(a, b keyspace.Block) int {
	switch {
	case a.First != b.First:
		return int(min(max(a.First-b.First, -1), 1))
	case a.From != b.From:
		return a.From.Compare(b.From)
	case a.To != b.To:
		return a.To.Compare(b.To)
	default:
		return int(a.Part) - int(b.Part)
	}
}
