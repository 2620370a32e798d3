package keyspacetest

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"berth/internal/keyspace"
	"berth/schema"
)

// testFleet asks about some of many gateways at once: what is answered is what is answered about each.
func testFleet(t tb, s *space) {
	const many = 40
	w, r := s.writer(t), s.reader(t)
	var c keyspace.Changes
	name := func(i int) string { return fmt.Sprintf("fleet%02d", (i*7)%many) } // their numbers are in another order
	for i := range many {
		p := at(1, uint32(i))
		if i%5 != 0 {
			c.Gateways = append(c.Gateways, keyspace.Gateway{Name: name(i), Position: p, Entry: []byte(name(i)), Tail: []byte("tail")})
		}
		for hour := range int64(70) {
			key := keyspace.RollupKey{Gateway: name(i), Span: keyspace.Hour, Start: (hour - 9) * schema.HourSpan}
			if i%6 == 5 {
				break // it has none
			}
			if hour%3 != 0 {
				c.Marks = append(c.Marks, keyspace.Mark{RollupKey: key, Stale: at(uint64(1+hour%2), 5)})
			}
			if hour%4 != 0 {
				data := fmt.Appendf(nil, "%s %d%s", name(i), hour, strings.Repeat(".", i*10))
				c.Rollups = append(c.Rollups, keyspace.Rollup{RollupKey: key, Computed: at(1, uint32(4+hour%5)), Data: data})
			}
		}
		day := keyspace.RollupKey{Gateway: name(i), Span: keyspace.Day}
		c.Rollups = append(c.Rollups, keyspace.Rollup{RollupKey: day, Computed: p, Data: []byte(name(i))})
	}
	c.Rollups = append(c.Rollups, keyspace.Rollup{ // more than one answer of a backend holds
		RollupKey: keyspace.RollupKey{Gateway: "fleet11", Span: keyspace.Hour}, Computed: at(9, 0), Data: make([]byte, 300<<10),
	})
	write(t, w, &c)
	for _, step := range []int{1, 3, 17} {
		names := []string{"a"}
		for i := 0; i < many; i += step {
			names = append(names, fmt.Sprintf("fleet%02d", i))
		}
		names = append(names, "nobody")
		for _, hours := range [][2]int64{{-100, 100}, {-3, 40}, {6, 5}} {
			compareFleet(t, r, names, keyspace.Hour, hours[0]*schema.HourSpan, hours[1]*schema.HourSpan)
		}
		compareFleet(t, w, names, keyspace.Day, math.MinInt64, math.MaxInt64)
	}
	compareFleet(t, r, nil, keyspace.Hour, 0, schema.HourSpan)
	compareFleet(t, r, []string{"nobody"}, keyspace.Hour, 0, schema.HourSpan)
	enough := errors.New("enough")
	yielded := 0
	err := r.FleetRollups(t.Context(), []string{"fleet01", "fleet02"}, keyspace.Hour, 0, math.MaxInt64, func(keyspace.RollupKey, []byte) error {
		yielded++
		return enough
	})
	isError(t, "the error of yield", err, enough)
	same(t, "yielded before it", yielded, 1)
}

// compareFleet compares what is answered about gateways at once with what is answered about each.
func compareFleet(t tb, r keyspace.Reader, names []string, span keyspace.Span, from, to int64) {
	t.Helper()
	var rows []keyspace.Gateway
	var sums []keyspace.Rollup
	for _, name := range names {
		row, err := r.Gateway(t.Context(), name)
		if err == nil {
			rows = append(rows, row)
		} else {
			isCode(t, "the row of "+name, err, schema.NotFound)
		}
		for _, one := range rollups(t, r, name, span, from, to) {
			sum := keyspace.Rollup{RollupKey: one.RollupKey}
			if one.Counts() {
				sum.Data = one.Data
			}
			sums = append(sums, sum)
		}
	}
	got, err := r.FleetRows(t.Context(), names)
	must(t, err)
	same(t, "rows of a fleet", got, rows)
	var yielded []keyspace.Rollup
	must(t, r.FleetRollups(t.Context(), names, span, from, to, func(key keyspace.RollupKey, data []byte) error {
		yielded = append(yielded, keyspace.Rollup{RollupKey: key, Data: append([]byte(nil), data...)})
		return nil
	}))
	same(t, "rollups of a fleet", yielded, sums)
}
