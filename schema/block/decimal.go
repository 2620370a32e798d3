package block

import (
	"math"

	"berth/schema/internal/wire"
)

// Floats that a device printed as decimals are kept as the integers n of n / 10^scale; the quotient of two exact
// float64 is correctly rounded, so it is the very float that parsing the decimal gave. A few that are none (NaN, -0.0,
// infinities, a computed value among printed ones) are exceptions, kept bit for bit beside the integers.

// A decimal that went through a float32: both 10^singleScale and integers to singleMost are exact there.
const (
	singleScale = 10
	singleMost  = 1 << 24
)

// decimals are the floats of a column as integers.
type decimals struct {
	ints       []int64
	exceptions []int // indexes of floats that are no decimals; ints repeats a neighbor there
	scale      int
	single     bool  // n / 10^scale was rounded to a float32, and that widened
	greatest   int64 // magnitude in ints
}

// find fills d from the floats; false says that more than one in sixteen is no decimal of a common scale.
func (d *decimals) find(floats []uint64, single bool) bool {
	d.ints = resize(d.ints, len(floats))
	d.exceptions, d.scale, d.single, d.greatest = d.exceptions[:0], 0, single, 0
	for i, b := range floats {
		n, ok := d.fit(math.Float64frombits(b), d.scale)
		if !ok {
			n, ok = d.raise(math.Float64frombits(b), i)
		}
		if !ok {
			d.exceptions = append(d.exceptions, i)
			if len(d.exceptions) > len(floats)/16+1 {
				return false
			}
			continue
		}
		d.ints[i] = n
		d.greatest = max(d.greatest, n, -n)
	}
	return d.fill()
}

// fit returns n with n / 10^scale == f, bit for bit, if there is one.
func (d *decimals) fit(f float64, scale int) (int64, bool) {
	if !d.single {
		return wire.Scaled(f, scale)
	}
	n := math.RoundToEven(f * wire.Power(scale))
	if !(n <= singleMost && n >= -singleMost) {
		return 0, false
	}
	return int64(n), math.Float64bits(decimalFloat(int64(n), scale, true)) == math.Float64bits(f)
}

// raise finds a larger scale at which f, of index i, is a decimal, and brings the integers before it to that scale.
func (d *decimals) raise(f float64, i int) (int64, bool) {
	most, largest := wire.MaxScale, int64(wire.MaxDecimal)
	if d.single {
		most, largest = singleScale, singleMost
	}
	factor := int64(1)
	for scale := d.scale + 1; scale <= most; scale++ {
		factor *= 10
		n, ok := d.fit(f, scale)
		if !ok {
			continue
		}
		if d.greatest > largest/factor {
			return 0, false
		}
		for j := range d.ints[:i] {
			d.ints[j] *= factor // at exceptions too, where they mean nothing
		}
		d.greatest *= factor
		d.scale = scale
		return n, true
	}
	return 0, false
}

// fill gives exceptions the integer of a neighbor; false says that there is none.
func (d *decimals) fill() bool {
	if len(d.exceptions) == 0 {
		return true
	}
	if len(d.exceptions) == len(d.ints) {
		return false
	}
	start := 0
	for start < len(d.exceptions) && d.exceptions[start] == start {
		start++
	}
	for i := range start {
		d.ints[i] = d.ints[start]
	}
	for _, i := range d.exceptions[start:] {
		d.ints[i] = d.ints[i-1]
	}
	return true
}

// decimalFloat returns the float of n / 10^scale.
func decimalFloat(n int64, scale int, single bool) float64 {
	if single {
		return float64(float32(n) / float32(wire.Power(scale)))
	}
	return float64(n) / wire.Power(scale)
}
