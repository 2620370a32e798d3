// Package rollup is the format of a rollup: what a gateway's sensors did over an hour or a day, as count, sum, smallest,
// largest, first and last of each. It gives the computation from readings and the codec; which rollups count, and when
// they are computed, is left to others. Its invariant: equal readings give equal bytes, in whatever blocks they lay.
//
// # Version 2
//
// Uvarint, zigzag, names and values are those of schema/internal/wire.
//
//	3 bytes  "BRU"
//	byte     version
//	uvarint  length of what comes before u; so far all rollups of a gateway are mostly the same: see [Head]
//	uvarint  number of sensors, then their names, sorted, each front-coded against the one before
//	byte     u: times are in units of 10^u ns, 0 to 9, the largest that all times are multiples of
//	zigzag   base: the earliest first time, in units
//	         for each sensor:
//	byte       coding (2 bits) | 4 if count and times follow, else they are those of the sensor before | 8, see below | scale << 4
//	[uvarint]  count of readings
//	[uvarint]  first time - base
//	[uvarint]  last time - first time
//	           coding 1, 2, 3, all values are decimals, ints, bools; the numbers are n / 10^scale:
//	zigzag       smallest n
//	uvarint      largest n - smallest; unless it is 0
//	[uvarint]      first n - smallest
//	[uvarint]      last n - smallest
//	zigzag       n of the sum - count * (smallest + (largest - smallest) / 2 rounded down), modulo 2^64; with 8 the sum is a float
//	           coding 0, anything else:
//	[uvarint]    with 8: readings whose value is no number
//	value        first
//	value        last
//	floats       smallest, largest, sum; none if no value is a number
//	4 bytes  CRC-32C of all before, lowest byte first
//
// # Version 1
//
// It is read, and no longer written.
//
//	3 bytes  "BRU"
//	byte     version
//	byte     u
//	zigzag   base
//	uvarint  number of sensors; for each, sorted by name:
//	           name     front-coded against the one before
//	           uvarint  count of readings
//	           uvarint  readings whose value is no number
//	           value    first
//	           value    last
//	           uvarint  first time - base
//	           uvarint  last time - first time
//	           floats   smallest, largest, sum; none if no value is a number
//	4 bytes  CRC-32C of all before, lowest byte first
package rollup

import (
	"encoding/binary"
	"math"

	"berth/schema"
	"berth/schema/block"
	"berth/schema/internal/wire"
)

// Magic and Version begin every rollup that is written.
const (
	Magic   = "BRU"
	Version = 2
)

// headSize is the length of what begins every rollup.
const headSize = len(Magic) + 1

const maxUnit = 9

var units = [maxUnit + 1]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// Stat is what one sensor did. Sum, Min and Max are of the values that are numbers, as schema.Value.Number has them;
// they are zero where there are none.
type Stat struct {
	Sensor              string
	Count               uint64 // of readings
	Numbers             uint64 // of readings whose value is a number
	Sum, Min, Max       float64
	First, Last         schema.Value
	FirstTime, LastTime int64
}

// Compute returns the statistics of each series that holds a reading. Sums are compensated (Neumaier), in order of
// time. A NaN and a text count in Count, and can be First and Last.
func Compute(series []block.Series) []Stat {
	stats := make([]Stat, 0, len(series))
	for i := range series {
		if series[i].Len() > 0 {
			stats = append(stats, compute(&series[i]))
		}
	}
	return stats
}

func compute(s *block.Series) Stat {
	n := s.Len()
	stat := Stat{
		Sensor: s.Sensor, Count: uint64(n), First: s.Value(0), Last: s.Value(n - 1),
		FirstTime: s.Times[0], LastTime: s.Times[n-1],
	}
	carry := 0.0 // what rounding took from Sum
	for i := range n {
		x, ok := schema.BitsValue(s.Kinds[i], s.Bits[i]).Number()
		if !ok {
			continue
		}
		if stat.Numbers == 0 {
			stat.Min, stat.Max = x, x
		}
		stat.Numbers++
		stat.Min, stat.Max = min(stat.Min, x), max(stat.Max, x)
		sum := stat.Sum + x
		if math.Abs(stat.Sum) >= math.Abs(x) {
			carry += stat.Sum - sum + x
		} else {
			carry += x - sum + stat.Sum
		}
		stat.Sum = sum
	}
	if sum := stat.Sum + carry; !math.IsNaN(sum) {
		stat.Sum = sum // with infinities among the values the carry means nothing
	}
	return stat
}

// Encode appends the statistics, which are sorted by sensor, as a rollup.
func Encode(dst []byte, stats []Stat) []byte {
	start := len(dst)
	dst = append(append(dst, Magic...), Version)
	dst = wire.AppendSized(dst, func(dst []byte) []byte { return appendNames(dst, stats) })
	unit, base := scale(stats)
	dst = append(dst, byte(unit))
	dst = wire.AppendZigzag(dst, base)
	before := &Stat{}
	for i := range stats {
		dst = appendStat(dst, &stats[i], before, units[unit], base)
		before = &stats[i]
	}
	return wire.Seal(dst, start)
}

func appendNames(dst []byte, stats []Stat) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(stats)))
	before := ""
	for i := range stats {
		dst = wire.AppendName(dst, before, stats[i].Sensor)
		before = stats[i].Sensor
	}
	return dst
}

// Head returns how long the beginning of a rollup is that says no more than whose it is: all rollups of the same sensors
// begin with the same bytes. It is 0 where there is none such.
func Head(data []byte) int {
	if len(data) < headSize || string(data[:len(Magic)]) != Magic || data[len(Magic)] != Version {
		return 0
	}
	c := wire.NewCursor(data[headSize:])
	c.Bytes(c.Uvarint())
	if !c.OK() {
		return 0
	}
	return headSize + c.Offset()
}

// scale returns the unit of times and the earliest of them in it.
func scale(stats []Stat) (unit int, base int64) {
	if len(stats) == 0 {
		return 0, 0
	}
	unit, base = maxUnit, stats[0].FirstTime
	for i := range stats {
		for stats[i].FirstTime%units[unit] != 0 || stats[i].LastTime%units[unit] != 0 {
			unit--
		}
		base = min(base, stats[i].FirstTime)
	}
	return unit, base / units[unit]
}
