package sqlite_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"berth/internal/keyspace"
	"berth/schema"
)

// A block of the benchmarks: what 20 sensors of a truck give in 120 readings each.
const (
	benchBytes    = 2200
	benchReadings = 2400
)

// benchBlocks returns blocks of gateways that all send at the same rate, in the order in which they fill: one of each
// gateway, then the next of each. Every fourth comes a while later than its turn.
func benchBlocks(gateways, each int) []keyspace.Block {
	random := rand.New(rand.NewPCG(1, 2))
	bytes := rand.NewChaCha8([32]byte{1})
	start := 20600 * schema.DaySpan
	blocks := make([]keyspace.Block, 0, gateways*each)
	for i := range each {
		for _, g := range random.Perm(gateways) {
			data := make([]byte, benchBytes*3/4+random.IntN(benchBytes/2))
			_, _ = bytes.Read(data)
			sequence := uint64(len(blocks)*40 + 1e6)
			first := start + int64(i)*schema.HourSpan*2 + int64(g)
			blocks = append(blocks, keyspace.Block{
				BlockKey: keyspace.BlockKey{
					Gateway: fmt.Sprintf("truck_%05d", g), First: first,
					From: schema.Position{Sequence: sequence, Ordinal: random.Uint32N(20000)},
					To:   schema.Position{Sequence: sequence + 4000, Ordinal: random.Uint32N(20000)},
				},
				Last: first + schema.HourSpan, Data: data,
			})
		}
	}
	return blocks
}

func benchWriter(b *testing.B, dir string) keyspace.Writer {
	b.Helper()
	back := open(b, dir)
	if err := back.Create(b.Context(), "bench"); err != nil {
		b.Fatal(err)
	}
	w, err := back.Writer(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := w.Close(); err != nil {
			b.Error(err)
		}
	})
	return w
}

// BenchmarkWrite writes blocks in Writes of some size. An operation is one block.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{1, 10, 100, 500} {
		b.Run(fmt.Sprintf("blocks=%d", n), func(b *testing.B) {
			w := benchWriter(b, b.TempDir())
			blocks := benchBlocks(1000, 12)
			written := 0
			for b.Loop() {
				if written++; written%n != 0 {
					continue
				}
				at := (written - n) % (len(blocks) - n)
				some := blocks[at : at+n]
				for i := range some {
					some[i].Part = uint16(written / len(blocks))
				}
				if _, err := w.Write(b.Context(), &keyspace.Changes{Blocks: some}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
		})
	}
}

// BenchmarkRead reads a day and a month of one gateway of 200, 12 blocks a day, and reports what they take on disk.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	w := benchWriter(b, dir)
	blocks := benchBlocks(200, 12*30)
	for at := 0; at < len(blocks); at += 500 {
		if _, err := w.Write(b.Context(), &keyspace.Changes{Blocks: blocks[at:min(at+500, len(blocks))]}); err != nil {
			b.Fatal(err)
		}
	}
	var payload int64
	for _, bl := range blocks {
		payload += int64(len(bl.Data))
	}
	if err := w.Close(); err != nil { // SQLite's logs are bounded, and no part of what a reading takes
		b.Fatal(err)
	}
	w = benchWriter(b, dir)
	stats, err := w.Stats(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	from := schema.Start(blocks[0].First, schema.DaySpan)
	for _, days := range []int64{1, 30} {
		b.Run(fmt.Sprintf("days=%d", days), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = 0
				err := w.Blocks(b.Context(), "truck_00100", from, from+days*schema.DaySpan, func(keyspace.Block) error { n++; return nil })
				if err != nil || n != int(days)*12 {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(float64(stats.Bytes)/float64(len(blocks)*benchReadings), "disk-B/reading")
			b.ReportMetric(float64(stats.Bytes)/float64(payload)*100-100, "overhead-%")
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
		})
	}
}

// BenchmarkRollups reads a month of hours of one gateway of 200, as they come: every hour of all gateways after the
// other.
func BenchmarkRollups(b *testing.B) {
	w := benchWriter(b, b.TempDir())
	const hours = 30 * 24
	bytes := rand.NewChaCha8([32]byte{1})
	for h := range int64(hours) {
		var c keyspace.Changes
		for g := range 200 {
			data := make([]byte, 700)
			_, _ = bytes.Read(data)
			c.Rollups = append(c.Rollups, keyspace.Rollup{
				RollupKey: keyspace.RollupKey{Gateway: fmt.Sprintf("truck_%05d", g), Span: keyspace.Hour, Start: h * schema.HourSpan},
				Computed:  schema.Position{Sequence: 1}, Data: data,
			})
		}
		if _, err := w.Write(b.Context(), &c); err != nil {
			b.Fatal(err)
		}
	}
	stats, err := w.Stats(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		err := w.Rollups(b.Context(), "truck_00100", keyspace.Hour, 0, hours*schema.HourSpan, func(keyspace.Rollup) error { n++; return nil })
		if err != nil || n != hours {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(stats.Bytes)/(200*hours*700)*100-100, "overhead-%")
}

// BenchmarkPosition asks for the position of a keyspace of five years.
func BenchmarkPosition(b *testing.B) {
	w := benchWriter(b, b.TempDir())
	blocks := benchBlocks(1, 60)
	for i := range blocks {
		blocks[i].First += int64(i) * 31 * schema.DaySpan
		blocks[i].Last = blocks[i].First
	}
	if _, err := w.Write(b.Context(), &keyspace.Changes{Blocks: blocks}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := w.Position(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
