package report

import (
	"maps"
	"math"
	"slices"

	"berth/schema"
)

// rank finds the number that stands at a place in the order of many, exactly and in little memory. In one walk over the
// numbers it counts them by their leading bits, as many as its limit lets it tell apart; when these do not yet say which
// number it is, the next walk counts only those that may be.
type rank struct {
	limit int  // counts that it keeps
	share int  // the place is the first at which that many in a hundred have passed
	ints  bool // numbers are ordered as ints, whose last digits a float64 has no room for

	low, high uint64 // keys of those that may be it
	shift     uint   // keys are counted without so many bits
	counts    map[uint64]uint64
	below     uint64 // numbers before low
	above     uint64 // numbers after high

	found bool
	key   uint64
}

func newRank(share, limit int) rank {
	return rank{share: share, limit: limit, high: math.MaxUint64}
}

// keyOf returns a number's key: keys are ordered as numbers are.
func (r *rank) keyOf(v schema.Value) uint64 {
	if r.ints {
		return uint64(v.Int()) ^ 1<<63
	}
	f, _ := v.Number()
	b := math.Float64bits(f + 0) // -0 is 0
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

// valueOf is keyOf's inverse.
func (r *rank) valueOf(key uint64) schema.Value {
	switch {
	case r.ints:
		return schema.IntValue(int64(key ^ 1<<63))
	case key>>63 == 0:
		return schema.FloatValue(math.Float64frombits(^key))
	default:
		return schema.FloatValue(math.Float64frombits(key &^ (1 << 63)))
	}
}

// add counts a number.
func (r *rank) add(v schema.Value) { r.addKey(r.keyOf(v)) }

func (r *rank) addKey(key uint64) {
	switch {
	case key < r.low:
		r.below++
		return
	case key > r.high:
		r.above++
		return
	}
	if r.counts == nil {
		r.counts = map[uint64]uint64{}
	}
	r.counts[key>>r.shift]++
	if len(r.counts) <= r.limit {
		return
	}
	for len(r.counts) > r.limit/2 {
		r.shift++
		fewer := make(map[uint64]uint64, len(r.counts))
		for key, n := range r.counts {
			fewer[key>>1] += n
		}
		r.counts = fewer
	}
}

// end ends a walk. When the number is not found yet, the next walk is to add the same numbers again.
func (r *rank) end() {
	total := r.below + r.above
	for _, n := range r.counts {
		total += n
	}
	place := (total*uint64(r.share) + 99) / 100 // from 1: of 95, the first that 95 % do not exceed
	passed := r.below
	low, high := uint64(0), uint64(math.MaxUint64) // where numbers have changed since the walk before, all over again
	for _, key := range slices.Sorted(maps.Keys(r.counts)) {
		if n := r.counts[key]; place <= passed || place > passed+n {
			passed += n
			continue
		}
		low, high = max(r.low, key<<r.shift), min(r.high, key<<r.shift|(1<<r.shift-1))
		r.found, r.key = low == high, low
		break
	}
	r.again(low, high)
}

// again makes ready for a walk over the numbers whose keys are in [low, high].
func (r *rank) again(low, high uint64) {
	r.low, r.high, r.shift, r.below, r.above = low, high, 0, 0, 0
	r.counts = nil
}
