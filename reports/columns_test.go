package reports

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/block"
)

// drawSeries draws series of which some have the same times, of changing kinds.
func drawSeries(t *rapid.T) (all []block.Series) {
	times := rapid.SliceOfNDistinct(rapid.Int64Range(-5e9, 5e18), 0, 6, rapid.ID[int64])
	unit := rapid.SampledFrom([]int64{1, 1e6}).Draw(t, "unit")
	draw := func() []int64 {
		some := times.Draw(t, "times")
		for i := range some {
			some[i] -= some[i] % unit
		}
		slices.Sort(some)
		return slices.Compact(some)
	}
	sets := [][]int64{draw(), draw(), nil}
	sets[2] = slices.Clone(sets[0]) // as many, with the same ends, and not the same
	if s := sets[2]; len(s) > 2 && s[1]+unit < s[2] {
		s[1] += unit
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "sensors") {
		b := block.Series{Sensor: fmt.Sprintf("s\"%d", i), Times: slices.Clone(rapid.SampledFrom(sets).Draw(t, "set"))}
		for range b.Times {
			v := rapid.SampledFrom([]schema.Value{
				schema.FloatValue(21.5), schema.FloatValue(-0.1), schema.IntValue(1 << 40), schema.BoolValue(true), schema.TextValue("a\"<b"),
			}).Draw(t, "value")
			bits := v.Bits()
			if v.Kind() == schema.Text {
				bits = uint64(len(b.Texts))
				b.Texts = append(b.Texts, v.Text())
			}
			b.Kinds, b.Bits = append(b.Kinds, v.Kind()), append(b.Bits, bits)
		}
		all = append(all, b)
	}
	return all
}

// TestColumnsHoldEveryReading: what is read of columns is every reading, with its kind and to the nanosecond, and sensors of the
// same times stand together.
func TestColumnsHoldEveryReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		series := drawSeries(t)
		var want, got []string
		for i := range series {
			for j, at := range series[i].Times {
				v := series[i].Value(j)
				want = append(want, fmt.Sprintf("%s %d %s %s", series[i].Sensor, at, v.Kind(), v))
			}
		}
		groups := sameTimes(series)
		for _, together := range groups {
			text, err := appendColumns(nil, series, together)
			if err != nil {
				t.Fatal(err)
			}
			var c api.Together
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			got = append(got, flat(t, &c)...)
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
		if len(groups) > 3 {
			t.Fatalf("%d lists of times, and there are three", len(groups))
		}
	})
}

// flat returns each reading of columns as a text.
func flat(t *rapid.T, c *api.Together) (all []string) {
	times := slices.Clone(c.Millis)
	for i := range times {
		times[i] *= 1e6
	}
	for _, text := range c.Nanos {
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, at)
	}
	for _, s := range c.Sensors {
		if len(s.Values) != len(times) || (s.Kind == "") == (s.Kinds == nil) {
			t.Fatalf("%d values of kind %q or kinds %q at %d times", len(s.Values), s.Kind, s.Kinds, len(times))
		}
		for i, v := range s.Values {
			kind := s.Kind
			if s.Kinds != nil {
				kind = s.Kinds[i]
			}
			if kind == schema.Int.String() { // JSON does not tell it from a float
				number, _ := v.Number()
				v.Value = schema.IntValue(int64(number))
			}
			all = append(all, fmt.Sprintf("%s %d %s %s", s.Sensor, times[i], kind, v.Value))
		}
	}
	return all
}

// TestReadingsAsColumns asks for them.
func TestReadingsAsColumns(t *testing.T) {
	b := newBench(t)
	response := b.ask(root + escaped + "/readings?format=columns")
	defer response.Body.Close()
	var answer api.Columns
	if err := json.Unmarshal([]byte(b.text(response)), &answer); err != nil {
		t.Fatal(err)
	}
	if !answer.Complete.Complete || answer.Gateway != gateway || len(answer.Columns) != 1 || len(answer.Columns[0].Sensors) != 2 {
		t.Fatalf("%+v", answer)
	}
	if s := answer.Columns[0].Sensors[1]; s.Sensor != "boiler.temperature" || s.Kind != "float" || fmt.Sprint(s.Values) != "[21.5]" {
		t.Errorf("%+v", s)
	}
}
