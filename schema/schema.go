// Package schema is Berth's vocabulary: the words that every other package shares, as types.
//
// It gives readings and their values, positions in a provider's log, the names of providers, gateways and sensors with
// the rules they obey, slots and ports, and a few kinds of error. Each shape that outlives a process is a package
// below it (batch, block, rollup, catalog, record), drawn beside its code. Its one invariant: it imports nothing but
// the standard library, so that it can be understood, and trusted, alone.
package schema

import "time"

// Reading is one value of one sensor of a gateway at one time. Its identity is (Gateway, Sensor, Time); of two values
// that claim one identity the one with the later [Position] wins, whatever its kind.
type Reading struct {
	Gateway string
	Sensor  string
	Time    int64 // nanoseconds since 1970-01-01 UTC
	Value   Value
}

// Nanoseconds in the spans that storage is cut by.
const (
	HourSpan = int64(time.Hour)
	DaySpan  = 24 * HourSpan
	WeekSpan = 7 * DaySpan
)

// LateAfter is how long after it was measured a reading may come and not be late.
const LateAfter = time.Hour

// Late reports whether a reading of a time that the log received at another came late, both in nanoseconds. What the log
// received of it is fixed there: the same reading of the log is late or not however often it is read.
func Late(t, received int64) bool { return t < received-int64(LateAfter) }

// Start returns the start of the span of the given length (HourSpan, DaySpan) that t lies in, also before 1970.
func Start(t, span int64) int64 {
	r := t % span
	if r < 0 {
		r += span
	}
	return t - r
}

// Limits that hold for every provider, because protocols and encodings rely on them.
const (
	// MaxFrame is the longest payload of one frame, in bytes.
	MaxFrame = 1 << 20
	// MaxBody is the longest HTTP body, in bytes, also when decompressed.
	MaxBody = 32 << 20
	// MaxGatewayName is the longest name of a gateway, in bytes.
	MaxGatewayName = 128
	// MaxSensorName is the longest name of a sensor, in bytes.
	MaxSensorName = 255
	// MaxText is the longest text value, in bytes.
	MaxText = 16 << 10
)
