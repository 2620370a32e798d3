package reports

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/reports/query"
	"berth/schema"
	"berth/schema/record"
)

// clockIn returns a clock in a zone.
func clockIn(zone string) query.Clock {
	settings := record.DefaultSettings()
	settings.Timezone = zone
	return query.New(query.Options{Settings: func() record.Settings { return settings }}).Clock()
}

// special are numbers that encoding/json writes in a form of its own, or nearly does.
var special = []float64{0, math.Copysign(0, -1), 1e-6, 9.99e-7, -9.99e-7, 1e21, 9.99e20, -1e21, 1e-7, 0.1, -21.5, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324}

// TestReadingText: whatever is written is what encoding/json writes.
func TestReadingText(t *testing.T) {
	clock := clockIn("Europe/Berlin")
	w := newReadingText(clock)
	value := rapid.Custom(func(t *rapid.T) schema.Value {
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			return schema.IntValue(rapid.Int64().Draw(t, "int"))
		case 1:
			return schema.BoolValue(rapid.Bool().Draw(t, "bool"))
		case 2:
			return schema.TextValue(rapid.String().Draw(t, "text"))
		case 3:
			return schema.FloatValue(rapid.SampledFrom(special).Draw(t, "special"))
		default:
			return schema.FloatValue(rapid.Float64().Draw(t, "float"))
		}
	})
	for i, f := range special {
		written(t, w, clock, "a", int64(i), schema.FloatValue(f))
	}
	rapid.Check(t, func(t *rapid.T) {
		sensor := rapid.OneOf(rapid.SampledFrom([]string{"a", "b<c>&\"d\"", "unité"}), rapid.StringN(1, 20, 40)).Draw(t, "sensor")
		at := rapid.OneOf(rapid.SampledFrom([]int64{0, -1, 1_767_225_600_000_000_000}), rapid.Int64Range(-5e18, 9e18)).Draw(t, "time")
		written(t, w, clock, sensor, at, value.Draw(t, "value"))
	})
}

// written compares what is written of a reading with what encoding/json writes.
func written(t interface{ Fatalf(string, ...any) }, w *readingText, clock query.Clock, sensor string, at int64, v schema.Value) {
	want, err := json.Marshal(clock.Reading(sensor, at, v))
	got, werr := w.append([]byte("before"), sensor, at, v)
	if err != nil || werr != nil || string(got) != "before"+string(want) {
		t.Fatalf("%s, %v\nwant %s, %v", got, werr, want, err)
	}
}

// BenchmarkReadingText writes readings of ten sensors at each time.
func BenchmarkReadingText(b *testing.B) {
	sensors := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	w := newReadingText(clockIn("Europe/Berlin"))
	now := time.Now().UnixNano()
	b.ReportAllocs()
	var out []byte
	for i := 0; b.Loop(); i++ {
		var err error
		if out, err = w.append(out[:0], sensors[i%10], now+int64(i/10), schema.FloatValue(float64(i%1000)/10)); err != nil {
			b.Fatal(err)
		}
	}
}
