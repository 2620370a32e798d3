package query

import (
	"maps"
	"slices"
)

// stretch is the times [from, to).
type stretch struct{ from, to int64 }

// runs joins spans of one length, given by their starts, into stretches without a break between.
func runs(starts map[int64]bool, length int64) []stretch {
	var out []stretch
	for _, start := range slices.Sorted(maps.Keys(starts)) {
		if !starts[start] {
			continue
		}
		if n := len(out); n > 0 && out[n-1].to == start {
			out[n-1].to = start + length
			continue
		}
		out = append(out, stretch{start, start + length})
	}
	return out
}
