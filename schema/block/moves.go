package block

import (
	"encoding/binary"
	"math/bits"
)

// A load, a setting or a state mostly stays as it was, and then moves by any of a few steps. Of such a stream the differences that
// are not 0 are written, and how many of 0 follow each: a reading that repeats the one before takes a part of a bit.

// planMoves returns the shortest of this form, where so many of the differences are not 0.
func (e *ints) planMoves(moves int) plan {
	e.findMoves()
	least, most := e.moves[0], e.moves[0]
	for _, d := range e.moves {
		least, most = min(least, d), max(most, d)
	}
	p := plan{form: formMoves, smallest: least, base: distance(most, least), runs: moves}
	p.head = zigzagLen(least) + uvarintLen(p.base) + uvarintLen(uint64(moves)) + 1
	p.fit(moves)
	mean := bits.Len(uint(len(e.x) / moves))
	best := uint64(1 << 62)
	for k := max(mean-2, 0); k <= min(mean, riceMost); k++ {
		if cost := riceCost(e.stays, uint(k)); cost < best {
			best, p.k = cost, uint(k)
		}
	}
	p.bits += best
	return p
}

// findMoves fills e.moves with the differences that are not 0, those above it less one, and e.stays with how many of 0 follow each.
// Those before the first are what is left.
func (e *ints) findMoves() {
	e.moves, e.stays = e.moves[:0], e.stays[:0]
	before := e.x[0]
	for _, x := range e.x[1:] {
		d := int64(x - before)
		before = x
		switch {
		case d > 0:
			e.moves, e.stays = append(e.moves, d-1), append(e.stays, 0)
		case d < 0:
			e.moves, e.stays = append(e.moves, d), append(e.stays, 0)
		case len(e.stays) > 0:
			e.stays[len(e.stays)-1]++
		}
	}
}

// writeMoves appends what follows the range: how many moves there are, they less the smallest, and from the last to the first how
// long each stays, so that the reader can spread them in place.
func (e *ints) writeMoves(dst []byte, p *plan) []byte {
	dst = append(binary.AppendUvarint(dst, uint64(p.runs)), byte(p.k))
	x := e.z[0][:p.runs] // no form needs it any more
	for i, d := range e.moves {
		x[i] = distance(d, p.smallest)
	}
	w := bitWriter{dst: dst}
	w.reserve(p.bits)
	p.writeNumbers(&w, x)
	for i := range x {
		x[i] = e.stays[len(x)-1-i]
	}
	w.writeRice(x, p.k)
	return w.close()
}

// readMoves reads what ints.writeMoves wrote.
func (s *stream[T]) readMoves() bool {
	smallest, most := s.c.Zigzag(), s.c.Uvarint()
	out := s.out[1:]
	moves, k := s.c.Count(uint64(len(out))), uint(s.c.Byte())
	r := s.codes()
	if k > riceMost || !readNumbers(&r, most, out[:moves]) {
		return false
	}
	end := len(out) // of what is not filled yet
	for i := moves - 1; i >= 0; i-- {
		stays := r.readRice(k)
		if stays >= uint64(end-i) {
			return false
		}
		d := smallest + int64(out[i])
		if d >= 0 {
			d++
		}
		at := end - 1 - int(stays)
		clear(out[at+1 : end])
		out[at], end = T(d), at
	}
	clear(out[:end])
	s.sum(0)
	return s.end(&r)
}
