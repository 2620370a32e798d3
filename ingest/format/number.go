package format

import (
	"math"
	"strconv"
	"time"
)

// tens are the powers of ten that a float64 holds exactly.
var tens = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// decimal is a number as it is written: ±mantissa·10^exponent. When it has more than 19 digits the mantissa is wrong.
type decimal struct {
	mantissa uint64
	exponent int
	digits   int
	negative bool
	integer  bool // written without a point or exponent
}

// exact returns the float64 nearest to the decimal when that can be had by a single correctly rounded operation: the
// mantissa and the power of ten are both float64s without error (Clinger's fast path).
func (d *decimal) exact() (float64, bool) {
	if d.digits > 19 || d.mantissa > 1<<53 || d.exponent < -22 || d.exponent > 22 {
		return 0, false
	}
	f := float64(d.mantissa)
	if d.exponent < 0 {
		f /= tens[-d.exponent]
	} else {
		f *= tens[d.exponent]
	}
	if d.negative {
		f = -f
	}
	return f, true
}

// float returns the float64 nearest to the decimal, whose text is given; false when that is beyond all finite ones.
func (d *decimal) float(text []byte) (float64, bool) {
	if f, ok := d.exact(); ok {
		return f, true
	}
	f, err := strconv.ParseFloat(string(text), 64)
	return f, err == nil
}

// int returns the decimal, an integer whose text is given, as an int64 if it is one.
func (d *decimal) int(text []byte) (int64, bool) {
	if d.digits <= 19 && d.mantissa <= math.MaxInt64 {
		i := int64(d.mantissa)
		if d.negative {
			i = -i
		}
		return i, true
	}
	i, err := strconv.ParseInt(string(text), 10, 64)
	return i, err == nil
}

// scanDecimal reads a decimal at p[i:] and returns where it ends. It takes a sign, digits with a point anywhere among
// them or at an end, and an exponent. It has no digits when there is none.
func scanDecimal(p []byte, i int) (d decimal, next int) {
	if i < len(p) && (p[i] == '-' || p[i] == '+') {
		d.negative = p[i] == '-'
		i++
	}
	start := i
	m := uint64(0)
	for i < len(p) && p[i]-'0' <= 9 {
		m = m*10 + uint64(p[i]-'0')
		i++
	}
	d.digits = i - start
	d.integer = true
	if i < len(p) && p[i] == '.' {
		d.integer = false
		i++
		point := i
		for i < len(p) && p[i]-'0' <= 9 {
			m = m*10 + uint64(p[i]-'0')
			i++
		}
		d.exponent = point - i
		d.digits += i - point
	}
	d.mantissa = m
	if d.digits > 0 && i < len(p) && p[i]|0x20 == 'e' {
		i = d.scanExponent(p, i)
	}
	return d, i
}

// scanExponent reads the exponent whose e is at p[i]. When no digits follow the e, it is not part of the number.
func (d *decimal) scanExponent(p []byte, i int) int {
	j := i + 1
	negative := false
	if j < len(p) && (p[j] == '-' || p[j] == '+') {
		negative = p[j] == '-'
		j++
	}
	e, start := 0, j
	for j < len(p) && p[j]-'0' <= 9 {
		e = min(e*10+int(p[j]-'0'), 1<<20)
		j++
	}
	if j == start {
		return i
	}
	if negative {
		e = -e
	}
	d.exponent += e
	d.integer = false
	return j
}

// nanoseconds returns an integer times a unit, at the ends of the calendar when it is beyond them.
func nanoseconds(n, unit int64) int64 {
	switch {
	case n > math.MaxInt64/unit:
		return math.MaxInt64
	case n < math.MinInt64/unit:
		return math.MinInt64
	default:
		return n * unit
	}
}

// milliseconds returns a number of milliseconds, whose text is given, in nanoseconds; at the ends of the calendar when it
// is beyond them.
func (d *decimal) milliseconds(text []byte) int64 { return d.nanoseconds(text, time.Millisecond, 6) }

// seconds returns a number of seconds in the same way.
func (d *decimal) seconds(text []byte) int64 { return d.nanoseconds(text, time.Second, 9) }

// nanoseconds returns a number of units, each of 10^power nanoseconds. What is less than a nanosecond is cut off.
func (d *decimal) nanoseconds(text []byte, unit time.Duration, power int) int64 {
	if d.integer {
		if n, ok := d.int(text); ok {
			return nanoseconds(n, int64(unit))
		}
	}
	// The exponent is that of the last digit. Digits beyond the 19th count for their place alone.
	e := d.exponent + power + d.digits
	m, digits := uint64(0), 0
	for _, c := range text {
		if c|0x20 == 'e' {
			break
		}
		if c -= '0'; c > 9 {
			continue
		}
		e--
		if m < 1e18 {
			m, digits = m*10+uint64(c), e
		}
	}
	limit := int64(math.MaxInt64)
	if d.negative {
		limit = math.MinInt64
	}
	for ; digits > 0 && m > 0; digits-- {
		if m > math.MaxInt64/10 {
			return limit
		}
		m *= 10
	}
	for ; digits < 0 && m > 0; digits++ {
		m /= 10
	}
	if m > math.MaxInt64 {
		return limit
	}
	if d.negative {
		return -int64(m)
	}
	return int64(m)
}
