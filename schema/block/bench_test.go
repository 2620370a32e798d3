package block

import (
	"strconv"
	"testing"
	"time"

	"berth/schema"
)

// benchContents are what the benchmarks write and read.
func benchContents() map[string]*Content {
	contents := map[string]*Content{
		"truck":         truckContent(120),
		"truck-480":     truckContent(480), // a full part
		"truck-60":      truckContent(60),
		"room-1-jitter": roomContent(1, time.Second),
		"room-5-jitter": roomContent(5, time.Second),
	}
	for _, sensors := range []int{1, 2, 3, 5} {
		contents["room-"+strconv.Itoa(sensors)] = roomContent(sensors, 0)
	}
	return contents
}

func report(b *testing.B, c *Content, size int) {
	b.Helper()
	b.ReportMetric(float64(c.Readings())*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mreadings/s")
	b.ReportMetric(float64(size)/float64(c.Readings()), "bytes/reading")
}

func BenchmarkEncode(b *testing.B) {
	for name, c := range benchContents() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var data []byte
			for b.Loop() {
				var err error
				if data, err = Encode(data[:0], c); err != nil {
					b.Fatal(err)
				}
			}
			report(b, c, len(data))
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, c := range benchContents() {
		b.Run(name, func(b *testing.B) {
			data, err := Encode(nil, c)
			if err != nil {
				b.Fatal(err)
			}
			var column Column
			b.ReportAllocs()
			for b.Loop() {
				r, err := Open(data)
				if err != nil {
					b.Fatal(err)
				}
				for i := range r.Columns() {
					if err := r.Column(i, &column); err != nil {
						b.Fatal(err)
					}
				}
			}
			report(b, c, len(data))
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	c := truckContent(120)
	b.ReportAllocs()
	for b.Loop() {
		builder := NewBuilder(c.Gateway)
		for i := range c.Columns[0].Times {
			p := schema.Position{Sequence: uint64(i)}
			for j := range c.Columns {
				column := &c.Columns[j]
				builder.Add(column.Sensor, column.Times[i], column.Value(i), p)
			}
		}
		if builder.Content().Readings() != c.Readings() {
			b.Fatal("readings are missing")
		}
	}
	report(b, c, 0)
}

// BenchmarkMergeOneSensor reads one sensor of a day's 72 blocks, as a chart does.
func BenchmarkMergeOneSensor(b *testing.B) {
	c := truckContent(120)
	var blocks [][]byte
	for i := range 72 {
		part := &Content{Gateway: c.Gateway, From: schema.Position{Sequence: uint64(1000 * i)}, To: schema.Position{Sequence: uint64(1000*i + 999)}}
		for _, column := range c.Columns {
			times := make([]int64, len(column.Times))
			for j, t := range column.Times {
				times[j] = t + int64(i)*1200e9
			}
			column.Times = times
			part.Columns = append(part.Columns, column)
		}
		data, err := Encode(nil, part)
		if err != nil {
			b.Fatal(err)
		}
		blocks = append(blocks, data)
	}
	b.ReportAllocs()
	for b.Loop() {
		sources := make([]Source, len(blocks))
		for i, data := range blocks {
			r, err := Open(data)
			if err != nil {
				b.Fatal(err)
			}
			sources[i] = r
		}
		series, err := Merge(sources, func(sensor string) bool { return sensor == "readings.velocity" }, day, day+schema.DaySpan)
		if err != nil || len(series) != 1 || series[0].Len() != 72*120 {
			b.Fatal(err, len(series))
		}
	}
	b.ReportMetric(float64(b.N)*72*120/b.Elapsed().Seconds()/1e6, "Mreadings/s")
}
