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

// appendLates appends for each column which of its readings came late.
func appendLates(dst []byte, columns []Column) []byte {
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

// readLates reads which readings of each column came late.
func (r *Reader) readLates(c *wire.Cursor) bool {
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
