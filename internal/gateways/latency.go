package gateways

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in 16 steps to each doubling: a quantile is right to about 6 %. It may be used by many
// goroutines at once.
type histogram struct {
	counts [64 * 16]atomic.Int64
}

// bucket returns the step that d lies in.
func bucket(d time.Duration) int {
	n := uint64(max(d, 1))
	exponent := bits.Len64(n) - 1
	if exponent < 4 {
		return int(n)
	}
	return exponent*16 + int(n>>(exponent-4)&15)
}

// upper returns the highest duration of a step.
func upper(b int) time.Duration {
	if b < 64 {
		return time.Duration(b)
	}
	exponent, step := b/16, b%16
	return time.Duration((16+step+1)<<(exponent-4) - 1)
}

func (h *histogram) add(d time.Duration) { h.counts[bucket(d)].Add(1) }

// quantile returns the duration that the share q of what was added does not exceed; 0 when nothing was.
func (h *histogram) quantile(q float64) time.Duration {
	total := int64(0)
	for i := range h.counts {
		total += h.counts[i].Load()
	}
	rank, seen := int64(q*float64(total)), int64(0)
	for i := range h.counts {
		seen += h.counts[i].Load()
		if seen > rank {
			return upper(i)
		}
	}
	return 0
}
