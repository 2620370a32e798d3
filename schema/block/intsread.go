package block

import (
	"encoding/binary"
	"math/bits"

	"berth/schema/internal/wire"
)

// readInts reads a stream of n = len(out) integers that ints.append wrote. It reports false when data is no such
// stream; then out holds anything. All values lie within the bounds.
func readInts[T int64 | uint64](out []T, data []byte, b bounds) bool {
	if b.min > b.max || len(out) == 0 {
		return false
	}
	if b.min == b.max {
		for i := range out {
			out[i] = T(b.min)
		}
		return len(data) == 0 && b.first == b.min && b.last == b.min
	}
	c := wire.NewCursor(data)
	head, shared := c.Byte(), uint64(1)
	if head&formShared != 0 {
		shared = c.Uvarint()
	}
	if !c.OK() || shared == 0 || !within(b.first, b) || !within(b.last, b) {
		return false
	}
	s := stream[T]{
		out: out, c: c, shared: shared, least: uint64(b.min),
		most:  distance(b.max, b.min) / shared,
		first: distance(b.first, b.min) / shared,
		last:  distance(b.last, b.min) / shared,
	}
	return s.read(head & formMask)
}

func within(v int64, b bounds) bool { return b.min <= v && v <= b.max }

// stream is a stream of integers being read. Codes give x in 0..most; the value is least + x*shared.
type stream[T int64 | uint64] struct {
	out               []T
	c                 *wire.Cursor
	shared, least     uint64
	most, first, last uint64
	greatest          uint64 // x so far
}

func (s *stream[T]) read(form byte) bool {
	switch form {
	case formPacked:
		return s.readPacked()
	case formDeltas:
		return s.readDeltas()
	case formRice0, formRice1, formRice2:
		return s.readRice(int(form - formRice0))
	case formRuns:
		return s.readRuns()
	case formDigits:
		return s.readDigits()
	case formMoves:
		return s.readMoves()
	default:
		return false
	}
}

// value returns the value of x. It notes an x that lies beyond the bounds.
func (s *stream[T]) value(x uint64) T {
	s.greatest = max(s.greatest, x)
	return T(s.least + x*s.shared)
}

// codes returns a reader of the rest of the stream's bytes.
func (s *stream[T]) codes() bitReader { return bitReader{data: s.c.Bytes(uint64(s.c.Left()))} }

// end reports whether r is at the end of its bytes and everything was well.
func (s *stream[T]) end(r *bitReader) bool {
	return s.c.OK() && s.greatest <= s.most && (r.at+7)/8 == uint64(len(r.data))
}

func (s *stream[T]) readPacked() bool {
	r := s.codes()
	readSpans(&r, spanOf(s.most), s.out)
	for i, x := range s.out {
		s.out[i] = s.value(uint64(x))
	}
	return s.end(&r)
}

func (s *stream[T]) readDeltas() bool {
	smallest, most := uint64(s.c.Zigzag()), s.c.Uvarint()
	r := s.codes()
	readSpans(&r, spanOf(most), s.out[1:])
	s.sum(smallest)
	return s.end(&r)
}

// sum makes values of differences less a base, which out has from index 1.
func (s *stream[T]) sum(base uint64) {
	x := s.first
	s.out[0] = s.value(x)
	for i, d := range s.out[1:] {
		x += base + uint64(d)
		s.out[i+1] = s.value(x)
	}
}

func (s *stream[T]) readRice(order int) bool {
	k, level := uint(s.c.Byte()), uint64(0)
	if order == 0 {
		level = s.c.Uvarint()
	}
	r := s.codes()
	if k > riceMost {
		return false
	}
	switch mean := slope(s.first, s.last, len(s.out)); order {
	case 0:
		readRices(&r, k, s.out)
		for i, d := range s.out {
			s.out[i] = s.value(level + uint64(d))
		}
	case 1:
		readRices(&r, k, s.out[1:])
		s.sum(mean)
	default:
		readRices(&r, k, s.out[1:])
		x, d := s.first, mean
		s.out[0] = s.value(x)
		for i, dd := range s.out[1:] {
			d += uint64(dd)
			x += d
			s.out[i+1] = s.value(x)
		}
	}
	return s.end(&r)
}

// readRices fills out with the signed numbers of Rice codes.
func readRices[T int64 | uint64](r *bitReader, k uint, out []T) {
	data, mask := r.data, uint64(1)<<k-1
	for i := range out {
		if r.at>>3+8 > uint64(len(data)) {
			out[i] = T(wire.Unzigzag(r.readRice(k)))
			continue
		}
		word := binary.LittleEndian.Uint64(data[r.at>>3:]) >> (r.at & 7)
		q := uint(bits.TrailingZeros64(word))
		if q >= riceEscape {
			out[i] = T(wire.Unzigzag(r.readRice(k)))
			continue
		}
		r.at += uint64(q + 1 + k)
		out[i] = T(wire.Unzigzag(uint64(q)<<k | word>>(q+1)&mask))
	}
}

// readRice returns the next number. An impossible code moves the reader far beyond the end.
func (r *bitReader) readRice(k uint) uint64 {
	word := r.peek()
	q := uint(bits.TrailingZeros64(word))
	switch {
	case q > riceEscape:
		r.at = 1 << 62
		return 0
	case q == riceEscape:
		r.at += riceEscape + 1
		return r.readWide(64)
	default:
		r.at += uint64(q + 1 + k)
		return uint64(q)<<k | word>>(q+1)&(1<<k-1)
	}
}

func (s *stream[T]) readRuns() bool {
	runs, longest := s.c.Count(uint64(len(s.out))), s.c.Uvarint()
	r, values, lengths := s.codes(), spanOf(s.most), spanOf(longest)
	at := 0
	for range runs {
		x, length := r.readSpan(values), r.readSpan(lengths)
		if length >= uint64(len(s.out)-at) {
			return false
		}
		v := s.value(x)
		for end := at + int(length); at <= end; at++ {
			s.out[at] = v
		}
	}
	return at == len(s.out) && s.end(&r)
}
