package block

import (
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
	beyond            bool // some x was more than most
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
	default:
		return false
	}
}

func (s *stream[T]) put(i int, x uint64) {
	s.beyond = s.beyond || x > s.most
	s.out[i] = T(s.least + x*s.shared)
}

// codes returns a reader of the rest of the stream's bytes.
func (s *stream[T]) codes() bitReader { return bitReader{data: s.c.Bytes(uint64(s.c.Left()))} }

// end reports whether r is at the end of its bytes and everything was well.
func (s *stream[T]) end(r *bitReader) bool {
	return s.c.OK() && !s.beyond && (r.at+7)/8 == uint64(len(r.data))
}

func (s *stream[T]) readPacked() bool {
	r, codes := s.codes(), spanOf(s.most)
	if 8*uint64(len(r.data)) < uint64(len(s.out))*uint64(codes.width-1) {
		return false
	}
	for i := range s.out {
		s.put(i, r.readSpan(codes))
	}
	return s.end(&r)
}

func (s *stream[T]) readDeltas() bool {
	smallest, most := uint64(s.c.Zigzag()), s.c.Uvarint()
	r, codes := s.codes(), spanOf(most)
	x := s.first
	s.put(0, x)
	for i := 1; i < len(s.out); i++ {
		x += smallest + r.readSpan(codes)
		s.put(i, x)
	}
	return s.end(&r)
}

func (s *stream[T]) readRice(order int) bool {
	k := uint(s.c.Byte())
	r := s.codes()
	if k > riceMost || 8*uint64(len(r.data)) < uint64(len(s.out)-1) {
		return false
	}
	switch middle, mean := s.most/2, slope(s.first, s.last, len(s.out)); order {
	case 0:
		for i := range s.out {
			s.put(i, middle+uint64(wire.Unzigzag(r.readRice(k))))
		}
	case 1:
		x := s.first
		s.put(0, x)
		for i := 1; i < len(s.out); i++ {
			x += mean + uint64(wire.Unzigzag(r.readRice(k)))
			s.put(i, x)
		}
	default:
		x, d := s.first, mean
		s.put(0, x)
		for i := 1; i < len(s.out); i++ {
			d += uint64(wire.Unzigzag(r.readRice(k)))
			x += d
			s.put(i, x)
		}
	}
	return s.end(&r)
}

// readRice returns the next number. Where the bytes have ended it returns zero and moves on, so that short tells.
func (r *bitReader) readRice(k uint) uint64 {
	word := r.peek()
	q := uint(bits.TrailingZeros64(word))
	if q >= riceEscape {
		r.at += riceEscape + 1
		if q > riceEscape {
			r.at = 1 << 62 // no such code
			return 0
		}
		return r.readWide(64)
	}
	r.at += uint64(q + 1 + k)
	return uint64(q)<<k | word>>(q+1)&(1<<k-1)
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
		for end := at + int(length); at <= end; at++ {
			s.put(at, x)
		}
	}
	return at == len(s.out) && s.end(&r)
}
