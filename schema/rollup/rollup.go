// Package rollup is the format of a rollup: what a gateway's sensors did over an hour or a day, as count, sum, smallest,
// largest, first and last of each. It gives the computation from readings and the codec; which rollups count, and when
// they are computed, is left to others. Its invariant: equal readings give equal bytes, in whatever blocks they lay.
//
// # Version 1
//
// Uvarint, zigzag, names and values are those of schema/internal/wire.
//
//	3 bytes  "BRU"
//	byte     version
//	byte     u: times are in units of 10^u ns, 0 to 9, the largest that all times are multiples of
//	zigzag   base: the earliest first time, in units
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

// Magic and Version begin every rollup.
const (
	Magic   = "BRU"
	Version = 1
)

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
	unit, base := scale(stats)
	dst = append(dst, byte(unit))
	dst = wire.AppendZigzag(dst, base)
	dst = binary.AppendUvarint(dst, uint64(len(stats)))
	before := ""
	for i := range stats {
		s := &stats[i]
		dst = wire.AppendName(dst, before, s.Sensor)
		before = s.Sensor
		dst = binary.AppendUvarint(dst, s.Count)
		dst = binary.AppendUvarint(dst, s.Count-s.Numbers)
		dst = wire.AppendValue(wire.AppendValue(dst, s.First), s.Last)
		dst = binary.AppendUvarint(dst, uint64(s.FirstTime/units[unit]-base))
		dst = binary.AppendUvarint(dst, uint64(s.LastTime/units[unit]-s.FirstTime/units[unit]))
		if s.Numbers > 0 {
			dst = wire.AppendFloat(wire.AppendFloat(wire.AppendFloat(dst, s.Min), s.Max), s.Sum)
		}
	}
	return wire.Seal(dst, start)
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

// Decode reads a rollup. An error is Invalid: the bytes are no rollup, of a version that is not known, or damaged.
func Decode(data []byte) ([]Stat, error) {
	body, sealed := wire.Unseal(data)
	c := wire.NewCursor(body)
	if string(c.Bytes(uint64(len(Magic)))) != Magic {
		return nil, schema.Errorf(schema.Invalid, "%d bytes are no rollup: they do not begin with %s", len(data), Magic)
	}
	version := c.Byte()
	if !sealed {
		return nil, schema.Errorf(schema.Invalid, "a rollup of %d bytes cannot be read: its checksum is wrong", len(data))
	}
	if version != Version {
		return nil, schema.Errorf(schema.Invalid, "a rollup of %d bytes cannot be read: version %d is not known to this release", len(data), version)
	}
	unit, base := c.Byte(), c.Zigzag()
	count := c.Count(uint64(c.Left()))
	if unit > maxUnit {
		c.Fail()
	}
	if !c.OK() {
		count = 0
	}
	stats := make([]Stat, 0, count)
	names := wire.NameReader{Limit: schema.MaxSensorName}
	for range count {
		s := Stat{Sensor: names.Next(c)}
		readStat(c, &s, units[unit], base)
		if !c.OK() {
			break
		}
		stats = append(stats, s)
	}
	if !c.Done() {
		return nil, schema.Errorf(schema.Invalid, "a rollup of %d bytes cannot be read: it is damaged at byte %d", len(data), len(body)-c.Left())
	}
	return stats, nil
}

func readStat(c *wire.Cursor, s *Stat, unit, base int64) {
	s.Count = c.Uvarint()
	others := c.Uvarint()
	if others > s.Count {
		c.Fail()
		return
	}
	s.Numbers = s.Count - others
	s.First, s.Last = c.Value(), c.Value()
	first := base + int64(c.Uvarint())
	s.FirstTime, s.LastTime = first*unit, (first+int64(c.Uvarint()))*unit
	if s.Numbers > 0 {
		s.Min, s.Max, s.Sum = c.Float(), c.Float(), c.Float()
	}
}
