package batch_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"berth/schema"
	"berth/schema/batch"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a message with something of everything.
func sample(in *batch.Interner) (batch.Header, []*batch.Rows) {
	boiler := in.Shape("haus-1", []string{"boiler.temperature", "boiler.pressure", "boiler.on", "boiler.note"},
		[]schema.Kind{schema.Float, schema.Int, schema.Bool, schema.Text}, nil)
	other := in.Shape("haus-2", []string{"boiler.temperature", "boiler.pressure"}, []schema.Kind{schema.Float, schema.Float},
		[]batch.Attribute{{Name: "city", Value: "Bremen"}, {Name: "model", Value: "B 7"}})
	third := in.Shape("haus-3", []string{"boiler.temperature", "boiler.pressure"}, []schema.Kind{schema.Float, schema.Float},
		[]batch.Attribute{{Name: "city", Value: "Bremerhaven"}})
	a, b := adder{in, &batch.Rows{}}, adder{in, &batch.Rows{}}
	a.add(boiler, 1_700_000_000_000_000_000, false,
		schema.FloatValue(21.5), schema.IntValue(math.MinInt64), schema.BoolValue(true), schema.TextValue("größer\n\"so\""))
	a.add(boiler, 1_699_999_999_000_000_000, false,
		schema.FloatValue(math.Copysign(0, -1)), schema.IntValue(-1), schema.BoolValue(false), schema.TextValue(""))
	a.add(other, 1_700_000_060_123_456_789, true, schema.FloatValue(math.Inf(1)), schema.FloatValue(math.NaN()))
	b.add(third, math.MinInt64, false, schema.FloatValue(math.MaxFloat64), schema.FloatValue(math.SmallestNonzeroFloat64))
	b.add(boiler, math.MaxInt64, false,
		schema.BitsValue(schema.Float, 0x7ff0000000000001), schema.IntValue(math.MaxInt64), schema.BoolValue(true), schema.TextValue("x"))
	h := batch.Header{
		Kind: batch.Data, Claim: "c-0123456789", Created: 1_700_000_060_123_456_789,
		Totals: batch.Totals{
			FramesReceived: 12, FramesCommitted: 9, FramesRejected: 2, FramesGivenUp: 1, Accepted: 1 << 40, Rejected: 3,
			Timeless: 4, Strangers: 5, Reasons: map[string]uint64{"syntax": 2, "time_window": 1},
		},
	}
	return h, []*batch.Rows{a.rows, b.rows}
}

func join(rows ...*batch.Rows) *batch.Rows {
	all := &batch.Rows{}
	for _, r := range rows {
		all.Append(r)
	}
	return all
}

func TestGolden(t *testing.T) {
	claim := batch.Header{Kind: batch.Claim, Claim: "c-1", Created: -1}
	h, rows := sample(batch.NewInterner(10))
	with := h
	with.Sessions, with.SessionsFrom = someSessions, 1<<33
	claimed := claim
	claimed.SessionsFrom = 7
	counted := h
	counted.Totals.Bytes = 1 << 40
	for _, c := range []struct {
		name   string
		header batch.Header
		rows   []*batch.Rows
	}{{"data.v1", h, rows}, {"claim.v1", claim, nil}, {"data.v2", with, rows}, {"claim.v2", claimed, nil}, {"bytes.v1", counted, rows}} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join("testdata", c.name)
			var e batch.Encoder
			got := e.Encode(nil, &c.header, c.rows...)
			listing := fmt.Sprintf("%+v\n%s", c.header, show(join(c.rows...)))
			if *update {
				write(t, path+".bin", got)
				write(t, path+".want", []byte(listing))
			}
			want := read(t, path+".bin")
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("the encoding has changed (-golden +now):\n%s", d)
			}
			header, decoded, err := batch.Decode(want, batch.NewInterner(10))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(read(t, path+".want")), fmt.Sprintf("%+v\n%s", header, show(decoded))); d != "" {
				t.Errorf("the golden message reads differently (-want +got):\n%s", d)
			}
		})
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// anyRows draws rows of a few shapes, with every kind and any bits.
func anyRows(in *batch.Interner) *rapid.Generator[*batch.Rows] {
	name := rapid.StringMatching(`[a-c]{1,3}(\.[a-c]{1,200})?`)
	kinds := rapid.SampledFrom([]schema.Kind{schema.Float, schema.Int, schema.Bool, schema.Text})
	return rapid.Custom(func(t *rapid.T) *batch.Rows {
		var shapes []*batch.Shape
		for range rapid.IntRange(1, 4).Draw(t, "shapes") {
			n := rapid.IntRange(1, 5).Draw(t, "sensors")
			shapes = append(shapes, in.Shape(
				name.Draw(t, "gateway")[:1],
				rapid.SliceOfN(name, n, n).Draw(t, "names"),
				rapid.SliceOfN(kinds, n, n).Draw(t, "kinds"),
				rapid.SliceOfN(rapid.Custom(func(t *rapid.T) batch.Attribute {
					return batch.Attribute{Name: name.Draw(t, "name"), Value: name.Draw(t, "value")}
				}), 0, 3).Draw(t, "attributes")))
		}
		a := adder{in, &batch.Rows{}}
		for range rapid.IntRange(0, 8).Draw(t, "rows") {
			s := rapid.SampledFrom(shapes).Draw(t, "shape")
			var values []schema.Value
			for _, k := range s.Kinds {
				switch k {
				case schema.Text:
					values = append(values, schema.TextValue(rapid.String().Draw(t, "text")))
				case schema.Bool:
					values = append(values, schema.BoolValue(rapid.Bool().Draw(t, "bool")))
				default:
					values = append(values, schema.BitsValue(k, rapid.Uint64().Draw(t, "bits")))
				}
			}
			a.add(s, rapid.Int64().Draw(t, "time"), rapid.Bool().Draw(t, "arrival"), values...)
		}
		return a.rows
	})
}

func TestRoundTrip(t *testing.T) {
	var e batch.Encoder // one for all: nothing of a message may stay behind
	rapid.Check(t, func(t *rapid.T) {
		in := batch.NewInterner(rapid.IntRange(1, 5).Draw(t, "remembered"))
		rows := rapid.SliceOfN(anyRows(in), 0, 3).Draw(t, "batches")
		h := batch.Header{
			Kind: batch.Data, Claim: rapid.String().Draw(t, "claim"), Created: rapid.Int64().Draw(t, "created"),
			Totals: batch.Totals{Accepted: rapid.Uint64().Draw(t, "accepted"), Bytes: rapid.Uint64().Draw(t, "bytes"), Reasons: rapid.MapOfN(
				rapid.StringN(0, 9, 64), rapid.Uint64(), 0, batch.MaxReasons-1).Draw(t, "reasons")},
		}
		if len(h.Totals.Reasons) == 0 {
			h.Totals.Reasons = nil
		}
		if rapid.Bool().Draw(t, "sessions") {
			h.Sessions = rapid.SliceOfN(anySession(), 1, 3).Draw(t, "sessions")
			h.SessionsFrom = rapid.Uint64().Draw(t, "sessionsFrom")
		}
		before := []byte("before")
		data := e.Encode(before, &h, rows...)
		header, got, err := batch.Decode(data[len(before):], in)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(h, header); d != "" {
			t.Fatalf("header (-want +got):\n%s", d)
		}
		var fresh batch.Encoder
		slices.Reverse(rows)
		if d := cmp.Diff(fresh.Encode(nil, &h, rows...), e.Encode(nil, &h, rows...)); d != "" {
			t.Fatalf("by a new encoder and one used before:\n%s", d)
		}
		slices.Reverse(rows)
		// What is appended has the same ordinals, one row after the other.
		if d := cmp.Diff(show(join(rows...)), show(got)); d != "" {
			t.Fatalf("readings (-want +got):\n%s", d)
		}
	})
}

func TestCutAndDamaged(t *testing.T) {
	in := batch.NewInterner(10)
	h, rows := sample(in)
	h.Sessions, h.SessionsFrom = someSessions, 1
	var e batch.Encoder
	data := e.Encode(nil, &h, rows...)
	for n := range data {
		if _, _, err := batch.Decode(data[:n], in); !schema.Is(err, schema.Invalid) {
			t.Errorf("cut to %d of %d bytes: error %v, want an invalid one", n, len(data), err)
		}
		damaged := bytes.Clone(data)
		damaged[n] ^= 0x10
		if _, _, err := batch.Decode(damaged, in); !schema.Is(err, schema.Invalid) {
			t.Errorf("byte %d damaged: error %v, want an invalid one", n, err)
		}
		// Damage that the checksum does not show must not get through as more than there is, and must not panic.
		_, got, err := batch.Decode(sealed(data[:n]), in)
		if err == nil && got.Readings() > join(rows...).Readings() {
			t.Errorf("cut to %d bytes and sealed: %d readings", n, got.Readings())
		}
	}
}

// sealed returns the message with another checksum at its end.
func sealed(data []byte) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(data), crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

// TestAnnouncedTooMuch sends messages that announce far more than they hold: the bytes are checked before memory is had.
func TestAnnouncedTooMuch(t *testing.T) {
	var e batch.Encoder
	data := e.Encode(nil, &batch.Header{Kind: batch.Data})
	head := data[:len(data)-4-5] // without the five zeros of an empty body and the checksum
	huge := binary.AppendUvarint(nil, 1<<40)
	in := batch.NewInterner(10)
	for zeros := range 6 {
		m := slices.Concat(head, make([]byte, zeros), huge)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := batch.Decode(sealed(m), in)
		runtime.ReadMemStats(&after)
		if !schema.Is(err, schema.Invalid) {
			t.Errorf("after %d zeros: error %v, want an invalid one", zeros, err)
		}
		if had := after.TotalAlloc - before.TotalAlloc; had > 1<<20 {
			t.Errorf("after %d zeros: %d bytes were allocated", zeros, had)
		}
	}
}

// TestAnnouncedWrong changes what a message announces: readings and bytes of text must be as many as there are.
func TestAnnouncedWrong(t *testing.T) {
	in := batch.NewInterner(10)
	a := adder{in, &batch.Rows{}}
	a.add(in.Shape("g", []string{"s"}, []schema.Kind{schema.Text}, nil), 1, false, schema.TextValue("text"))
	var e batch.Encoder
	h := batch.Header{Kind: batch.Data}
	data := e.Encode(nil, &h, a.rows)
	data = data[:len(data)-4]
	announced := len(e.Encode(nil, &h)) - 4 - 5 // an empty body is five zeros
	for _, at := range []int{announced, announced + 1} {
		for _, add := range []byte{1, 0xff} {
			wrong := bytes.Clone(data)
			wrong[at] += add
			if _, _, err := batch.Decode(sealed(wrong), in); !schema.Is(err, schema.Invalid) {
				t.Errorf("byte %d is %d instead of %d: error %v, want an invalid one", at, wrong[at], data[at], err)
			}
		}
	}
	if _, _, err := batch.Decode(sealed(data), in); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	h := batch.Header{Kind: batch.Claim, Totals: batch.Totals{Reasons: map[string]uint64{
		strings.Repeat("x", batch.MaxReason+1): 1000, batch.OtherReasons: 5,
	}}}
	want := uint64(1005)
	for i := range 100 {
		h.Totals.Reasons[fmt.Sprintf("reason_%02d", i)] = 1
		want++
	}
	var e batch.Encoder
	got, err := batch.DecodeHeader(e.Encode(nil, &h))
	if err != nil {
		t.Fatal(err)
	}
	sum := uint64(0)
	for _, n := range got.Totals.Reasons {
		sum += n
	}
	if len(got.Totals.Reasons) > batch.MaxReasons || sum != want || got.Totals.Reasons["reason_00"] != 1 {
		t.Errorf("%d reasons that add up to %d, want at most %d and %d", len(got.Totals.Reasons), sum, batch.MaxReasons, want)
	}
}

func FuzzDecode(f *testing.F) {
	seeds := batch.NewInterner(10)
	h, rows := sample(seeds)
	var e batch.Encoder
	for _, data := range [][]byte{
		e.Encode(nil, &h, rows...), e.Encode(nil, &batch.Header{Kind: batch.Claim}), e.Encode(nil, &h, trucks(seeds, 3, 20)),
		e.Encode(nil, &batch.Header{Kind: batch.Data, Sessions: someSessions, SessionsFrom: 1}),
	} {
		f.Add(data[:len(data)-4])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := batch.NewInterner(100)
		h, rows, err := batch.Decode(sealed(data), in)
		if err != nil {
			if rows != nil || !schema.Is(err, schema.Invalid) {
				t.Fatalf("rows %v with error %v", rows, err)
			}
			return
		}
		// What can be read can be written, and then reads the same.
		var e batch.Encoder
		again, same, err := batch.Decode(e.Encode(nil, &h, rows), in)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(fmt.Sprintf("%+v\n%s", h, show(rows)), fmt.Sprintf("%+v\n%s", again, show(same))); d != "" {
			t.Fatal(d)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	in := batch.NewInterner(10_000)
	rows := trucks(in, 1000, 4000)
	h := batch.Header{Kind: batch.Data, Claim: "c"}
	var e batch.Encoder
	data := e.Encode(nil, &h, rows)
	b.ReportAllocs()
	for b.Loop() {
		data = e.Encode(data[:0], &h, rows)
	}
	report(b, rows, len(data))
}

func BenchmarkDecode(b *testing.B) {
	in := batch.NewInterner(10_000)
	rows := trucks(in, 1000, 4000)
	var e batch.Encoder
	data := e.Encode(nil, &batch.Header{Kind: batch.Data, Claim: "c"}, rows)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := batch.Decode(data, in); err != nil {
			b.Fatal(err)
		}
	}
	report(b, rows, len(data))
}

func report(b *testing.B, rows *batch.Rows, size int) {
	b.Helper()
	b.ReportMetric(float64(rows.Readings())*float64(b.N)/b.Elapsed().Seconds(), "readings/s")
	b.ReportMetric(float64(size)/float64(rows.Readings()), "bytes/reading")
}
