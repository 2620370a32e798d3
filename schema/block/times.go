package block

import (
	"encoding/binary"
	"slices"

	"berth/schema/internal/wire"
)

// Sensors of a gateway are mostly read together. So a block has a list of time columns, and a sensor names one of them.
// Where a few readings are missing here and there, the first time column is the union of all, and another may be
// written as which of its times are there; the encoder takes what is shorter.

// maxUnit is the largest exponent of the unit of times: seconds.
const maxUnit = 9

// maxPartWork bounds the times of the union that are looked at to decode all parts of it.
const maxPartWork = 1 << 24

// units are the nanoseconds of each unit.
var units = [maxUnit + 1]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// timeSets are the distinct time columns of a block being written.
type timeSets struct {
	sets  [][]int64
	of    []int // of each column of the content
	known map[timesKey]int
	unit  int
	first int64 // of the block, in units

	scaled []int64
	union  []int64
	there  []int64
	ints   ints
}

type timesKey struct {
	n           int
	first, last int64
}

// collect finds the distinct sets of times, and the largest unit that all are multiples of.
func (s *timeSets) collect(columns []Column, first int64) {
	s.sets, s.of = s.sets[:0], s.of[:0]
	clear(s.known)
	for i := range columns {
		t := columns[i].Times
		if i > 0 && slices.Equal(s.sets[s.of[i-1]], t) {
			s.of = append(s.of, s.of[i-1])
			continue
		}
		key := timesKey{len(t), t[0], t[len(t)-1]}
		at, ok := s.known[key]
		if !ok || !slices.Equal(s.sets[at], t) {
			at = len(s.sets)
			s.known[key] = at
			s.sets = append(s.sets, t)
		}
		s.of = append(s.of, at)
	}
	s.unit = maxUnit
	for _, set := range s.sets {
		for _, t := range set {
			for t%units[s.unit] != 0 {
				s.unit--
			}
		}
	}
	s.first = first / units[s.unit]
}

// append appends the time columns. It may change of: the union, where it is written, is column 0.
func (s *timeSets) append(dst []byte) []byte {
	start := len(dst)
	dst = binary.AppendUvarint(dst, uint64(len(s.sets)))
	for _, set := range s.sets {
		dst = s.appendSet(dst, set)
	}
	if len(s.sets) == 1 {
		return dst
	}
	plain := len(dst)
	s.unite()
	if len(s.union)*len(s.sets) > maxPartWork {
		return dst
	}
	dst = s.appendUnion(dst)
	if len(dst)-plain < plain-start {
		s.pointToUnion()
		return append(dst[:start], dst[plain:]...)
	}
	return dst[:plain]
}

// unite fills the union of all sets.
func (s *timeSets) unite() {
	s.union = s.union[:0]
	for _, set := range s.sets {
		s.union = append(s.union, set...)
	}
	slices.Sort(s.union)
	s.union = slices.Compact(s.union)
}

// appendUnion appends the union and each other set as a part of it, or by itself where that is shorter.
func (s *timeSets) appendUnion(dst []byte) []byte {
	count := 1
	for _, set := range s.sets {
		if len(set) < len(s.union) {
			count++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(count))
	dst = s.appendSet(dst, s.union)
	for _, set := range s.sets {
		if len(set) == len(s.union) {
			continue
		}
		start := len(dst)
		dst = s.appendPart(dst, set)
		part := len(dst)
		dst = s.appendSet(dst, set)
		if len(dst)-part < part-start {
			dst = append(dst[:start], dst[part:]...)
		} else {
			dst = dst[:part]
		}
	}
	return dst
}

// pointToUnion renumbers the sets as appendUnion wrote them.
func (s *timeSets) pointToUnion() {
	next, number := 1, make([]int, len(s.sets))
	for i, set := range s.sets {
		if len(set) < len(s.union) {
			number[i] = next
			next++
		}
	}
	for i, at := range s.of {
		s.of[i] = number[at]
	}
}

// appendSet appends a set of times by itself.
func (s *timeSets) appendSet(dst []byte, set []int64) []byte {
	s.scaled = resize(s.scaled, len(set))
	unit := units[s.unit]
	if unit == 1 {
		for i, t := range set {
			s.scaled[i] = t - s.first
		}
	} else {
		for i, t := range set {
			s.scaled[i] = t/unit - s.first
		}
	}
	first, last := s.scaled[0], s.scaled[len(set)-1]
	dst = binary.AppendUvarint(dst, uint64(len(set))<<1)
	dst = binary.AppendUvarint(dst, uint64(first))
	dst = binary.AppendUvarint(dst, uint64(last-first))
	return s.appendStream(dst, s.scaled, bounds{first: first, last: last, min: first, max: last})
}

// appendPart appends which times of the union are in the set, as ones among zeros.
func (s *timeSets) appendPart(dst []byte, set []int64) []byte {
	s.there = resize(s.there, len(s.union))
	at := 0
	for i, t := range s.union {
		s.there[i] = 0
		if at < len(set) && set[at] == t {
			s.there[i] = 1
			at++
		}
	}
	b := bounds{first: s.there[0], last: s.there[len(s.there)-1], max: 1}
	dst = binary.AppendUvarint(dst, uint64(len(set))<<1|1)
	dst = append(dst, byte(b.first|b.last<<1))
	return s.appendStream(dst, s.there, b)
}

// appendStream appends a stream behind its length.
func (s *timeSets) appendStream(dst []byte, v []int64, b bounds) []byte {
	return wire.AppendSized(dst, func(dst []byte) []byte { return s.ints.append(dst, v, b) })
}

// timeColumn is a time column as a block's reader holds it.
type timeColumn struct {
	n     int
	part  bool   // of column 0
	b     bounds // of the stream
	data  []byte
	times []int64 // when decoded
}

// readTimeColumns reads the list of time columns without decoding them. It reports false when it is wrong.
func readTimeColumns(c *wire.Cursor, spanUnits uint64) ([]timeColumn, bool) {
	count := c.Count(MaxColumns + 1)
	if count == 0 || count > c.Left() {
		return nil, false
	}
	columns, readings, parts := make([]timeColumn, count), 0, 0
	for i := range columns {
		t := &columns[i]
		head := c.Uvarint()
		t.part, t.n = head&1 != 0, int(min(head>>1, MaxReadings+1))
		if t.part {
			parts++
			ends := c.Byte()
			t.b = bounds{first: int64(ends & 1), last: int64(ends >> 1 & 1), max: 1}
		} else {
			first := c.Uvarint()
			length := c.Uvarint()
			if first > spanUnits || length > spanUnits-first {
				return nil, false
			}
			t.b = bounds{first: int64(first), last: int64(first + length), min: int64(first), max: int64(first + length)}
		}
		t.data = c.Bytes(c.Uvarint())
		readings += t.n
		if !c.OK() || t.n == 0 || readings > 2*MaxReadings || t.part && (i == 0 || t.n >= columns[0].n) {
			return nil, false
		}
	}
	return columns, parts*columns[0].n <= maxPartWork
}

// decode decodes a time column: all of it, or the part of whole that it is.
func (t *timeColumn) decode(whole []int64, first, unit int64) bool {
	n := t.n
	if t.part {
		n = len(whole)
	}
	times := make([]int64, n)
	if !readInts(times, t.data, t.b) {
		return false
	}
	if t.part {
		at := 0
		for i, there := range times {
			times[at] = whole[i] // what is overwritten was read before
			at += int(there)
			if at > t.n {
				return false
			}
		}
		if at != t.n {
			return false
		}
		t.times = times[:at:at]
		return true
	}
	for i, u := range times {
		if i > 0 && u <= times[i-1] {
			return false
		}
	}
	for i := range times {
		times[i] = (first + times[i]) * unit
	}
	t.times = times
	return true
}
