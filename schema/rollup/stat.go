package rollup

import (
	"encoding/binary"

	"berth/schema"
	"berth/schema/internal/wire"
)

// The head byte of a sensor's statistics.
const (
	headCoding     = 3      // codingValues, or the kind of all values
	headTimes      = 1 << 2 // count and times follow; else they are those of the sensor before
	headOthers     = 1 << 3 // codingValues: some values are no numbers
	headFloatSum   = 1 << 3 // other codings: the sum is no integer
	headScaleShift = 4      // scale, of floats
)

// codingValues is the coding of statistics that are written value by value. The others are numbered as the kind of the
// first and the last value, which is that of numbers: Float, Int, Bool.
const codingValues = 0

// integers are statistics as integers n, each number being n / 10^scale.
type integers struct {
	scale                    int
	first, last, least, most int64
	sum                      int64
	count                    int64
	sumIsOne                 bool // the sum is such an integer, too
}

// middle is about what the sum should be.
func (n *integers) middle() int64 { return n.count * (n.least + (n.most-n.least)/2) }

// integersOf returns the statistics as integers, if they are such.
func integersOf(s *Stat) (n integers, ok bool) {
	kind := s.First.Kind()
	first, number := s.First.Number()
	last, numbers := s.Last.Number()
	if !number || !numbers || s.Last.Kind() != kind || s.Numbers != s.Count {
		return n, false
	}
	all := [...]float64{s.Min, s.Max, first, last}
	most := 0
	if kind == schema.Float {
		most = wire.MaxScale
	}
	to := [...]*int64{&n.least, &n.most, &n.first, &n.last}
	for i := 0; i < len(all); {
		if *to[i], ok = wire.Scaled(all[i], n.scale); ok {
			i++
			continue
		}
		if n.scale == most {
			return n, false
		}
		n.scale, i = n.scale+1, 0 // those before have to be of this scale too
	}
	n.count = int64(s.Count)
	n.sum, n.sumIsOne = wire.Scaled(s.Sum, n.scale)
	return n, n.within()
}

// within reports whether the integers are in the order that they are written by.
func (n *integers) within() bool {
	return -wire.MaxDecimal <= n.least && n.most <= wire.MaxDecimal &&
		n.least <= n.first && n.first <= n.most && n.least <= n.last && n.last <= n.most
}

// valueOf returns the value of a kind that n / 10^scale is.
func valueOf(kind schema.Kind, n int64, scale int) schema.Value {
	switch kind {
	case schema.Int:
		return schema.IntValue(n)
	case schema.Bool:
		return schema.BoolValue(n != 0)
	default:
		return schema.FloatValue(float64(n) / wire.Power(scale))
	}
}

// append appends the integers, without the sum if it is none.
func (n *integers) append(dst []byte) []byte {
	dst = wire.AppendZigzag(dst, n.least)
	dst = binary.AppendUvarint(dst, uint64(n.most-n.least))
	if n.most > n.least {
		dst = binary.AppendUvarint(dst, uint64(n.first-n.least))
		dst = binary.AppendUvarint(dst, uint64(n.last-n.least))
	}
	if n.sumIsOne {
		dst = wire.AppendZigzag(dst, n.sum-n.middle())
	}
	return dst
}

// read reads what append wrote.
func (n *integers) read(c *wire.Cursor) {
	n.least = c.Zigzag()
	n.most = n.least + int64(c.Uvarint())
	n.first, n.last = n.least, n.least
	if n.most > n.least {
		n.first += int64(c.Uvarint())
		n.last += int64(c.Uvarint())
	}
	if !n.within() {
		c.Fail()
	}
	if n.sumIsOne {
		n.sum = c.Zigzag() + n.middle()
	}
}

// appendStat appends what a sensor did; before is of the sensor before, zero for the first.
func appendStat(dst []byte, s, before *Stat, unit, base int64) []byte {
	head := byte(0)
	n, whole := integersOf(s)
	switch {
	case whole:
		head = byte(s.First.Kind()) | byte(n.scale)<<headScaleShift
		if !n.sumIsOne {
			head |= headFloatSum
		}
	case s.Numbers < s.Count:
		head = headOthers
	}
	if s.Count != before.Count || s.FirstTime != before.FirstTime || s.LastTime != before.LastTime {
		head |= headTimes
	}
	dst = append(dst, head)
	if head&headTimes != 0 {
		dst = binary.AppendUvarint(dst, s.Count)
		dst = binary.AppendUvarint(dst, uint64(s.FirstTime/unit-base))
		dst = binary.AppendUvarint(dst, uint64(s.LastTime/unit-s.FirstTime/unit))
	}
	if whole {
		if dst = n.append(dst); !n.sumIsOne {
			dst = wire.AppendFloat(dst, s.Sum)
		}
		return dst
	}
	if head&headOthers != 0 {
		dst = binary.AppendUvarint(dst, s.Count-s.Numbers)
	}
	dst = wire.AppendValue(wire.AppendValue(dst, s.First), s.Last)
	if s.Numbers > 0 {
		dst = wire.AppendFloat(wire.AppendFloat(wire.AppendFloat(dst, s.Min), s.Max), s.Sum)
	}
	return dst
}

// readStat reads what appendStat wrote.
func readStat(c *wire.Cursor, s, before *Stat, unit, base int64) {
	head := c.Byte()
	s.Count, s.FirstTime, s.LastTime = before.Count, before.FirstTime, before.LastTime
	if head&headTimes != 0 {
		readTimes(c, s, unit, base)
	}
	s.Numbers = s.Count
	if kind := schema.Kind(head & headCoding); kind != codingValues {
		readIntegers(c, s, kind, head)
		return
	}
	if head>>headScaleShift != 0 {
		c.Fail()
	}
	if head&headOthers != 0 {
		others := c.Uvarint()
		if others > s.Count {
			c.Fail()
			return
		}
		s.Numbers -= others
	}
	s.First, s.Last = c.Value(), c.Value()
	if s.Numbers > 0 {
		s.Min, s.Max, s.Sum = c.Float(), c.Float(), c.Float()
	}
}

// readTimes reads the count of readings and their times.
func readTimes(c *wire.Cursor, s *Stat, unit, base int64) {
	s.Count = c.Uvarint()
	first := base + int64(c.Uvarint())
	s.FirstTime, s.LastTime = first*unit, (first+int64(c.Uvarint()))*unit
}

// readIntegers reads statistics of numbers of one kind.
func readIntegers(c *wire.Cursor, s *Stat, kind schema.Kind, head byte) {
	n := integers{scale: int(head >> headScaleShift), count: int64(s.Count), sumIsOne: head&headFloatSum == 0}
	if kind != schema.Float && n.scale > 0 {
		c.Fail()
	}
	n.read(c)
	power := wire.Power(n.scale)
	s.First, s.Last = valueOf(kind, n.first, n.scale), valueOf(kind, n.last, n.scale)
	s.Min, s.Max, s.Sum = float64(n.least)/power, float64(n.most)/power, float64(n.sum)/power
	if !n.sumIsOne {
		s.Sum = c.Float()
	}
}
