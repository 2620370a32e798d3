package api_test

import (
	"encoding/json"
	"math"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/api"
)

// TestNumbersAreReadAsTheyWereWritten: a list at once as one by one, whatever stands between its numbers.
func TestNumbersAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{
			0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1e-7, 1e21, -21.5, math.MaxFloat64, math.SmallestNonzeroFloat64,
		}))).Draw(t, "numbers")
		list := make(api.Numbers, len(want))
		for i, f := range want {
			list[i] = api.Number(f)
		}
		write := json.Marshal
		if rapid.Bool().Draw(t, "indented") {
			write = func(v any) ([]byte, error) { return json.MarshalIndent(v, "\t", "  ") }
		}
		data, err := write(list)
		if err != nil {
			t.Fatal(err)
		}
		var got api.Numbers
		if err := json.Unmarshal(data, &got); err != nil || len(got) != len(want) || got == nil {
			t.Fatalf("%s is %v: %v", data, got, err)
		}
		for i, f := range want {
			if math.Float64bits(float64(got[i])) != math.Float64bits(f) && (f == f || got[i] == got[i]) {
				t.Fatalf("number %d of %s is %v", i, data, got[i])
			}
		}
	})
}

// TestWhatIsNoListOfNumbersIsRefused: text that is no number, other shapes, numbers that no float64 holds.
func TestWhatIsNoListOfNumbersIsRefused(t *testing.T) {
	for _, text := range []string{`["x"]`, `[1,"x"]`, `{"a":1}`, `[[1]]`, `[1,null]`, `1`, `"1"`, `[1e999]`, `[true]`, `[1,{}]`} {
		var got api.Numbers
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s is read as %v", text, got)
		}
	}
	var got api.Numbers
	if err := json.Unmarshal([]byte("null"), &got); err != nil || got != nil {
		t.Errorf("null is read as %v: %v", got, err)
	}
}

// BenchmarkNumbers reads a month of days of a hundred gateways, as an answer about a fleet has them.
func BenchmarkNumbers(b *testing.B) {
	f := api.FleetSeries{}
	for range 100 {
		s := api.Series{Sensor: "readings.velocity", Kind: "float"}
		for i := range 30 {
			s.Time = append(s.Time, 1767225600000+int64(i)*86400000)
			s.Max = append(s.Max, api.Number(float64(i)*3.25))
		}
		f.Gateways = append(f.Gateways, api.SeriesAnswer{Gateway: "truck", Series: []api.Series{s}})
	}
	text, err := json.Marshal(f)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		var into api.FleetSeries
		if err := json.Unmarshal(text, &into); err != nil {
			b.Fatal(err)
		}
	}
}
