package schema

import (
	"math"
	"strconv"
)

// Kind is the type of a value.
type Kind uint8

// The kinds of value. The numbers are stored; they never change.
const (
	Float Kind = 1 // IEEE 754 binary64, every bit kept: NaN payloads and -0.0 too
	Int   Kind = 2 // int64
	Bool  Kind = 3
	Text  Kind = 4 // UTF-8, at most MaxText bytes
)

// Valid reports whether k is one of the kinds above.
func (k Kind) Valid() bool { return k >= Float && k <= Text }

// String returns the kind's name as the API prints it.
func (k Kind) String() string {
	switch k {
	case Float:
		return "float"
	case Int:
		return "int"
	case Bool:
		return "bool"
	case Text:
		return "text"
	default:
		return "kind(" + strconv.Itoa(int(k)) + ")"
	}
}

// Value is a value of one of the four kinds. The zero Value has no kind and is stored nowhere.
type Value struct {
	kind Kind
	bits uint64
	text string
}

// FloatValue returns a value that holds f, bit for bit.
func FloatValue(f float64) Value { return Value{kind: Float, bits: math.Float64bits(f)} }

// IntValue returns a value that holds i.
func IntValue(i int64) Value { return Value{kind: Int, bits: uint64(i)} }

// BoolValue returns a value that holds b.
func BoolValue(b bool) Value {
	v := Value{kind: Bool}
	if b {
		v.bits = 1
	}
	return v
}

// TextValue returns a value that holds s.
func TextValue(s string) Value { return Value{kind: Text, text: s} }

// BitsValue returns the value of a kind other than Text whose [Value.Bits] are bits.
func BitsValue(k Kind, bits uint64) Value { return Value{kind: k, bits: bits} }

// Kind returns the value's kind, 0 for the zero Value.
func (v Value) Kind() Kind { return v.kind }

// Bits returns the value as 64 bits: IEEE 754 of a Float, two's complement of an Int, 0 or 1 of a Bool, 0 of a Text.
func (v Value) Bits() uint64 { return v.bits }

// Float returns the float64 that a Float holds.
func (v Value) Float() float64 { return math.Float64frombits(v.bits) }

// Int returns the int64 that an Int holds.
func (v Value) Int() int64 { return int64(v.bits) }

// Bool returns the bool that a Bool holds.
func (v Value) Bool() bool { return v.bits != 0 }

// Text returns the text that a Text holds.
func (v Value) Text() string { return v.text }

// Number returns the value as a number for charts and rollups: a Bool is 0 or 1. A Text and a NaN have none.
func (v Value) Number() (float64, bool) {
	switch v.kind {
	case Float:
		f := v.Float()
		return f, !math.IsNaN(f)
	case Int:
		return float64(v.Int()), true
	case Bool:
		return float64(v.bits), true
	default:
		return 0, false
	}
}

// String returns the value as text: floats in the shortest form that reads back the same.
func (v Value) String() string {
	switch v.kind {
	case Float:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case Int:
		return strconv.FormatInt(v.Int(), 10)
	case Bool:
		return strconv.FormatBool(v.Bool())
	case Text:
		return v.text
	default:
		return ""
	}
}
