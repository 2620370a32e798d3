package head

import (
	"context"
	"fmt"
	"testing"
	"time"

	"berth/schema"
	"berth/schema/batch"
)

// truckRows returns a batch of rows of trucks with 10 sensors, a row each second.
func truckRows(in *batch.Interner, trucks, rows int, from int64) *batch.Rows {
	out := &batch.Rows{}
	var sensors []string
	var kinds []schema.Kind
	for i := range 10 {
		sensors, kinds = append(sensors, fmt.Sprintf("readings.s%d", i)), append(kinds, schema.Float)
	}
	for t := range trucks {
		s := in.Shape(fmt.Sprintf("truck_%d", t), sensors, kinds, nil)
		for r := range rows {
			out.Rows = append(out.Rows, batch.Row{Shape: s, Time: from + int64(r)*int64(time.Second), First: uint32(len(out.Bits))})
			for i := range 10 {
				out.Bits = append(out.Bits, schema.FloatValue(float64(r*i%97)/10).Bits())
			}
		}
	}
	return out
}

// BenchmarkFollow has the head take batches while a sealer that needs no time takes the parts away.
func BenchmarkFollow(b *testing.B) {
	for _, rows := range []int{1, 100} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			h := New(Options{}, 1, 0)
			in := batch.NewInterner(1 << 10)
			trucks := 2000 / rows
			data := truckRows(in, trucks, rows, aDay)
			header := &batch.Header{Kind: batch.Data}
			seq, at := uint64(0), int64(aDay)
			b.ReportAllocs()
			for b.Loop() {
				seq++
				header.Created = at
				for i := range data.Rows {
					data.Rows[i].Time += int64(rows) * int64(time.Second)
				}
				h.Follow(seq, header, data)
				parts := h.Closed(1 << 30)
				h.Release(parts)
			}
			b.ReportMetric(float64(data.Readings())*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mreadings/s")
		})
	}
}

// BenchmarkReplay reads encoded messages as a start does.
func BenchmarkReplay(b *testing.B) {
	in := batch.NewInterner(1 << 10)
	data := truckRows(in, 20, 100, aDay)
	var e batch.Encoder
	message := e.Encode(nil, &batch.Header{Kind: batch.Data, Created: aDay}, data)
	h := New(Options{}, 1, 0)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	ctx := context.Background()
	for b.Loop() {
		h.live, h.committed = false, h.followed+1
		err := h.Replay(ctx, func(_ context.Context, from, _ uint64, fn func(uint64, []byte) error) error {
			return fn(from, message)
		}, in, nil)
		if err != nil {
			b.Fatal(err)
		}
		h.Release(h.Closed(1 << 30))
	}
	b.ReportMetric(float64(data.Readings())*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mreadings/s")
}

// BenchmarkSeal makes blocks of full parts.
func BenchmarkSeal(b *testing.B) {
	in := batch.NewInterner(1 << 10)
	p := &part{gateway: &gateway{name: "truck_0"}, day: aDay}
	data := truckRows(in, 1, 120, aDay)
	l := &lane{shape: data.Rows[0].Shape}
	for i := range data.Rows {
		p.add(&data.Rows[i], 1, 0, l, data)
	}
	var e Encoder
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := e.Block(Part{p}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(p.readings)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mreadings/s")
}

// BenchmarkFollowInTurn has the head take rows of two kinds in turn from gateways with attributes, as a relay sends them.
func BenchmarkFollowInTurn(b *testing.B) {
	h := New(Options{}, 1, 0)
	in := batch.NewInterner(1 << 10)
	attributes := []batch.Attribute{{Name: "driver", Value: "Trish"}, {Name: "fleet", Value: "South"}, {Name: "fuel_capacity", Value: "150"}, {Name: "load_capacity", Value: "1500"}, {Name: "model", Value: "H-2"}}
	data := &batch.Rows{}
	for t := range 1000 {
		for _, sensors := range [][]string{{"a", "b", "c", "d", "e", "f", "g"}, {"x", "y", "z"}} {
			s := in.Shape(fmt.Sprintf("truck_%d", t%100), sensors, make([]schema.Kind, len(sensors)), attributes)
			for i := range s.Kinds {
				s.Kinds[i] = schema.Float
			}
			data.Rows = append(data.Rows, batch.Row{Shape: s, Time: int64(aDay), First: uint32(len(data.Bits))})
			for i := range sensors {
				data.Bits = append(data.Bits, schema.FloatValue(float64(t*i%97)/10).Bits())
			}
		}
	}
	header := &batch.Header{Kind: batch.Data, Created: aDay}
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		for i := range data.Rows {
			data.Rows[i].Time++
		}
		h.Follow(seq, header, data)
		h.Release(h.Closed(1 << 30))
	}
	b.ReportMetric(float64(data.Readings())*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mreadings/s")
}
