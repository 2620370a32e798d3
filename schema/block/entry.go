package block

import (
	"encoding/binary"
	"math"
	"math/bits"

	"berth/schema"
	"berth/schema/internal/wire"
)

// entry is a column in the directory. Written, it is
//
//	byte      head: kind - 1 (2 bits), coding (3), exceptions (1), times (1), 0 (1)
//	[uvarint] number of the time column, if head says so; else it is that of the column before, at first 0
//	[byte]    scale of a decimal
//	zigzag    first integer of the stream
//	zigzag    last - first
//	uvarint   first - smallest
//	uvarint   largest - first
//	          statistics of the values (stats), not of a Text
//	uvarint   length of the payload
type entry struct {
	head   byte
	coding byte
	times  int
	scale  int
	b      bounds
	size   int
	stats  stats
	values []int64 // of the stream, while writing
}

// stats are the statistics of a column's values that are numbers. Where all are integers or decimals without
// exceptions, what is written is the sum of the stream less first, as zigzag: the rest follows from the bounds. Else
//
//	uvarint   how many of the values are numbers
//	floats    smallest, largest, sum; none if no value is a number
type stats struct {
	numbers       uint64
	min, max, sum float64
}

// add counts x in.
func (s *stats) add(x, carry float64) float64 {
	if s.numbers == 0 {
		s.min, s.max = x, x
	}
	s.numbers++
	s.min, s.max = min(s.min, x), max(s.max, x)
	sum := s.sum + x
	if math.Abs(s.sum) >= math.Abs(x) {
		carry += s.sum - sum + x
	} else {
		carry += x - sum + s.sum
	}
	s.sum = sum
	return carry
}

func statsOf(c *Column) stats {
	var s stats
	carry := 0.0
	for i := range c.Times {
		if x, ok := schema.BitsValue(c.Kind, c.Bits[i]).Number(); ok {
			carry = s.add(x, carry)
		}
	}
	if sum := s.sum + carry; !math.IsNaN(sum) {
		s.sum = sum
	}
	return s
}

// scaled reports whether the statistics follow from the bounds and the sum of the stream.
func (e *entry) scaled() bool {
	switch e.coding {
	case codingInts, codingDecimal:
		return e.head&headExceptions == 0 && uint64(e.b.max)-uint64(e.b.min) < 1<<40
	default:
		return false
	}
}

func (e *entry) append(dst []byte, c *Column) []byte {
	dst = append(dst, e.head|e.coding<<headCodingShift)
	if e.head&headTimes != 0 {
		dst = binary.AppendUvarint(dst, uint64(e.times))
	}
	if e.coding == codingDecimal || e.coding == codingSingle {
		dst = append(dst, byte(e.scale))
	}
	dst = wire.AppendZigzag(dst, e.b.first)
	dst = wire.AppendZigzag(dst, e.b.last-e.b.first)
	dst = binary.AppendUvarint(dst, distance(e.b.first, e.b.min))
	dst = binary.AppendUvarint(dst, distance(e.b.max, e.b.first))
	switch {
	case e.coding == codingTexts:
	case e.scaled():
		sum := int64(0)
		for _, v := range e.values {
			sum += v - e.b.first
		}
		dst = wire.AppendZigzag(dst, sum)
	default:
		s := statsOf(c)
		dst = binary.AppendUvarint(dst, s.numbers)
		if s.numbers > 0 {
			dst = wire.AppendFloat(wire.AppendFloat(wire.AppendFloat(dst, s.min), s.max), s.sum)
		}
	}
	return binary.AppendUvarint(dst, uint64(e.size))
}

// readEntry reads an entry of a column that has n readings, as counts gives them by time column.
func readEntry(c *wire.Cursor, before int, columns []timeColumn) (entry, schema.Kind) {
	head := c.Byte()
	e := entry{head: head, coding: head >> headCodingShift & headCodingMask, times: before}
	kind := schema.Kind(head&headKind) + 1
	if head&headTimes != 0 {
		e.times = c.Count(MaxColumns)
	}
	if !codes(e.coding, kind) || head&headUnused != 0 || e.times >= len(columns) {
		c.Fail()
		return entry{}, kind
	}
	if e.coding == codingDecimal || e.coding == codingSingle {
		e.scale = int(c.Byte())
		if e.scale > wire.MaxScale || e.coding == codingSingle && e.scale > singleScale {
			c.Fail()
			return entry{}, kind
		}
	} else if head&headExceptions != 0 {
		c.Fail()
	}
	e.b.first = c.Zigzag()
	e.b.last = e.b.first + c.Zigzag()
	e.b.min = e.b.first - int64(c.Uvarint())
	e.b.max = e.b.first + int64(c.Uvarint())
	if !within(e.b.first, e.b) || !within(e.b.last, e.b) {
		c.Fail()
	}
	e.readStats(c, uint64(columns[e.times].n))
	e.size = c.Count(math.MaxInt32)
	return e, kind
}

// codes reports whether a coding is for columns of a kind.
func codes(coding byte, kind schema.Kind) bool {
	switch coding {
	case codingInts:
		return kind == schema.Int || kind == schema.Bool
	case codingDecimal, codingSingle, codingDistinct, codingOrdered:
		return kind == schema.Float
	case codingTexts:
		return kind == schema.Text
	default:
		return false
	}
}

func (e *entry) readStats(c *wire.Cursor, n uint64) {
	switch {
	case e.coding == codingTexts:
	case e.scaled():
		power := wire.Power(e.scale)
		e.stats = stats{
			numbers: n, min: float64(e.b.min) / power, max: float64(e.b.max) / power,
			sum: sumOf(e.b.first, n, c.Zigzag()) / power,
		}
	default:
		if e.stats.numbers = uint64(c.Count(n)); e.stats.numbers > 0 {
			e.stats.min, e.stats.max, e.stats.sum = c.Float(), c.Float(), c.Float()
		}
	}
}

// sumOf returns first*n + rest, exactly where that fits an integer.
func sumOf(first int64, n uint64, rest int64) float64 {
	if bits.Len64(max(uint64(first), uint64(-first)))+bits.Len64(n) < 62 && -1<<61 < rest && rest < 1<<61 {
		return float64(first*int64(n) + rest)
	}
	return float64(first)*float64(n) + float64(rest)
}
