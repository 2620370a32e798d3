package block

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/schema"
)

// day is the start of the UTC day that the tests' readings lie in.
var day = time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC).UnixNano()

// walk is a random walk in steps of a decimal resolution, as sensors read it.
type walk struct {
	at, low, high, step float64
	decimals            int
	uniform             bool
}

func (w *walk) next(r *rand.Rand) float64 {
	step := w.step * r.NormFloat64()
	if w.uniform {
		step = w.step * (2*r.Float64() - 1)
	}
	w.at = min(max(w.at+step, w.low), w.high)
	p := math.Pow(10, float64(w.decimals))
	return math.Round(w.at*p) / p
}

// roomContent is the readings of a room's gateway: some of temperature, humidity, CO2, battery and presence.
func roomContent(sensors int, jitter time.Duration) *Content {
	r := rand.New(rand.NewPCG(1, uint64(sensors)))
	names := []string{"temperature", "humidity", "co2", "battery", "presence"}
	walks := []walk{
		{at: 21.3, low: 10, high: 35, step: 0.08, decimals: 1},
		{at: 44, low: 0, high: 100, step: 0.06, decimals: 2},
		{at: 600, low: 380, high: 3000, step: 12},
		{at: 3.61, low: 2, high: 4, step: 0.004, decimals: 2},
		{at: 0, low: 0, high: 1, step: 0.2},
	}
	b := NewBuilder("room-0417")
	for i := range 120 {
		t := day + int64(i)*int64(10*time.Second)
		if jitter > 0 {
			t += r.Int64N(int64(jitter)) / 1e6 * 1e6
		}
		for s := range sensors {
			v := schema.FloatValue(walks[s].next(r))
			if names[s] == "presence" {
				v = schema.BoolValue(v.Float() > 0.5)
			}
			b.Add(names[s], t, v, schema.Position{Sequence: 81234 + uint64(i), Ordinal: uint32(r.IntN(900))})
		}
	}
	return b.Content()
}

// truckContent is the readings of a truck as the time series benchmark suite's IoT case makes them: uniform steps,
// rounded.
func truckContent(n int) *Content {
	r := rand.New(rand.NewPCG(2, 2))
	type field struct {
		name string
		walk walk
		kind schema.Kind
	}
	fields := []field{
		{"readings.latitude", walk{at: 52.31854, low: -90, high: 90, step: 0.005, decimals: 5, uniform: true}, schema.Float},
		{"readings.longitude", walk{at: 4.72037, low: -180, high: 180, step: 0.005, decimals: 5, uniform: true}, schema.Float},
		{"readings.elevation", walk{at: 217, high: 5000, step: 10, uniform: true}, schema.Float},
		{"readings.velocity", walk{at: 40, high: 100, step: 10, uniform: true}, schema.Float},
		{"readings.heading", walk{at: 221, high: 360, step: 5, uniform: true}, schema.Float},
		{"readings.grade", walk{at: 20, high: 100, step: 5, uniform: true}, schema.Float},
		{"readings.fuel_consumption", walk{at: 25, high: 50, step: 5, decimals: 1, uniform: true}, schema.Float},
		{"diagnostics.fuel_state", walk{at: 1, high: 1, step: 0.002, decimals: 1, uniform: true}, schema.Float},
		{"diagnostics.current_load", walk{at: 2000, high: 5000, step: 1, uniform: true}, schema.Float},
		{"diagnostics.status", walk{at: 0, high: 5, step: 1, uniform: true}, schema.Int},
	}
	b := NewBuilder("truck_2718")
	for i := range n {
		for j := range fields {
			f := &fields[j]
			v := schema.FloatValue(f.walk.next(r))
			if f.kind == schema.Int {
				v = schema.IntValue(int64(v.Float()))
			}
			b.Add(f.name, day+int64(i)*int64(10*time.Second), v, schema.Position{Sequence: 4711 + uint64(i)*3, Ordinal: uint32(r.IntN(9000))})
		}
	}
	return b.Content()
}

// diff returns how two contents differ, "" if they do not.
func diff(want, got *Content) string {
	same := func(a, b Column) bool {
		return a.Sensor == b.Sensor && a.Kind == b.Kind && slices.Equal(a.Times, b.Times) &&
			slices.Equal(a.Bits, b.Bits) && slices.Equal(a.Texts, b.Texts) && slices.Equal(someLate(a.Late), someLate(b.Late))
	}
	if want.Gateway == got.Gateway && want.From == got.From && want.To == got.To && slices.EqualFunc(want.Columns, got.Columns, same) {
		return ""
	}
	return "they differ: " + cmp.Diff(want, got, cmpopts.EquateEmpty())
}
