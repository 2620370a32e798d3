package block

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"berth/schema/internal/wire"
)

// bounds are what a directory says of a stream of integers, and what its decoder may rely on.
type bounds struct{ first, last, min, max int64 }

func boundsOf(v []int64) bounds {
	b := bounds{first: v[0], last: v[len(v)-1], min: v[0], max: v[0]}
	for _, x := range v {
		b.min, b.max = min(b.min, x), max(b.max, x)
	}
	return b
}

// The forms of a stream of integers. The numbers are stored; they never change.
const (
	formPacked = 0 // x as truncated binary
	formDeltas = 1 // differences, less the smallest, as truncated binary
	formRice0  = 2 // x less a base, zigzag, Rice code
	formRice1  = 3 // differences less their mean
	formRice2  = 4 // differences of differences
	formRuns   = 5 // values and lengths of runs
	formDigits = 6 // differences as digits, but for a few
	formMoves  = 7 // differences that are not 0, and how many of 0 follow each
	formShared = 0x80
	formMask   = 0x7f
)

// Rice codes: z >> k in unary, then the low k bits. A quotient of riceEscape announces 64 bits as they are, so that a
// spike costs itself and not its column.
const (
	riceEscape = 20
	riceMost   = 35 // the largest k: quotient and remainder fit one read
)

// ints encodes streams of integers. It keeps its memory from one stream to the next.
type ints struct {
	x       []uint64 // (v - min) / shared
	z       [3][]uint64
	level   uint64 // about the median of x
	lengths []uint64
	// exceptions are those of the plan that formDigits has.
	exceptions []exception
	moves      []int64 // of formMoves
	stays      []uint64
	newer      bool // a stream was of formDigits or formMoves
}

// plan is a way to write a stream, and what it costs.
type plan struct {
	form     byte
	bits     uint64 // of the codes
	head     int    // bytes before the codes
	k        uint
	base     uint64 // of Rice codes; the range of deltas and of runs' lengths
	smallest int64
	codes    span
	lengths  span
	digits   digits
	runs     int // or moves
}

func (p *plan) size() uint64 { return uint64(p.head)*8 + p.bits }

// append appends the stream v of the given bounds, in the form that is shortest. A stream of one value takes no bytes:
// its bounds say all.
func (e *ints) append(dst []byte, v []int64, b bounds) []byte {
	if b.min == b.max {
		return dst
	}
	shared := divisor(v, b)
	e.normalize(v, b, shared)
	most := (uint64(b.max) - uint64(b.min)) / shared
	p := e.plan(most)
	head := p.form
	if shared > 1 {
		head |= formShared
	}
	dst = append(dst, head)
	if shared > 1 {
		dst = binary.AppendUvarint(dst, shared)
	}
	return e.write(dst, &p)
}

// divisor returns the greatest divisor that all differences from the first value share.
func divisor(v []int64, b bounds) uint64 {
	d := distance(b.max, b.min)
	for _, x := range v {
		if d == 1 {
			break
		}
		for r := distance(x, b.min) % d; r != 0; r = distance(x, b.min) % d {
			d = gcd(d, r)
		}
	}
	return d
}

func distance(a, b int64) uint64 { return uint64(a) - uint64(b) }

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (e *ints) normalize(v []int64, b bounds, shared uint64) {
	e.x = resize(e.x, len(v))
	if shared == 1 {
		for i, x := range v {
			e.x[i] = uint64(x) - uint64(b.min)
		}
		return
	}
	for i, x := range v {
		e.x[i] = (uint64(x) - uint64(b.min)) / shared
	}
}

// plan returns the shortest way to write e.x, which lies in 0..most.
func (e *ints) plan(most uint64) plan {
	best := e.planPacked(most)
	deltas, runs := e.planDeltas()
	if deltas.size() < best.size() {
		best = deltas
	}
	if uint64(runs)*uint64(best.codes.width) < best.size() {
		if p := e.planRuns(most); p.size() < best.size() {
			best = p
		}
	}
	if moves := runs - 1; 2*moves < len(e.x) {
		if p := e.planMoves(moves); p.size() < best.size() {
			best = p
		}
	}
	e.residuals()
	c := classesOf(e.z[1])
	lengths := [len(e.z)][65]int{lengthsOf(e.z[0]), {}, lengthsOf(e.z[2])}
	for class, count := range c.counts[:c.longest+1] {
		lengths[1][class>>2] += int(count)
	}
	if p := e.planDigits(&c, &deltas); p.size() < best.size() {
		best = p
	}
	for order := range e.z {
		if p := e.planRice(order, &lengths[order], best.size()); p.size() < best.size() {
			best = p
		}
	}
	return best
}

func (e *ints) planPacked(most uint64) plan {
	p := plan{form: formPacked, codes: spanOf(most)}
	p.bits = uint64(len(e.x)) * uint64(p.codes.width)
	for _, x := range e.x {
		p.bits -= p.codes.saved(x)
	}
	return p
}

// planDeltas also returns the number of runs.
func (e *ints) planDeltas() (plan, int) {
	before, runs := e.x[0], 1
	least, most := int64(e.x[1]-before), int64(e.x[1]-before)
	for _, x := range e.x[1:] {
		d := int64(x - before)
		least, most = min(least, d), max(most, d)
		if d != 0 {
			runs++
		}
		before = x
	}
	p := plan{form: formDeltas, smallest: least, base: distance(most, least)}
	p.codes = spanOf(p.base)
	p.head = zigzagLen(least) + uvarintLen(p.base)
	p.bits = uint64(len(e.x)-1) * uint64(p.codes.width)
	before = e.x[0] + uint64(least)
	for _, x := range e.x[1:] {
		p.bits -= p.codes.saved(x - before)
		before = x + uint64(least)
	}
	return p, runs
}

func (e *ints) planRuns(most uint64) plan {
	e.lengths = e.lengths[:0]
	length, longest := uint64(0), uint64(0)
	for i := 1; i < len(e.x); i++ {
		if e.x[i] == e.x[i-1] {
			length++
			continue
		}
		e.lengths = append(e.lengths, length)
		longest = max(longest, length)
		length = 0
	}
	e.lengths = append(e.lengths, length)
	longest = max(longest, length)
	p := plan{form: formRuns, runs: len(e.lengths), base: longest, codes: spanOf(most), lengths: spanOf(longest)}
	p.head = uvarintLen(uint64(p.runs)) + uvarintLen(longest)
	p.bits = uint64(p.runs) * uint64(p.codes.width+p.lengths.width)
	at := 0
	for _, l := range e.lengths {
		p.bits -= p.codes.saved(e.x[at]) + p.lengths.saved(l)
		at += int(l) + 1
	}
	return p
}

// slope is the mean difference of a stream that begins at first and ends at last.
func slope(first, last uint64, n int) uint64 {
	return uint64(int64(last-first) / int64(max(n-1, 1)))
}

// level returns about the median, which a few spikes do not move.
func level(x []uint64) uint64 {
	var some [9]uint64
	for i := range some {
		some[i] = x[i*(len(x)-1)/(len(some)-1)]
	}
	slices.Sort(some[:])
	return some[len(some)/2]
}

// residuals fills e.z with what the Rice forms write: order 0 has a number for each value, order 1 and 2 for each but
// the first.
func (e *ints) residuals() {
	n := len(e.x)
	e.level = level(e.x)
	mean := slope(e.x[0], e.x[n-1], n)
	for order := range e.z {
		e.z[order] = resize(e.z[order], n)
	}
	z0, z1, z2 := e.z[0], e.z[1][:n-1], e.z[2][:n-1]
	e.z[1], e.z[2] = z1, z2
	z0[0] = wire.Zigzag(int64(e.x[0] - e.level))
	before := mean
	for i := 1; i < n; i++ {
		x := e.x[i]
		d := x - e.x[i-1]
		z0[i] = wire.Zigzag(int64(x - e.level))
		z1[i-1] = wire.Zigzag(int64(d - mean))
		z2[i-1] = wire.Zigzag(int64(d - before))
		before = d
	}
}

// planRice tries the k around the length of the median, unless no k can take less than the given size: a code of z takes
// at least a bit more than z has.
func (e *ints) planRice(order int, lengths *[65]int, beat uint64) plan {
	z := e.z[order]
	p := plan{form: byte(formRice0 + order), bits: 1 << 62, head: 1}
	if order == 0 {
		p.base = e.level
		p.head += uvarintLen(p.base)
	}
	least := len(z)
	for n, count := range lengths {
		least += n * count
	}
	if uint64(least) >= beat {
		return p
	}
	median, seen := 0, lengths[0]
	for ; 2*seen < len(z); seen += lengths[median] {
		median++
	}
	for k := max(median-2, 0); k <= min(median, riceMost); k++ {
		if cost := riceCost(z, uint(k)); cost < p.bits {
			p.bits, p.k = cost, uint(k)
		}
	}
	return p
}

// lengthsOf returns how many of the numbers have each length in bits.
func lengthsOf(z []uint64) (lengths [65]int) {
	for _, x := range z {
		lengths[bits.Len64(x)]++
	}
	return lengths
}

func riceCost(z []uint64, k uint) uint64 {
	cost := uint64(len(z)) * uint64(k+1)
	for _, x := range z {
		q := x >> k
		if q >= riceEscape {
			q = riceEscape + 64 - uint64(k)
		}
		cost += q
	}
	return cost
}

// write appends what follows the form's byte.
func (e *ints) write(dst []byte, p *plan) []byte {
	switch p.form {
	case formDeltas, formDigits, formMoves:
		dst = wire.AppendZigzag(dst, p.smallest)
		dst = binary.AppendUvarint(dst, p.base)
	case formRuns:
		dst = binary.AppendUvarint(dst, uint64(p.runs))
		dst = binary.AppendUvarint(dst, p.base)
	case formRice0, formRice1, formRice2:
		dst = append(dst, byte(p.k))
		if p.form == formRice0 {
			dst = binary.AppendUvarint(dst, p.base)
		}
	}
	switch p.form {
	case formDigits:
		e.newer = true
		return e.writeDigits(dst, p)
	case formMoves:
		e.newer = true
		return e.writeMoves(dst, p)
	}
	w := bitWriter{dst: dst}
	w.reserve(p.bits)
	switch p.form {
	case formPacked:
		for _, x := range e.x {
			w.writeSpan(p.codes, x)
		}
	case formDeltas:
		for i := 1; i < len(e.x); i++ {
			w.writeSpan(p.codes, e.x[i]-e.x[i-1]-uint64(p.smallest))
		}
	case formRuns:
		at := 0
		for _, l := range e.lengths {
			w.writeSpan(p.codes, e.x[at])
			w.writeSpan(p.lengths, l)
			at += int(l) + 1
		}
	default:
		w.writeRice(e.z[p.form-formRice0], p.k)
	}
	return w.close()
}

func (w *bitWriter) writeRice(z []uint64, k uint) {
	for _, x := range z {
		q := x >> k
		if q >= riceEscape {
			w.write(1<<riceEscape, riceEscape+1)
			w.writeWide(x, 64)
			continue
		}
		w.write((x&(1<<k-1)<<1|1)<<q, uint(q)+1+k)
	}
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}

func uvarintLen(u uint64) int { return (bits.Len64(u|1) + 6) / 7 }

func zigzagLen(v int64) int { return uvarintLen(wire.Zigzag(v)) }
