package gateways

import (
	"strconv"

	"berth/schema"
)

// sensorName returns the name that the API gives to sensor s of lines.
func sensorName(s int) string { return "unit." + fieldName(s) }

// fieldName returns the field of sensor s in a line; its kind follows from s.
func fieldName(s int) string {
	prefixes := [...]string{"temperature", "pressure", "count", "running", "state"}
	return prefixes[kindOf(s)] + strconv.Itoa(s)
}

// kindOf deals the sensors out over five sorts of value: most are decimals, a few are ints, bools and texts.
func kindOf(s int) int {
	switch s % 8 {
	case 3:
		return 2
	case 5:
		return 3
	case 7:
		return 4
	case 1:
		return 1
	default:
		return 0
	}
}

// decimalAt is the value of a decimal sensor at timestamp n, as a whole number of tenths or hundredths: slow waves, as
// temperatures and pressures make them.
func decimalAt(g, s, n int) (units int64, decimals int) {
	if kindOf(s) == 1 {
		return int64(100_000 + (n*7+g*13+s*31)%2_000), 2
	}
	phase := (n + g*17 + s*5) % 2_000
	return int64(150 + min(phase, 2_000-phase)/10), 1
}

// valueAt is the value of sensor s of gateway g at timestamp n: waves in decimals, a counter, a switch, a word.
func valueAt(g, s, n int) schema.Value {
	switch kindOf(s) {
	case 2:
		return schema.IntValue(int64(n)*3 + int64(g))
	case 3:
		return schema.BoolValue((n/50+g)%3 == 0)
	case 4:
		return schema.TextValue([...]string{"ok", "starting", "needs \"care\"", "stopped, cold"}[(n/200+g+s)%4])
	default:
		units, decimals := decimalAt(g, s, n)
		return schema.FloatValue(float64(units) / [...]float64{1, 10, 100}[decimals])
	}
}

// timeAt returns timestamp n in nanoseconds since the epoch.
func (f *Fleet) timeAt(n int) int64 {
	return f.options.Start.UnixNano() + int64(n)*int64(f.options.Step)
}

// appendFrame appends frame n of a gateway in the fleet's format.
func (f *Fleet) appendFrame(dst []byte, g *gateway, frame int64) []byte {
	return formats[f.options.Format](f, dst, g, frame)
}

// appendLines appends frame n of a gateway as line protocol: a line for each timestamp.
func (f *Fleet) appendLines(dst []byte, g *gateway, frame int64) []byte {
	first := int(frame) * f.options.PerFrame
	for n := first; n < first+f.options.PerFrame; n++ {
		dst = append(dst, "unit,gateway="...)
		dst = append(dst, g.name...)
		for s := range f.options.Sensors {
			dst = append(dst, " ,"[min(s, 1)])
			dst = append(dst, fieldName(s)...)
			dst = append(dst, '=')
			dst = appendValue(dst, g.index, s, n)
		}
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, f.timeAt(n), 10)
		dst = append(dst, '\n')
	}
	return dst
}

// appendValue appends a value as line protocol writes it. Decimals are written from their digits: the sender shares the
// machine with what it measures.
func appendValue(dst []byte, g, s, n int) []byte {
	switch v := valueAt(g, s, n); v.Kind() {
	case schema.Int:
		return append(strconv.AppendInt(dst, v.Int(), 10), 'i')
	case schema.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case schema.Text:
		return strconv.AppendQuote(dst, v.Text())
	default:
		units, decimals := decimalAt(g, s, n)
		dst = strconv.AppendInt(dst, units, 10)
		point := len(dst) - decimals
		dst = append(dst, 0)
		copy(dst[point+1:], dst[point:])
		dst[point] = '.'
		return dst
	}
}
