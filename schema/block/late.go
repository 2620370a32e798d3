package block

import (
	"encoding/binary"
	"slices"

	"berth/schema/internal/wire"
)

// hasLate reports whether a reading of the content came late.
func hasLate(c *Content) bool {
	return slices.ContainsFunc(c.Columns, func(c Column) bool { return slices.Contains(c.Late, true) })
}

// The first byte of lates. The numbers are stored; they never change.
const (
	latesAll  = 0 // as of gateways that were away for days, and of what is taken over from elsewhere
	latesEach = 1
	latesNone = 2 // since NewerVersion
)

// allLate is what columns share of which every reading came late; it is never changed.
var allLate = slices.Repeat([]bool{true}, 4096)

// lateAll returns that n readings came late.
func lateAll(n int) []bool {
	if n <= len(allLate) {
		return allLate[:n:n]
	}
	return slices.Repeat([]bool{true}, n)
}

// appendLates appends which readings came late.
func appendLates(dst []byte, columns []Column) []byte {
	onTime := slices.ContainsFunc(columns, func(c Column) bool { return len(c.Late) == 0 || slices.Contains(c.Late, false) })
	if !onTime {
		return append(dst, latesAll)
	}
	dst = append(dst, latesEach)
	var lengths []uint64
	for i := range columns {
		late := columns[i].Late
		if i > 0 && len(late) > 0 && len(columns[i-1].Times) == len(late) && slices.Equal(columns[i-1].Late, late) && slices.Contains(late, true) {
			dst = append(dst, 1)
			continue
		}
		lengths = lengths[:0]
		for len(late) > 0 {
			onTime := slices.Index(late, true)
			if onTime < 0 {
				break
			}
			late = late[onTime:]
			stretch := slices.Index(late, false)
			if stretch < 0 {
				stretch = len(late)
			}
			late = late[stretch:]
			lengths = append(lengths, uint64(onTime), uint64(stretch))
		}
		if len(lengths) == 0 {
			dst = append(dst, 0)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(len(lengths)+1))
		for _, n := range lengths {
			dst = binary.AppendUvarint(dst, n)
		}
	}
	return dst
}

// readLates reads which readings came late.
func (r *Reader) readLates(c *wire.Cursor, version byte) bool {
	switch c.Byte() {
	case latesAll:
		r.allLate = true
		return c.OK()
	case latesEach:
		return r.readEachLate(c)
	case latesNone:
		return version >= NewerVersion
	default:
		return false
	}
}

// late returns which readings of a column came late; it is not to be changed.
func (r *Reader) late(i int) []bool {
	if r.allLate {
		return lateAll(r.times[r.columns[i].times].n)
	}
	return r.columns[i].late
}

func (r *Reader) readEachLate(c *wire.Cursor) bool {
	for i := range r.columns {
		n := r.times[r.columns[i].times].n
		switch said := c.Count(2*MaxReadings + 1); {
		case said == 0:
		case said == 1 && i > 0 && len(r.columns[i-1].late) == n:
			r.columns[i].late = r.columns[i-1].late
		case said > 1 && said&1 == 1 && said/2 <= n && said-1 <= c.Left():
			late := make([]bool, n)
			at := 0
			for range said / 2 {
				at += c.Count(uint64(n - at))
				stretch := c.Count(uint64(n - at))
				for range stretch {
					late[at] = true
					at++
				}
			}
			r.columns[i].late = late
		default:
			return false
		}
	}
	return c.OK()
}

// lateAt reports whether reading i of a column or series came late.
func lateAt(late []bool, i int) bool { return i < len(late) && late[i] }
