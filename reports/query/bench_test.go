package query

import (
	"context"
	"fmt"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/rollup"
)

// fleetWorld is a fleet as the figures have it: gateways of twelve sensors, a month of rollups each, and of the last day a block
// for each four hours.
func fleetWorld(tb testing.TB, gateways, days int) *world {
	tb.Helper()
	w := newWorld(tb)
	end := schema.Start(now.UnixNano(), schema.DaySpan)
	sensors := make([]string, 12)
	for i := range sensors {
		sensors[i] = fmt.Sprintf("readings.sensor%02d", i)
	}
	for g := range gateways {
		name := fmt.Sprintf("truck_%04d", g)
		var c keyspace.Changes
		entry := &catalog.Entry{Gateway: name, FirstSeen: end - int64(days)*schema.DaySpan, LastSeen: end, Interval: int64(10 * time.Second)}
		for _, span := range []keyspace.Span{keyspace.Hour, keyspace.Day} {
			for start := end - int64(days)*schema.DaySpan; start < end; start += span.Length() {
				stats := make([]rollup.Stat, len(sensors))
				for i, sensor := range sensors {
					low := float64(g+i) + float64(start/schema.HourSpan%100)/8
					stats[i] = rollup.Stat{
						Sensor: sensor, Count: 360, Numbers: 360, Min: low, Max: low + 10.25, Sum: (low + 5.3) * 360, First: schema.FloatValue(low),
						Last: schema.FloatValue(low + 1), FirstTime: start, LastTime: start + span.Length() - int64(10*time.Second),
					}
				}
				key := keyspace.RollupKey{Gateway: name, Span: span, Start: start}
				c.Rollups = append(c.Rollups, keyspace.Rollup{RollupKey: key, Computed: Position(1), Data: rollup.Encode(nil, stats)})
			}
		}
		c.Blocks = dayOfBlocks(tb, name, sensors, end-schema.DaySpan, entry)
		c.Gateways = []keyspace.Gateway{{Name: name, Position: Position(1), Entry: catalog.EncodeEntry(nil, entry)}}
		if _, err := w.Store.Write(w.ctx, &c); err != nil {
			tb.Fatal(err)
		}
	}
	return w
}

// Position is that of the only batch.
func Position(sequence uint64) schema.Position { return schema.Position{Sequence: sequence} }

// dayOfBlocks returns six blocks of a day, a reading of each sensor every three and a half minutes, and notes the last ones.
func dayOfBlocks(tb testing.TB, name string, sensors []string, day int64, entry *catalog.Entry) (blocks []keyspace.Block) {
	tb.Helper()
	const each = schema.DaySpan / 6
	for first := day; first < day+schema.DaySpan; first += each {
		b := block.NewBuilder(name)
		for t := first; t < first+each; t += int64(210 * time.Second) {
			for i, sensor := range sensors {
				v := schema.FloatValue(float64(int64(i)*100+t/1e9%977) / 100)
				b.Add(sensor, t, v, Position(1))
				entry.Observe(sensor, t, v, Position(1))
			}
		}
		content := b.Content()
		_, last := content.Span()
		data, err := block.Encode(nil, content)
		if err != nil {
			tb.Fatal(err)
		}
		key := keyspace.BlockKey{Gateway: name, First: first, From: content.From, To: content.To}
		blocks = append(blocks, keyspace.Block{BlockKey: key, Last: last, Data: data})
	}
	return blocks
}

// fleetSeries asks for the series of a whole fleet, and returns how many points came.
func fleetSeries(tb testing.TB, w *world, days, points int, sensors ...string) (n int) {
	tb.Helper()
	to := time.Unix(0, schema.Start(now.UnixNano(), schema.DaySpan))
	q := SeriesRequest{From: to.AddDate(0, 0, -days), To: to, Points: points}
	f, err := w.engine.FleetSeries(context.Background(), FleetRequest{Sensors: sensors}, q)
	if err != nil {
		tb.Fatal(err)
	}
	err = f.Walk(context.Background(), func(a *api.SeriesAnswer) error {
		for i := range a.Series {
			n += len(a.Series[i].Time)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// BenchmarkMonthMaxima asks for the daily figures of one sensor of a hundred gateways over a month.
func BenchmarkMonthMaxima(b *testing.B) {
	w := fleetWorld(b, 100, 30)
	b.ReportAllocs()
	for b.Loop() {
		if n := fleetSeries(b, w, 30, 32, "readings.sensor03"); n != 3000 {
			b.Fatal(n)
		}
	}
}

// BenchmarkMonthWall asks for what a wall of charts shows: four sensors of a hundred gateways, a month in hours.
func BenchmarkMonthWall(b *testing.B) {
	w := fleetWorld(b, 100, 30)
	b.ReportAllocs()
	for b.Loop() {
		if n := fleetSeries(b, w, 30, 1000, "readings.sensor00", "readings.sensor03", "readings.sensor05", "readings.sensor07"); n != 288_000 {
			b.Fatal(n)
		}
	}
}

// BenchmarkFleetLatest asks for the newest readings of two sensors of a hundred gateways.
func BenchmarkFleetLatest(b *testing.B) {
	w := fleetWorld(b, 100, 1)
	b.ReportAllocs()
	for b.Loop() {
		a, err := w.engine.FleetLatest(context.Background(), FleetRequest{Sensors: []string{"readings.sensor00", "readings.sensor01"}})
		if err != nil || len(a.Gateways) != 100 {
			b.Fatal(err)
		}
	}
}

// BenchmarkDay walks through a gateway's day, 4,944 readings.
func BenchmarkDay(b *testing.B) {
	w := fleetWorld(b, 1, 1)
	to := time.Unix(0, schema.Start(now.UnixNano(), schema.DaySpan))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		r, err := w.engine.Readings(context.Background(), ReadingsRequest{Gateway: "truck_0000", From: to.AddDate(0, 0, -1), To: to})
		if err == nil {
			err = r.Walk(context.Background(), func(string, int64, schema.Value) error { n++; return nil })
		}
		if err != nil || n < 4900 {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkMonthChart asks for a month of one sensor in hours, as a page's chart does.
func BenchmarkMonthChart(b *testing.B) {
	w := fleetWorld(b, 2, 30)
	to := time.Unix(0, schema.Start(now.UnixNano(), schema.DaySpan))
	q := SeriesRequest{Gateway: "truck_0001", Sensors: []string{"readings.sensor03"}, From: to.AddDate(0, 0, -30), To: to, Points: 1000}
	b.ReportAllocs()
	for b.Loop() {
		a, err := w.engine.Series(context.Background(), q)
		if err != nil || len(a.Series[0].Max) != 720 {
			b.Fatal(err)
		}
	}
}

// listWorld is a fleet of gateways of twenty sensors, each seen once.
func listWorld(tb testing.TB, gateways int) *world {
	tb.Helper()
	w := newWorld(tb)
	var c keyspace.Changes
	for g := range gateways {
		name := fmt.Sprintf("gw%06d", g)
		seen := now.UnixNano() - int64(g%4999)*int64(time.Second)
		entry := &catalog.Entry{Gateway: name, FirstSeen: seen - schema.DaySpan, LastSeen: seen, Interval: int64(time.Minute)}
		entry.Arrived.Add(seen, uint64(g%977))
		for i := range 20 {
			entry.Observe(fmt.Sprintf("unit.s%d", i), seen, schema.FloatValue(float64(g%90)+float64(i)/10), Position(uint64(g+1)))
		}
		c.Gateways = append(c.Gateways, keyspace.Gateway{Name: name, Position: Position(uint64(g + 1)), Entry: catalog.EncodeEntry(nil, entry)})
	}
	if _, err := w.Store.Write(w.ctx, &c); err != nil {
		tb.Fatal(err)
	}
	return w
}

// BenchmarkSortedList asks for what a page of the list shows of ten thousand gateways that is sorted by when they were last seen.
func BenchmarkSortedList(b *testing.B) {
	w := listWorld(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		page, err := w.engine.Gateways(w.ctx, GatewaysRequest{Sort: "-last_seen"})
		if err != nil || len(page.Gateways) != DefaultGateways {
			b.Fatal(err)
		}
	}
}
