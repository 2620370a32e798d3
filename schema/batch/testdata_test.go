package batch_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"berth/schema"
	"berth/schema/batch"
)

// adder fills rows for tests.
type adder struct {
	in   *batch.Interner
	rows *batch.Rows
}

func (a adder) add(s *batch.Shape, t int64, arrival bool, values ...schema.Value) {
	a.rows.Rows = append(a.rows.Rows, batch.Row{Shape: s, Time: t, First: uint32(len(a.rows.Bits)), Arrival: arrival})
	for _, v := range values {
		bits := v.Bits()
		if v.Kind() == schema.Text {
			bits = a.rows.AddText([]byte(v.Text()))
		}
		a.rows.Bits = append(a.rows.Bits, bits)
	}
}

// show lists readings with their ordinals, one a line.
func show(r *batch.Rows) string {
	var b strings.Builder
	for _, row := range r.Rows {
		s := row.Shape
		for j, k := range s.Kinds {
			v := r.Value(int(row.First)+j, k)
			fmt.Fprintf(&b, "%d %q %q %v %d %v %s %016x %q\n", int(row.First)+j, s.Gateway, s.Sensors[j], s.Attributes, row.Time, row.Arrival, k, v.Bits(), v.Text())
		}
	}
	return b.String()
}

// trucks returns rows as a fleet sends them: two series a truck, of seven and three sensors, with attributes.
func trucks(in *batch.Interner, fleet, rows int) *batch.Rows {
	random := rand.New(rand.NewPCG(1, 2))
	floats := func(n int) []schema.Kind {
		kinds := make([]schema.Kind, n)
		for i := range kinds {
			kinds[i] = schema.Float
		}
		return kinds
	}
	var shapes []*batch.Shape
	for n := range fleet {
		attributes := []batch.Attribute{{Name: "driver", Value: "Trish"}, {Name: "fleet", Value: "South"}, {Name: "model", Value: fmt.Sprintf("H-%d", n%3)}}
		gateway := fmt.Sprintf("truck_%d", n)
		shapes = append(shapes,
			in.Shape(gateway, []string{
				"readings.latitude", "readings.longitude", "readings.elevation", "readings.velocity", "readings.heading",
				"readings.grade", "readings.fuel_consumption",
			}, floats(7), attributes),
			in.Shape(gateway, []string{"diagnostics.fuel_state", "diagnostics.current_load", "diagnostics.status"},
				[]schema.Kind{schema.Float, schema.Float, schema.Int}, attributes))
	}
	a := adder{in, &batch.Rows{}}
	for n := range rows {
		s := shapes[n%len(shapes)]
		values := make([]schema.Value, len(s.Kinds))
		for i, k := range s.Kinds {
			if values[i] = schema.FloatValue(float64(random.IntN(1e6)) / 1e4); k == schema.Int {
				values[i] = schema.IntValue(random.Int64N(6))
			}
		}
		a.add(s, 1_700_000_000_000_000_000+int64(n/len(shapes))*10_000_000_000, false, values...)
	}
	return a.rows
}
