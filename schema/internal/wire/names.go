package wire

import "encoding/binary"

// AppendName appends name as what it shares with the name before it and what follows:
//
//	byte      shared length (high four bits) and length of the rest (low four bits), each 15 if it is that or more
//	[uvarint] shared length - 15
//	[uvarint] length of the rest - 15
//	bytes     the rest
func AppendName(dst []byte, before, name string) []byte {
	shared := 0
	for most := min(len(before), len(name)); shared < most && before[shared] == name[shared]; {
		shared++
	}
	rest := len(name) - shared
	dst = append(dst, byte(min(shared, 15)<<4|min(rest, 15)))
	if shared >= 15 {
		dst = binary.AppendUvarint(dst, uint64(shared-15))
	}
	if rest >= 15 {
		dst = binary.AppendUvarint(dst, uint64(rest-15))
	}
	return append(dst, name[shared:]...)
}

// NameReader reads names that AppendName wrote, each of at most Limit bytes.
type NameReader struct {
	Limit  int
	before []byte
}

// Next reads the next name.
func (r *NameReader) Next(c *Cursor) string {
	if !r.read(c) {
		return ""
	}
	return string(r.before)
}

func (r *NameReader) read(c *Cursor) bool {
	head := c.Byte()
	shared, rest := int(head>>4), int(head&15)
	if shared == 15 {
		shared += c.Count(uint64(r.Limit))
	}
	if rest == 15 {
		rest += c.Count(uint64(r.Limit))
	}
	tail := c.Bytes(uint64(rest))
	if !c.OK() || shared > len(r.before) || shared+rest > r.Limit {
		c.Fail()
		return false
	}
	r.before = append(r.before[:shared], tail...)
	return true
}

// Names reads count names of at most limit bytes each that AppendName wrote one after another. They share one string.
func (c *Cursor) Names(count, limit int) []string {
	if count > c.Left() {
		c.Fail()
		return nil
	}
	r := NameReader{Limit: limit}
	all, ends := make([]byte, 0, 2*c.Left()), make([]int, count)
	for i := range ends {
		if !r.read(c) {
			return nil
		}
		all = append(all, r.before...)
		ends[i] = len(all)
	}
	names, shared, start := make([]string, count), string(all), 0
	for i, end := range ends {
		names[i], start = shared[start:end], end
	}
	return names
}
