package report

import (
	"cmp"
	"math"
	"math/big"
	"math/bits"

	"berth/internal/api"
	"berth/schema"
)

// lowest is the exponent of the smallest float64: every finite one is a whole multiple of 2^lowest.
const lowest = -1074

// words of 32 bits hold the sum of 2^62 of the greatest float64.
const words = (1024-lowest)/32 + 3

// mostAdds is how many numbers may be added before carries are passed on: each adds less than 2^32 to a word.
const mostAdds = 1 << 30

// exact is a sum without any rounding, of floats and ints alike, in whatever order they are added.
type exact struct {
	words    [words]int64 // word i counts 2^(32i + lowest)
	adds     int
	floats   bool // a float was added
	up, down bool // an infinity was
}

// add adds a number, or takes it away.
func (e *exact) add(v schema.Value, negative bool) {
	if v.Kind() != schema.Float {
		i := v.Int() // of a Bool 0 or 1
		e.put(magnitude(i), -lowest, negative != (i < 0))
		return
	}
	e.floats = true
	f := v.Float()
	if math.IsInf(f, 0) {
		up := (f > 0) != negative
		e.up, e.down = e.up || up, e.down || !up
		return
	}
	mantissa, exponent := math.Float64bits(f)&(1<<52-1), int(math.Float64bits(f)>>52&0x7ff)
	if exponent > 0 {
		mantissa |= 1 << 52
		exponent--
	}
	e.put(mantissa, exponent, negative != math.Signbit(f))
}

// magnitude returns |i|, also of the least int64.
func magnitude(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}

// put adds ±m·2^(at+lowest).
func (e *exact) put(m uint64, at int, negative bool) {
	if e.adds++; e.adds == mostAdds {
		e.carry()
	}
	high, low := bits.Mul64(m, 1<<(at%32))
	pieces := [3]int64{int64(low & math.MaxUint32), int64(low >> 32), int64(high)}
	for i, p := range pieces {
		if negative {
			p = -p
		}
		e.words[at/32+i] += p
	}
}

// carry leaves less than 2^32 in each word but the last.
func (e *exact) carry() {
	e.adds = 0
	for i := range words - 1 {
		over := e.words[i] >> 32
		e.words[i] -= over << 32
		e.words[i+1] += over
	}
}

// whole returns the sum in units of 2^lowest.
func (e *exact) whole() *big.Int {
	total, word := new(big.Int), new(big.Int)
	for i := words - 1; i >= 0; i-- {
		total.Lsh(total, 32).Add(total, word.SetInt64(e.words[i]))
	}
	return total
}

// infinite returns the sum when infinities are in it.
func (e *exact) infinite() (float64, bool) {
	switch {
	case e.up && e.down:
		return math.NaN(), true
	case e.up:
		return math.Inf(1), true
	case e.down:
		return math.Inf(-1), true
	}
	return 0, false
}

// sum returns the sum: of ints with all its digits, else the float64 nearest to it.
func (e *exact) sum() api.Digits {
	if f, ok := e.infinite(); ok {
		return api.FloatDigits(f)
	}
	if !e.floats {
		total := e.whole()
		return api.Digits(total.Rsh(total, -lowest).String())
	}
	return e.mean(1)
}

// mean returns the float64 nearest to the sum's n-th part.
func (e *exact) mean(n uint64) api.Digits {
	if f, ok := e.infinite(); ok {
		return api.FloatDigits(f)
	}
	unit := new(big.Int).Lsh(new(big.Int).SetUint64(n), -lowest)
	f, _ := new(big.Rat).SetFrac(e.whole(), unit).Float64()
	return api.FloatDigits(f)
}

// compare compares two numbers by what they are, though one be a float and the other an int that no float is.
func compare(a, b schema.Value) int {
	switch af, bf := a.Kind() == schema.Float, b.Kind() == schema.Float; {
	case af && bf:
		return cmp.Compare(a.Float(), b.Float())
	case !af && !bf:
		return cmp.Compare(a.Int(), b.Int())
	case af:
		return -compare(b, a)
	case math.IsInf(b.Float(), 0):
		return -int(math.Copysign(1, b.Float()))
	default:
		return new(big.Float).SetInt64(a.Int()).Cmp(big.NewFloat(b.Float()))
	}
}

// digits returns a number's own digits.
func digits(v schema.Value) api.Digits {
	if v.Kind() == schema.Float {
		return api.FloatDigits(v.Float())
	}
	return api.Digits(schema.IntValue(v.Int()).String())
}
