package report

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"berth/schema"
)

// anyNumber draws numbers of all magnitudes, small and great ones together.
func anyNumber(t *rapid.T) schema.Value {
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		return schema.IntValue(rapid.Int64().Draw(t, "int"))
	case 1:
		return schema.FloatValue(float64(rapid.IntRange(-50, 50).Draw(t, "tenths")) / 10)
	default:
		f := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			f = math.MaxFloat64
		}
		return schema.FloatValue(f)
	}
}

func exactly(v schema.Value) *big.Rat {
	if v.Kind() == schema.Int {
		return new(big.Rat).SetInt64(v.Int())
	}
	return new(big.Rat).SetFloat64(v.Float())
}

func TestASumIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e exact
		want := new(big.Rat)
		numbers := rapid.SliceOfN(rapid.Custom(anyNumber), 1, 40).Draw(t, "numbers")
		floats := false
		for _, v := range numbers {
			negative := rapid.Bool().Draw(t, "negative")
			e.add(v, negative)
			if x := exactly(v); negative {
				want.Sub(want, x)
			} else {
				want.Add(want, x)
			}
			if rapid.IntRange(0, 9).Draw(t, "carry") == 0 {
				e.carry()
			}
			floats = floats || v.Kind() == schema.Float
		}
		if !floats {
			if got := e.sum(); string(got) != want.RatString() {
				t.Fatalf("the sum is %s, want %s", got, want.RatString())
			}
		}
		n := int64(len(numbers))
		sum, _ := want.Float64()
		mean, _ := new(big.Rat).Quo(want, new(big.Rat).SetInt64(n)).Float64()
		if got := e.mean(uint64(n)); got.Float() != mean || floats && e.sum().Float() != sum {
			t.Fatalf("the mean is %s, want %v; the sum %s, want %v", got, mean, e.sum(), sum)
		}
	})
}

func TestInfinitiesAreInTheSum(t *testing.T) {
	var e exact
	e.add(schema.FloatValue(math.Inf(1)), false)
	e.add(schema.FloatValue(1), false)
	if got := e.sum(); got != "+Inf" {
		t.Errorf("the sum is %s", got)
	}
	e.add(schema.FloatValue(math.Inf(1)), true)
	if got := e.mean(3); got != "NaN" {
		t.Errorf("the mean is %s", got)
	}
}

func TestNumbersAreComparedByWhatTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyNumber(t), anyNumber(t)
		if got, want := compare(a, b), exactly(a).Cmp(exactly(b)); got != want {
			t.Fatalf("%v against %v is %d, want %d", a, b, got, want)
		}
	})
	great := schema.IntValue(math.MaxInt64)
	if compare(great, schema.FloatValue(math.Inf(1))) != -1 || compare(schema.FloatValue(math.Inf(-1)), great) != -1 {
		t.Error("an infinity is not beyond every int")
	}
}

// However little a rank may keep, it finds the number that stands there when all are put in order.
func TestARankIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRank(rapid.SampledFrom([]int{1, 50, 95, 100}).Draw(t, "share"), rapid.IntRange(4, 40).Draw(t, "limit"))
		r.ints = rapid.Bool().Draw(t, "ints")
		var numbers []schema.Value
		for range rapid.IntRange(1, 300).Draw(t, "count") {
			v := anyNumber(t)
			if f, _ := v.Number(); r.ints && v.Kind() == schema.Float {
				v = schema.IntValue(int64(math.Mod(f, 1e15)))
			} else if !r.ints {
				v = schema.FloatValue(f)
			}
			numbers = append(numbers, v)
		}
		for walks := 0; !r.found; walks++ {
			if walks == 70 {
				t.Fatal("it is not found")
			}
			for _, v := range numbers {
				r.add(v)
			}
			if len(r.counts) > r.limit {
				t.Fatalf("%d counts are kept, of at most %d", len(r.counts), r.limit)
			}
			r.end()
		}
		slices.SortFunc(numbers, compare)
		if want := numbers[(len(numbers)*r.share+99)/100-1]; compare(r.valueOf(r.key), want) != 0 {
			t.Fatalf("found %v, want %v", r.valueOf(r.key), want)
		}
	})
}

func BenchmarkRank(b *testing.B) {
	r := newRank(95, mostCounts)
	for i := range b.N {
		r.add(schema.FloatValue(float64(i*2654435761%100_000) / 10))
	}
}

func BenchmarkSum(b *testing.B) {
	var e exact
	for i := range b.N {
		e.add(schema.FloatValue(float64(i)/10), false)
	}
}
