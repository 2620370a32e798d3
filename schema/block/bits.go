package block

import (
	"encoding/binary"
	"math/bits"
)

// bitWriter appends bits, lowest first, to bytes.
type bitWriter struct {
	dst  []byte
	word uint64
	n    uint // bits in word, under 8 after each flush
}

// reserve makes room for the given number of bits, so that flush need not grow.
func (w *bitWriter) reserve(bitCount uint64) {
	need := int(bitCount/8) + 16
	if cap(w.dst)-len(w.dst) < need {
		grown := make([]byte, len(w.dst), 2*cap(w.dst)+need)
		copy(grown, w.dst)
		w.dst = grown
	}
}

// write appends the low n bits of v, n at most 56; the others are zero.
func (w *bitWriter) write(v uint64, n uint) {
	w.word |= v << w.n
	w.n += n
	at := len(w.dst)
	binary.LittleEndian.PutUint64(w.dst[at:at+8:cap(w.dst)], w.word)
	whole := w.n >> 3
	w.dst = w.dst[:at+int(whole)]
	w.word >>= whole << 3
	w.n &= 7
}

// writeWide appends the low n bits of v, n at most 64.
func (w *bitWriter) writeWide(v uint64, n uint) {
	if n > 56 {
		w.write(v&(1<<32-1), 32)
		v, n = v>>32, n-32
	}
	w.write(v, n)
}

// close pads the last byte with zeros and returns the bytes.
func (w *bitWriter) close() []byte {
	if w.n > 0 {
		w.dst = append(w.dst, byte(w.word))
	}
	return w.dst
}

// bitReader reads what a bitWriter wrote. Past the end it reads zeros; short tells.
type bitReader struct {
	data []byte
	at   uint64 // bit
}

// peek returns the next bits, at least 56 of them.
func (r *bitReader) peek() uint64 {
	at := r.at >> 3
	if at+8 <= uint64(len(r.data)) {
		return binary.LittleEndian.Uint64(r.data[at:at+8]) >> (r.at & 7)
	}
	return r.peekEnd(at)
}

func (r *bitReader) peekEnd(at uint64) uint64 {
	var last [8]byte
	if at < uint64(len(r.data)) {
		copy(last[:], r.data[at:])
	}
	return binary.LittleEndian.Uint64(last[:]) >> (r.at & 7)
}

// read returns the next n bits, n at most 56.
func (r *bitReader) read(n uint) uint64 {
	v := r.peek() & (1<<n - 1)
	r.at += uint64(n)
	return v
}

// readWide returns the next n bits, n at most 64.
func (r *bitReader) readWide(n uint) uint64 {
	if n <= 56 {
		return r.read(n)
	}
	low := r.read(32)
	return low | r.read(n-32)<<32
}

// span is a range of numbers 0..max, each as likely as the next: the truncated binary code spends one bit less on the
// lowest of them where max+1 is no power of two.
type span struct {
	width uint   // bits of the longer code
	short uint64 // numbers below have the shorter code
}

func spanOf(most uint64) span {
	width := uint(bits.Len64(most))
	return span{width: width, short: uint64(1)<<width - most - 1} // for 64 bits the shift gives 0, and all is right
}

// saved returns the bits that the code of x is shorter than width: one or none.
func (s span) saved(x uint64) uint64 {
	_, less := bits.Sub64(x, s.short, 0)
	return less
}

func (w *bitWriter) writeSpan(s span, x uint64) {
	if x < s.short {
		w.writeWide(x, s.width-1)
		return
	}
	x += s.short
	w.writeWide(x>>1|x&1<<(s.width-1), s.width)
}

func (r *bitReader) readSpan(s span) uint64 {
	if s.width == 0 {
		return 0
	}
	x := r.readWide(s.width - 1)
	if x < s.short {
		return x
	}
	return (x<<1 | r.read(1)) - s.short
}

// fastWidth is the widest code that one peek holds whole.
const fastWidth = 56

// readSpans fills out with numbers of the code s.
func readSpans[T int64 | uint64](r *bitReader, s span, out []T) {
	i := 0
	if s.width > 0 && s.width <= fastWidth {
		data, at, prefix := r.data, r.at, s.width-1
		mask := uint64(1)<<prefix - 1
		for ; i < len(out) && at>>3+8 <= uint64(len(data)); i++ {
			word := binary.LittleEndian.Uint64(data[at>>3:]) >> (at & 7)
			x := word & mask
			long := (x<<1 | word>>prefix&1) - s.short
			n := uint64(prefix)
			if x >= s.short {
				x = long
				n++
			}
			at += n
			out[i] = T(x)
		}
		r.at = at
	}
	for ; i < len(out); i++ {
		out[i] = T(r.readSpan(s))
	}
}
