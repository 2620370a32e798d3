package gateways

import (
	"encoding/binary"
	"math"
	"strconv"

	"berth/schema"
)

// formats maps a format's name to how a frame of a gateway is written in it.
var formats = map[string]func(f *Fleet, dst []byte, g *gateway, frame int64) []byte{
	"line":       (*Fleet).appendLines,
	"senml+json": (*Fleet).appendSenMLJSON,
	"senml+cbor": (*Fleet).appendSenMLCBOR,
}

// senml reports whether the fleet sends SenML. Its numbers are floats, and its names have units.
func (f *Fleet) senml() bool { return f.options.Format != "line" }

// unitOf is the unit of sensor s in SenML; only decimals have one.
func unitOf(s int) string { return [...]string{"Cel", "Pa", "", "", ""}[kindOf(s)] }

// sensorName returns the name that the API gives to sensor s.
func (f *Fleet) sensorName(s int) string {
	if !f.senml() || unitOf(s) == "" {
		return sensorName(s)
	}
	return sensorName(s) + ",unit=" + unitOf(s)
}

// valueAt is the value that is stored of what is sent.
func (f *Fleet) valueAt(g, s, n int) schema.Value {
	v := valueAt(g, s, n)
	if f.senml() && v.Kind() == schema.Int {
		return schema.FloatValue(float64(v.Int()))
	}
	return v
}

// appendSenMLJSON appends frame n of a gateway as a SenML pack in JSON: a record for each reading. The first sets base name
// and base time; the others are at so many seconds from it.
func (f *Fleet) appendSenMLJSON(dst []byte, g *gateway, frame int64) []byte {
	first := int(frame) * f.options.PerFrame
	dst = append(dst, `[{"bn":"unit.","bt":`...)
	dst = appendSeconds(dst, f.timeAt(first))
	dst = append(dst, '}')
	for n := first; n < first+f.options.PerFrame; n++ {
		for s := range f.options.Sensors {
			dst = append(append(append(dst, `,{"n":"`...), fieldName(s)...), '"')
			if unit := unitOf(s); unit != "" {
				dst = append(append(append(dst, `,"u":"`...), unit...), '"')
			}
			if n > first {
				dst = appendSeconds(append(dst, `,"t":`...), f.timeAt(n)-f.timeAt(first))
			}
			switch v := valueAt(g.index, s, n); v.Kind() {
			case schema.Bool:
				dst = append(dst, `,"vb":`...)
			case schema.Text:
				dst = append(dst, `,"vs":`...)
			default:
				dst = append(dst, `,"v":`...)
			}
			dst = appendJSONValue(dst, g.index, s, n)
			dst = append(dst, '}')
		}
	}
	return append(dst, ']')
}

// appendJSONValue appends a value as line protocol writes it, but for the i after an integer: so JSON writes it too.
func appendJSONValue(dst []byte, g, s, n int) []byte {
	dst = appendValue(dst, g, s, n)
	if kindOf(s) == 2 {
		return dst[:len(dst)-1]
	}
	return dst
}

// appendSeconds appends a time of nanoseconds, which is not negative, in seconds.
func appendSeconds(dst []byte, ns int64) []byte {
	dst = append(strconv.AppendInt(dst, ns/1e9, 10), '.')
	decimals := strconv.AppendInt(nil, ns%1e9+1e9, 10)
	return append(dst, decimals[1:]...)
}

// The labels of SenML in CBOR (RFC 8428 §6, table 4), and CBOR's major types.
const (
	cborName, cborUnit, cborValue, cborText, cborBool, cborTime = 0, 1, 2, 3, 4, 6

	majorUint, majorNegative, majorText, majorArray, majorMap, majorTag = 0, 1, 3, 4, 5, 6
)

// appendSenMLCBOR appends frame n of a gateway as the same pack in CBOR. Times are decimal fractions.
func (f *Fleet) appendSenMLCBOR(dst []byte, g *gateway, frame int64) []byte {
	first := int(frame) * f.options.PerFrame
	dst = appendHead(dst, majorArray, uint64(1+f.options.PerFrame*f.options.Sensors))
	dst = appendHead(dst, majorMap, 2)
	dst = appendTextItem(appendHead(dst, majorNegative, 1), "unit.")            // bn
	dst = appendNanoseconds(appendHead(dst, majorNegative, 2), f.timeAt(first)) // bt
	for n := first; n < first+f.options.PerFrame; n++ {
		for s := range f.options.Sensors {
			fields, unit := uint64(2), unitOf(s)
			if unit != "" {
				fields++
			}
			if n > first {
				fields++
			}
			dst = appendHead(dst, majorMap, fields)
			dst = appendTextItem(append(dst, cborName), fieldName(s))
			if unit != "" {
				dst = appendTextItem(append(dst, cborUnit), unit)
			}
			if n > first {
				dst = appendNanoseconds(append(dst, cborTime), f.timeAt(n)-f.timeAt(first))
			}
			dst = appendCBORValue(dst, valueAt(g.index, s, n))
		}
	}
	return dst
}

// appendCBORValue appends the label and the value.
func appendCBORValue(dst []byte, v schema.Value) []byte {
	const no, yes, double = 0xf4, 0xf5, 0xfb
	switch v.Kind() {
	case schema.Bool:
		if v.Bool() {
			return append(dst, cborBool, yes)
		}
		return append(dst, cborBool, no)
	case schema.Text:
		return appendTextItem(append(dst, cborText), v.Text())
	case schema.Int:
		if n := v.Int(); n >= 0 {
			return appendHead(append(dst, cborValue), majorUint, uint64(n))
		}
		return appendHead(append(dst, cborValue), majorNegative, uint64(-1-v.Int()))
	default:
		return binary.BigEndian.AppendUint64(append(dst, cborValue, double), math.Float64bits(v.Float()))
	}
}

// appendNanoseconds appends a time of nanoseconds, which is not negative, in seconds: times ten to the minus nine.
func appendNanoseconds(dst []byte, ns int64) []byte {
	dst = appendHead(appendHead(dst, majorTag, 4), majorArray, 2)
	return appendHead(appendHead(dst, majorNegative, 9-1), majorUint, uint64(ns))
}

func appendTextItem(dst []byte, text string) []byte {
	return append(appendHead(dst, majorText, uint64(len(text))), text...)
}

// appendHead appends the head of an item.
func appendHead(dst []byte, major byte, n uint64) []byte {
	first := major << 5
	switch {
	case n < 24:
		return append(dst, first|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, first|25), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first|27), n)
	}
}
