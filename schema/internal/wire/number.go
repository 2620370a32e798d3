package wire

import (
	"encoding/binary"
	"math"

	"berth/schema"
)

// MaxScale is the largest number of decimals that the short form of a number has.
const MaxScale = 15

// MaxDecimal bounds the digits of a decimal: up to here rounding by addition is exact.
const MaxDecimal = 1 << 51

const roundingMagic = 3 << 51 // adding and subtracting it rounds to an integer, half to even

var powers = [MaxScale + 1]float64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
}

// Power returns 10 to the given scale, at most MaxScale.
func Power(scale int) float64 { return powers[scale] }

// Scaled returns the integer n with n / 10^scale == f, bit for bit, if there is one. Both are exact as float64, so the
// quotient is correctly rounded: it is what parsing the decimal gives.
func Scaled(f float64, scale int) (int64, bool) {
	p := powers[scale]
	r := (f*p + roundingMagic) - roundingMagic
	if !(r <= MaxDecimal && r >= -MaxDecimal) {
		return 0, false // a NaN is here too
	}
	return int64(r), math.Float64bits(r/p) == math.Float64bits(f)
}

// Decimal returns f as n / 10^scale with the smallest scale, if it is such a number.
func Decimal(f float64) (n int64, scale int, ok bool) {
	for scale = range MaxScale + 1 {
		if n, ok = Scaled(f, scale); ok {
			return n, scale, true
		}
	}
	return 0, 0, false
}

// The tags of values; 0 to MaxScale are floats n / 10^tag with n as zigzag.
const (
	tagRaw   = 16 // a float as eight bytes, lowest first
	tagInt   = 17 // zigzag
	tagFalse = 18
	tagTrue  = 19
	tagText  = 20 // length and bytes
	tagNone  = 21 // the zero Value
)

// AppendFloat appends f, every bit kept, in the shorter of its two forms.
func AppendFloat(dst []byte, f float64) []byte {
	if n, scale, ok := Decimal(f); ok && Zigzag(n) < 1<<56 {
		return AppendZigzag(append(dst, byte(scale)), n)
	}
	return binary.LittleEndian.AppendUint64(append(dst, tagRaw), math.Float64bits(f))
}

// AppendValue appends v: a tag, and what the tag announces.
func AppendValue(dst []byte, v schema.Value) []byte {
	switch v.Kind() {
	case schema.Float:
		return AppendFloat(dst, v.Float())
	case schema.Int:
		return AppendZigzag(append(dst, tagInt), v.Int())
	case schema.Bool:
		if v.Bool() {
			return append(dst, tagTrue)
		}
		return append(dst, tagFalse)
	case schema.Text:
		return AppendString(append(dst, tagText), v.Text())
	default:
		return append(dst, tagNone)
	}
}

// Value reads what AppendValue wrote.
func (c *Cursor) Value() schema.Value {
	switch tag := c.Byte(); {
	case tag <= MaxScale:
		return schema.FloatValue(float64(c.Zigzag()) / powers[tag])
	case tag == tagRaw:
		return schema.BitsValue(schema.Float, c.Uint64())
	case tag == tagInt:
		return schema.IntValue(c.Zigzag())
	case tag == tagFalse, tag == tagTrue:
		return schema.BoolValue(tag == tagTrue)
	case tag == tagText:
		return schema.TextValue(c.String(schema.MaxText))
	case tag == tagNone:
		return schema.Value{}
	default:
		c.Fail()
		return schema.Value{}
	}
}

// Float reads what AppendFloat wrote.
func (c *Cursor) Float() float64 {
	v := c.Value()
	if v.Kind() != schema.Float {
		c.Fail()
		return 0
	}
	return v.Float()
}
