package block

import (
	"encoding/binary"
	"math"
	"math/bits"

	"berth/schema/internal/wire"
)

// Differences in 0..most, each about as likely as the next, take log2(most+1) bits each, which is mostly no whole number: so
// some of them are the digits of one number, in base most+1. A few that lie far off, as behind a gap, are exceptions: they are kept
// beside the digits, so that they cost themselves and not their column.

// digitMost is the largest digit. Beyond it a truncated binary code is as short.
const digitMost = 1<<10 - 1

// digits say how numbers in 0..most are written: so many as digits of one word of so many bits.
type digits struct {
	most  uint64
	count int  // digits of a word; 0: there is but one number, which takes no bits
	width uint // of a word
}

// digitsOf returns the densest way to write numbers in 0..most, which is at most digitMost. A word has at most fastWidth bits, and
// so few that a division by the base is exactly a multiplication (see readDigits).
func digitsOf(most uint64) digits {
	d := digits{most: most}
	if most == 0 {
		return d
	}
	power, largest := uint64(1), uint64(1)<<min(fastWidth, 64-bits.Len64(most+1))/(most+1)
	for count := 1; power <= largest; count++ {
		power *= most + 1
		if width := uint(bits.Len64(power - 1)); d.count == 0 || int(width)*d.count < int(d.width)*count {
			d.count, d.width = count, width
		}
	}
	return d
}

// size returns the bits of n numbers.
func (d digits) size(n int) uint64 {
	if d.count == 0 {
		return 0
	}
	return uint64(n/d.count)*uint64(d.width) + uint64(d.last(n%d.count))
}

// last returns the width of a word of n digits, fewer than count.
func (d digits) last(n int) uint {
	power := uint64(1)
	for range n {
		power *= d.most + 1
	}
	return uint(bits.Len64(power - 1))
}

// writeDigits appends numbers, the first as the lowest digit of the first word.
func (w *bitWriter) writeDigits(d digits, x []uint64) {
	if d.count == 0 {
		return
	}
	for len(x) > 0 {
		n, width := d.count, d.width
		if n > len(x) {
			n = len(x)
			width = d.last(n)
		}
		word := uint64(0)
		for i := n - 1; i >= 0; i-- {
			word = word*(d.most+1) + x[i]
		}
		w.write(word, width)
		x = x[n:]
	}
}

// readDigits fills out with what writeDigits wrote; false says that a word is too large.
func readDigits[T int64 | uint64](r *bitReader, d digits, out []T) bool {
	if d.count == 0 {
		clear(out)
		return true
	}
	// The high half of v * inverse is v / base, for v * base < 1 << 64: digitsOf sees to it.
	base, rest := d.most+1, uint64(0)
	inverse := math.MaxUint64/base + 1
	for len(out) > 0 {
		n, width := d.count, d.width
		if n > len(out) {
			n = len(out)
			width = d.last(n)
		}
		word := r.read(width)
		for i := range out[:n] {
			quotient, _ := bits.Mul64(word, inverse)
			out[i] = T(word - quotient*base)
			word = quotient
		}
		rest |= word
		out = out[n:]
	}
	return rest == 0
}

// exception is a difference that is not among the digits.
type exception struct {
	at   int    // index among the differences
	away uint64 // the difference less the smallest of the others, modulo 2^64
}

// exceptionBits is about what an exception takes beside its difference.
const exceptionBits = 20

// planDigits returns the shortest of this form, given the classes of e.z[1].
func (e *ints) planDigits(c *classed, deltas *plan) plan {
	p, n := plan{form: formDigits, smallest: deltas.smallest, base: deltas.base}, len(e.z[1])
	e.exceptions = e.exceptions[:0]
	if limit, some := limitOf(c, n); some {
		e.except(limit, &p)
	}
	p.head = zigzagLen(p.smallest) + uvarintLen(p.base) + uvarintLen(uint64(len(e.exceptions)))
	before := 0
	for _, x := range e.exceptions {
		p.head += uvarintLen(uint64(x.at-before)) + zigzagLen(int64(x.away))
		before = x.at
	}
	p.fit(n)
	return p
}

// fit says how n numbers in 0..base are written, and what they take at most: as digits, or beyond digitMost as truncated binary.
func (p *plan) fit(n int) {
	if p.base <= digitMost {
		p.digits = digitsOf(p.base)
		p.bits = p.digits.size(n)
		return
	}
	p.codes = spanOf(p.base)
	p.bits = uint64(n) * uint64(p.codes.width)
}

// writeNumbers appends numbers as fit says.
func (p *plan) writeNumbers(w *bitWriter, x []uint64) {
	if p.base <= digitMost {
		w.writeDigits(p.digits, x)
		return
	}
	for _, x := range x {
		w.writeSpan(p.codes, x)
	}
}

// readNumbers fills out with what writeNumbers wrote, numbers in 0..most.
func readNumbers[T int64 | uint64](r *bitReader, most uint64, out []T) bool {
	if most <= digitMost {
		return readDigits(r, digitsOf(most), out)
	}
	readSpans(r, spanOf(most), out)
	return true
}

// A number has a class: four times its length in bits, plus what its two bits after the first say. Numbers up to that class lie
// in a range that takes about classCost sixteenths of a bit each.
const classes = 4 * 62

func classOf(z uint64) int {
	y := min(z, 1<<60)<<3 | 7
	beyond := bits.Len64(y) - 3
	return beyond<<2 | int(y>>beyond&3)
}

func classCost(class int) int { return 16*(class>>2-1) + [...]int{5, 9, 13, 16}[class&3] }

// classed says how many numbers are of each class, up to the longest that there is.
type classed struct {
	counts  [classes]int32
	longest int
}

func classesOf(z []uint64) (c classed) {
	for _, z := range z {
		class := classOf(z)
		c.counts[class]++
		c.longest = max(c.longest, class)
	}
	return c
}

// limitOf returns the class beyond which some of n numbers should be exceptions, if some should.
func limitOf(c *classed, n int) (limit int, some bool) {
	least, beyond := n*classCost(c.longest), 0
	limit = c.longest
	for class := c.longest; class > 3 && beyond < least; class-- {
		beyond += int(c.counts[class]) * (16*exceptionBits + 4*class)
		if cost := n*classCost(class-1) + beyond; cost < least {
			limit, least = class-1, cost
		}
	}
	return limit, limit < c.longest
}

// except makes exceptions of the differences whose number in e.z[1] is of a class beyond limit, and bounds the others.
func (e *ints) except(limit int, p *plan) {
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for i, z := range e.z[1] {
		d := int64(e.x[i+1] - e.x[i])
		if classOf(z) > limit {
			e.exceptions = append(e.exceptions, exception{at: i, away: uint64(d)})
			continue
		}
		least, most = min(least, d), max(most, d)
	}
	p.smallest, p.base = least, distance(most, least)
	for i := range e.exceptions {
		e.exceptions[i].away -= uint64(least)
	}
}

// writeDigits appends what follows the range: the exceptions, and the differences less the smallest.
func (e *ints) writeDigits(dst []byte, p *plan) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(e.exceptions)))
	before := 0
	for _, x := range e.exceptions {
		dst = binary.AppendUvarint(dst, uint64(x.at-before))
		dst = wire.AppendZigzag(dst, int64(x.away))
		before = x.at
	}
	x := e.z[0][:len(e.x)-1] // no form needs it any more
	for i := range x {
		x[i] = e.x[i+1] - e.x[i] - uint64(p.smallest)
	}
	for _, o := range e.exceptions {
		x[o.at] = 0
	}
	w := bitWriter{dst: dst}
	w.reserve(p.bits)
	p.writeNumbers(&w, x)
	return w.close()
}

// readDigits reads what ints.writeDigits wrote.
func (s *stream[T]) readDigits() bool {
	smallest, most := uint64(s.c.Zigzag()), s.c.Uvarint()
	exceptions := *s.c
	at, out := 0, s.out[1:]
	eachException := func(c *wire.Cursor, yield func(at int, away uint64)) {
		at = 0
		for range c.Count(uint64(len(out))) {
			at += c.Count(uint64(len(out)))
			away := uint64(c.Zigzag())
			if at >= len(out) || !c.OK() {
				c.Fail()
				return
			}
			yield(at, away)
		}
	}
	eachException(s.c, func(int, uint64) {})
	r := s.codes()
	if !readNumbers(&r, most, out) {
		return false
	}
	eachException(&exceptions, func(at int, away uint64) { out[at] = T(away) })
	s.sum(smallest)
	return s.end(&r)
}
