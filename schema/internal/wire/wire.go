// Package wire holds what the stored formats share: a cursor that reads untrusted bytes without ever running past them,
// the short form of a number, front-coded names, and the CRC-32C that closes every stored shape. What the bytes mean is
// left to the formats. Its one invariant: no input, however wrong, makes it panic, or allocate by a count that the input
// does not back byte for byte.
//
//	uvarint   7 bits a byte, lowest first, the top bit set on all but the last
//	zigzag    uvarint of (v << 1) ^ (v >> 63): small magnitudes are short
package wire

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"sync"
)

// ChecksumSize is the length of the checksum that closes a stored shape.
const ChecksumSize = 4

var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// Seal appends the CRC-32C of dst[start:].
func Seal(dst []byte, start int) []byte {
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli()))
}

// Unseal returns data without its checksum, and whether the checksum is right.
func Unseal(data []byte) ([]byte, bool) {
	if len(data) < ChecksumSize {
		return nil, false
	}
	body := data[:len(data)-ChecksumSize]
	return body, binary.LittleEndian.Uint32(data[len(body):]) == crc32.Checksum(body, castagnoli())
}

// Zigzag maps small magnitudes to small numbers.
func Zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// Unzigzag is the inverse of Zigzag.
func Unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// AppendZigzag appends v as a zigzag varint.
func AppendZigzag(dst []byte, v int64) []byte { return binary.AppendUvarint(dst, Zigzag(v)) }

// AppendString appends the length of s and s.
func AppendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// AppendSized appends what write appends behind its length.
func AppendSized(dst []byte, write func([]byte) []byte) []byte {
	start := len(dst)
	dst = write(append(dst, 0))
	size := len(dst) - start - 1
	if size < 0x80 {
		dst[start] = byte(size)
		return dst
	}
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(size))
	dst = append(dst, length[1:n]...)
	copy(dst[start+n:], dst[start+1:start+1+size])
	copy(dst[start:], length[:n])
	return dst
}

// Cursor reads bytes from the front. After the first read that the bytes cannot satisfy every read gives zero, and OK
// is false: a decoder may read on and ask once, as long as it checks counts before it allocates by them.
type Cursor struct {
	data []byte // all of it: a pointer that moved would cost a write barrier at each read while garbage is collected
	at   int    // what is read next
	bad  bool
}

// NewCursor returns a cursor at the start of data.
func NewCursor(data []byte) *Cursor { return &Cursor{data: data} }

// OK reports whether all reads so far were satisfied.
func (c *Cursor) OK() bool { return !c.bad }

// Done reports whether all reads were satisfied and nothing is left.
func (c *Cursor) Done() bool { return !c.bad && c.at == len(c.data) }

// Left returns how many bytes are left.
func (c *Cursor) Left() int { return len(c.data) - c.at }

// Offset returns how many bytes were read.
func (c *Cursor) Offset() int { return c.at }

// Fail makes the cursor bad.
func (c *Cursor) Fail() { c.bad, c.at = true, len(c.data) }

// Byte reads a byte.
func (c *Cursor) Byte() byte {
	if c.at >= len(c.data) {
		c.Fail()
		return 0
	}
	b := c.data[c.at]
	c.at++
	return b
}

// Peek returns the byte that is read next, without reading it; 0 at the end.
func (c *Cursor) Peek() byte {
	if c.at >= len(c.data) {
		return 0
	}
	return c.data[c.at]
}

// Bytes reads n bytes; they share the cursor's memory.
func (c *Cursor) Bytes(n uint64) []byte {
	if n > uint64(c.Left()) {
		c.Fail()
		return nil
	}
	end := c.at + int(n)
	b := c.data[c.at:end:end]
	c.at = end
	return b
}

// Uint64 reads eight bytes, lowest first.
func (c *Cursor) Uint64() uint64 {
	b := c.Bytes(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// Uvarint reads a uvarint.
func (c *Cursor) Uvarint() uint64 {
	if c.at < len(c.data) && c.data[c.at] < 0x80 {
		u := uint64(c.data[c.at])
		c.at++
		return u
	}
	u, n := binary.Uvarint(c.data[c.at:])
	if n <= 0 {
		c.Fail()
		return 0
	}
	c.at += n
	return u
}

// Skip passes over n uvarints or zigzag varints, one at least, eight bytes at a time.
func (c *Cursor) Skip(n int) {
	for ; c.Left() >= 8; c.at += 8 {
		ends := ^binary.LittleEndian.Uint64(c.data[c.at:]) & 0x8080808080808080 // a bit for each byte that ends a varint
		for ; ends != 0; ends &= ends - 1 {
			if n--; n == 0 {
				c.at += bits.TrailingZeros64(ends)/8 + 1
				return
			}
		}
	}
	for ; c.at < len(c.data); c.at++ {
		if c.data[c.at] >= 0x80 {
			continue
		}
		if n--; n == 0 {
			c.at++
			return
		}
	}
	c.Fail()
}

// Zigzag reads a zigzag varint.
func (c *Cursor) Zigzag() int64 { return Unzigzag(c.Uvarint()) }

// Count reads a uvarint that may be at most limit.
func (c *Cursor) Count(limit uint64) int {
	u := c.Uvarint()
	if u > limit {
		c.Fail()
		return 0
	}
	return int(u)
}

// String reads a length of at most limit, and as many bytes.
func (c *Cursor) String(limit uint64) string { return string(c.Bytes(uint64(c.Count(limit)))) }
