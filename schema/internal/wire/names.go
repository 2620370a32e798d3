package wire

import "encoding/binary"

// Shared returns how long the beginning is that two names share.
func Shared(a, b string) int {
	n := 0
	for most := min(len(a), len(b)); n < most && a[n] == b[n]; {
		n++
	}
	return n
}

// AppendName appends name as what it shares with the name before it, and the rest:
//
//	byte      shared length (high four bits) and length of the rest (low four bits), each 15 if it is that or more
//	[uvarint] shared length - 15
//	[uvarint] length of the rest - 15
//	bytes     the rest
func AppendName(dst []byte, before, name string) []byte {
	shared := Shared(before, name)
	return append(AppendNameHead(dst, shared, len(name)-shared), name[shared:]...)
}

// AppendNameHead appends what AppendName appends before the rest.
func AppendNameHead(dst []byte, shared, rest int) []byte {
	dst = append(dst, byte(min(shared, 15)<<4|min(rest, 15)))
	if shared >= 15 {
		dst = binary.AppendUvarint(dst, uint64(shared-15))
	}
	if rest >= 15 {
		dst = binary.AppendUvarint(dst, uint64(rest-15))
	}
	return dst
}

// NameHead says how long the beginning is that a name shares with the one before it, and how long its rest is.
type NameHead struct{ Shared, Rest int }

func readNameHead(c *Cursor, limit int) NameHead {
	head := c.Byte()
	h := NameHead{Shared: int(head >> 4), Rest: int(head & 15)}
	if h.Shared == 15 {
		h.Shared += c.Count(uint64(limit))
	}
	if h.Rest == 15 {
		h.Rest += c.Count(uint64(limit))
	}
	return h
}

// ReadNameHeads reads count heads that AppendNameHead wrote, of names of at most limit bytes.
func ReadNameHeads(c *Cursor, count, limit int) []NameHead {
	if count > c.Left() {
		c.Fail()
		return nil
	}
	heads := make([]NameHead, count)
	for i := range heads {
		heads[i] = readNameHead(c, limit)
	}
	return heads
}

// ReadNames makes names of at most limit bytes from their heads and rests, which must be neither too short nor too long.
// The names share one string.
func ReadNames(heads []NameHead, rests []byte, limit int) ([]string, bool) {
	size, before := 0, 0
	for _, h := range heads {
		if h.Shared > before || h.Shared+h.Rest > limit {
			return nil, false
		}
		before = h.Shared + h.Rest
		size += before
	}
	c := NewCursor(rests)
	all, start := make([]byte, 0, size), 0
	for _, h := range heads {
		at := len(all)
		all = append(all, all[start:start+h.Shared]...)
		all = append(all, c.Bytes(uint64(h.Rest))...)
		start = at
	}
	if !c.Done() {
		return nil, false
	}
	names, shared := make([]string, len(heads)), string(all)
	for i, h := range heads {
		names[i], shared = shared[:h.Shared+h.Rest], shared[h.Shared+h.Rest:]
	}
	return names, true
}

// NameReader reads names that AppendName wrote, each of at most Limit bytes.
type NameReader struct {
	Limit  int
	before []byte
}

// Next reads the next name.
func (r *NameReader) Next(c *Cursor) string { return string(r.NextBytes(c)) }

// NextBytes reads the next name, which is good until the next call.
func (r *NameReader) NextBytes(c *Cursor) []byte {
	h := readNameHead(c, r.Limit)
	rest := c.Bytes(uint64(h.Rest))
	if !c.OK() || h.Shared > len(r.before) || h.Shared+h.Rest > r.Limit {
		c.Fail()
		return nil
	}
	r.before = append(r.before[:h.Shared], rest...)
	return r.before
}
