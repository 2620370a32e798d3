package seal_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/rollup"
)

// compare checks that queries find what the model has.
func (w *world) compare(withHead bool) {
	w.t.Helper()
	if w.store != nil && len(w.store.clash) > 0 {
		w.t.Fatalf("these keys named different readings: %v", w.store.clash)
	}
	for gateway, want := range w.model {
		found, late := w.found(gateway, withHead)
		if !maps.Equal(w.late[gateway], late) {
			w.t.Fatalf("gateway %s, which came late (-model +found):\n%s", gateway, cmp.Diff(w.late[gateway], late, cmp.AllowUnexported(identity{})))
		}
		if !maps.Equal(want, found) {
			w.t.Fatalf("gateway %s (-model +found):\n%s", gateway, cmp.Diff(want, found, cmp.AllowUnexported(identity{}, reading{})))
		}
	}
}

// compareLatest checks that the latest values, of the head and the keyspace together, are those measured last.
func (w *world) compareLatest() {
	w.t.Helper()
	for gateway, readings := range w.model {
		var e catalog.Entry
		if g, err := w.keyspace.Gateway(context.Background(), gateway); err == nil {
			row, err := catalog.DecodeEntry(g.Entry)
			w.check(err)
			e = *row
		}
		if _, chunks := w.ask(headapi.Latest, headapi.LatestRequest{Gateway: gateway}); len(chunks) > 0 {
			of, err := catalog.DecodeEntry(chunks[0])
			w.check(err)
			for _, l := range of.Latest {
				e.Observe(l.Sensor, l.Time, l.Value, l.Position)
			}
			if of.FirstSeen == 0 || of.LastSeen < of.FirstSeen {
				w.t.Errorf("gateway %s was first seen at %d and last at %d", gateway, of.FirstSeen, of.LastSeen)
			}
			if !slices.Contains(of.Attributes, catalog.Attribute{Name: "site", Value: "harbor"}) {
				w.t.Errorf("gateway %s has the attributes %v", gateway, of.Attributes)
			}
		}
		want, got := make(map[identity]reading), make(map[identity]reading)
		newest := make(map[string]int64)
		for id := range readings {
			if n, ok := newest[id.sensor]; !ok || id.time > n {
				newest[id.sensor] = id.time
			}
		}
		for sensor, t := range newest {
			want[identity{sensor, t}] = readings[identity{sensor, t}]
		}
		for _, l := range e.Latest {
			got[identity{l.Sensor, l.Time}] = readingOf(l.Value)
		}
		if !maps.Equal(want, got) {
			w.t.Fatalf("latest of gateway %s (-model +found):\n%s", gateway, cmp.Diff(want, got, cmp.AllowUnexported(identity{}, reading{})))
		}
	}
}

// compareRollups checks every rollup that counts, of spans that neither the head nor a tail touches, against the model.
// With all, each span that has ended and holds readings must have one.
func (w *world) compareRollups(all bool) {
	w.t.Helper()
	for gateway, readings := range w.model {
		touched := w.touched(gateway)
		for _, span := range []keyspace.Span{keyspace.Hour, keyspace.Day} {
			want := w.spans(readings, span)
			counted := make(map[int64]bool)
			w.check(w.keyspace.Rollups(context.Background(), gateway, span, math.MinInt64/2, math.MaxInt64/2, func(r keyspace.Rollup) error {
				if touched(r.Start, r.Start+span.Length()) {
					counted[r.Start] = true
					return nil
				}
				if r.Computed.Less(r.Stale) {
					return nil
				}
				counted[r.Start] = true
				stats, err := rollup.Decode(r.Data)
				if err != nil {
					return err
				}
				if d := cmp.Diff(want[r.Start], stats, cmp.Comparer(func(a, b schema.Value) bool { return readingOf(a) == readingOf(b) })); d != "" {
					return fmt.Errorf("rollup of %s at %v (-model +found):\n%s", gateway, time.Unix(0, r.Start).UTC(), d)
				}
				return nil
			}))
			for _, at := range slices.Sorted(maps.Keys(want)) {
				if end := at + span.Length(); all && end <= w.clock.Add(-2*time.Minute).UnixNano() && !counted[at] && !touched(at, end) {
					w.t.Fatalf("gateway %s has no rollup that counts at %v", gateway, time.Unix(0, at).UTC())
				}
			}
		}
	}
}

// touched returns whether the head or the tail holds readings of a span.
func (w *world) touched(gateway string) func(from, to int64) bool {
	w.t.Helper()
	var readers []*block.Reader
	_, chunks := w.ask(headapi.Parts, headapi.PartsRequest{Gateway: gateway, From: math.MinInt64 / 2, To: math.MaxInt64 / 2})
	if g, err := w.keyspace.Gateway(context.Background(), gateway); err == nil && len(g.Tail) > 0 {
		blocks, err := catalog.DecodeTail(g.Tail)
		w.check(err)
		chunks = append(chunks, blocks...)
	}
	for _, data := range chunks {
		readers = append(readers, w.open(data))
	}
	return func(from, to int64) bool {
		return slices.ContainsFunc(readers, func(r *block.Reader) bool { return r.First() < to && from <= r.Last() })
	}
}

// spans returns the model's rollups of all spans that hold readings.
func (w *world) spans(readings map[identity]reading, span keyspace.Span) map[int64][]rollup.Stat {
	parts := make(map[int64]map[string][]int64)
	for id := range readings {
		at := schema.Start(id.time, span.Length())
		if parts[at] == nil {
			parts[at] = make(map[string][]int64)
		}
		parts[at][id.sensor] = append(parts[at][id.sensor], id.time)
	}
	spans := make(map[int64][]rollup.Stat)
	for at, sensors := range parts {
		for _, sensor := range slices.Sorted(maps.Keys(sensors)) {
			spans[at] = append(spans[at], statOf(sensor, sensors[sensor], readings))
		}
	}
	return spans
}

// statOf sums the readings of a sensor at some times up, one by one. The test's numbers are small whole ones, so that
// every way of summing gives the same.
func statOf(sensor string, times []int64, readings map[identity]reading) rollup.Stat {
	slices.Sort(times)
	s := rollup.Stat{Sensor: sensor, Count: uint64(len(times)), FirstTime: times[0], LastTime: times[len(times)-1]}
	for i, t := range times {
		r := readings[identity{sensor, t}]
		v := schema.BitsValue(r.kind, r.bits)
		if r.kind == schema.Text {
			v = schema.TextValue(r.text)
		}
		if i == 0 {
			s.First = v
		}
		s.Last = v
		n, ok := v.Number()
		if !ok {
			continue
		}
		if s.Numbers == 0 {
			s.Min, s.Max = n, n
		}
		s.Numbers++
		s.Sum += n
		s.Min, s.Max = min(s.Min, n), max(s.Max, n)
	}
	return s
}
