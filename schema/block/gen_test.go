package block

import (
	"math"
	"slices"

	"pgregory.net/rapid"

	"berth/schema"
)

// pick chooses among n ways of making data.
func pick(t *rapid.T, label string, n int) int { return rapid.IntRange(0, n-1).Draw(t, label) }

// timesGen makes strictly rising times within the day: steady, with gaps, with jitter, or any.
func timesGen(t *rapid.T, most int) []int64 {
	n := rapid.IntRange(1, most).Draw(t, "n")
	unit := rapid.SampledFrom([]int64{1, 7, 1e3, 1e6, 1e9, 10e9}).Draw(t, "unit")
	at := day + rapid.Int64Range(0, 1000).Draw(t, "start")*unit
	way := pick(t, "times", 4)
	times := make([]int64, 0, n)
	for range n {
		switch way {
		case 0:
			at += unit
		case 1:
			at += unit * rapid.SampledFrom([]int64{1, 1, 1, 1, 2, 5}).Draw(t, "gap")
		case 2:
			at += unit + rapid.Int64Range(1, 1e6).Draw(t, "jitter")
		default:
			at += rapid.Int64Range(1, schema.DaySpan/(2*int64(most))).Draw(t, "step")
		}
		if at >= day+schema.DaySpan {
			break
		}
		times = append(times, at)
	}
	if len(times) == 0 {
		times = append(times, day)
	}
	return times
}

// strange are floats that codecs get wrong.
var strange = []uint64{
	0, 1 << 63, 1, 1<<63 | 1, 0x7ff8000000000001, 0xfff8000000000000, 0x7ff0000000000001, 0xffffffffffffffff,
	math.Float64bits(math.Inf(1)), math.Float64bits(math.Inf(-1)), math.Float64bits(math.MaxFloat64),
	math.Float64bits(0.1 + 0.2), math.Float64bits(1 << 53), math.Float64bits(1<<53 + 2), math.Float64bits(-0.1),
	math.Float64bits(4.35), math.Float64bits(2.2250738585072014e-308), math.Float64bits(float64(float32(21.3))),
}

// floatsGen makes a column of floats: decimals, floats of 32 bits, few distinct, any bits, with strange ones among.
func floatsGen(t *rapid.T, n int) []uint64 {
	way, out := pick(t, "floats", 6), make([]uint64, n)
	scale := math.Pow(10, float64(rapid.IntRange(0, 16).Draw(t, "scale")))
	spoilt := rapid.Bool().Draw(t, "spoilt")
	at := rapid.Int64Range(-1e6, 1e6).Draw(t, "at")
	for i := range out {
		at += rapid.Int64Range(-20, 20).Draw(t, "step")
		switch way {
		case 0, 1:
			out[i] = math.Float64bits(float64(at) / scale)
		case 2:
			out[i] = math.Float64bits(float64(float32(at) / float32(scale)))
		case 3:
			out[i] = math.Float64bits(math.Sqrt(float64(at & 3)))
		case 4:
			out[i] = math.Float64bits(math.Sin(float64(at) / scale))
		default:
			out[i] = rapid.Uint64().Draw(t, "bits")
		}
		if spoilt && pick(t, "spoil", 12) == 0 {
			out[i] = rapid.SampledFrom(strange).Draw(t, "strange")
		}
	}
	return out
}

// intsGen makes a column of integers: constant, runs, counters, walks, with spikes, any.
func intsGen(t *rapid.T, n int) []uint64 {
	way, out := pick(t, "ints", 6), make([]uint64, n)
	at := rapid.Int64().Draw(t, "at")
	step := rapid.Int64Range(1, 5000).Draw(t, "step")
	for i := range out {
		switch way {
		case 0:
		case 1:
			if pick(t, "run", 10) == 0 {
				at = rapid.Int64Range(-3, 3).Draw(t, "value")
			}
		case 2:
			at += step
		case 3:
			at += step * rapid.Int64Range(-9, 9).Draw(t, "walk")
		case 4:
			at = rapid.SampledFrom([]int64{0, 1, 2, 3, math.MaxInt64, math.MinInt64}).Draw(t, "spike")
		default:
			at = rapid.Int64().Draw(t, "any")
		}
		out[i] = uint64(at)
	}
	return out
}

func textsGen(t *rapid.T, n int) []string {
	out := make([]string, n)
	gen := rapid.SampledFrom([]string{"on", "off", "", "stand by", "Störung 17"})
	if rapid.Bool().Draw(t, "free") {
		gen = rapid.StringN(0, 60, 200)
	}
	for i := range out {
		out[i] = gen.Draw(t, "text")
	}
	return out
}

func columnGen(t *rapid.T, sensor string, kind schema.Kind, times []int64) Column {
	c := Column{Sensor: sensor, Kind: kind, Times: times}
	switch kind {
	case schema.Float:
		c.Bits = floatsGen(t, len(times))
	case schema.Int:
		c.Bits = intsGen(t, len(times))
	case schema.Bool:
		c.Bits = rapid.SliceOfN(rapid.Uint64Range(0, 1), len(times), len(times)).Draw(t, "bools")
	default:
		c.Texts = textsGen(t, len(times))
	}
	switch pick(t, "late", 6) {
	case 0:
		c.Late = slices.Repeat([]bool{true}, len(times))
	case 1:
		c.Late = rapid.SliceOfN(rapid.Bool(), len(times), len(times)).Draw(t, "which came late")
	}
	c.Late = someLate(c.Late)
	return c
}

// contentGen makes a content whose sensors share their times, miss some, or have their own, some with two kinds.
func contentGen(t *rapid.T) *Content {
	const most = 150
	c := &Content{Gateway: "gw", From: schema.Position{Sequence: rapid.Uint64Range(0, 1<<40).Draw(t, "from")}}
	c.To = schema.Position{
		Sequence: c.From.Sequence + rapid.Uint64Range(0, 1000).Draw(t, "length"),
		Ordinal:  rapid.Uint32().Draw(t, "ordinal"),
	}
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c]{1,3}(\.temperature){0,2}[0-9]`), 1, 6, rapid.ID).Draw(t, "names")
	slices.Sort(names)
	shared := timesGen(t, most)
	for _, name := range names {
		times := shared
		switch pick(t, "sharing", 4) {
		case 0:
			times = timesGen(t, most)
		case 1:
			times = nil
			for _, at := range shared {
				if len(times) == 0 || pick(t, "missing", 8) > 0 {
					times = append(times, at)
				}
			}
		}
		kinds := []schema.Kind{schema.Float, schema.Int, schema.Bool, schema.Text}
		if pick(t, "kinds", 5) > 0 {
			c.Columns = append(c.Columns, columnGen(t, name, rapid.SampledFrom(kinds).Draw(t, "kind"), times))
			continue
		}
		byKind := make(map[schema.Kind][]int64)
		for _, at := range times {
			kind := rapid.SampledFrom(kinds).Draw(t, "kind of reading")
			byKind[kind] = append(byKind[kind], at)
		}
		for _, kind := range kinds {
			if len(byKind[kind]) > 0 {
				c.Columns = append(c.Columns, columnGen(t, name, kind, byKind[kind]))
			}
		}
	}
	return c
}
