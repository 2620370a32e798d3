package web

import (
	"cmp"
	"slices"
	"strings"

	"berth/internal/api"
)

// limitRow is a limit and how much of it is used, as a page shows it.
type limitRow struct {
	Name  string // as schema/record gives it
	Used  string
	Limit string // empty: none
	Share int    // of the limit that is used, in percent
}

// nearLimit is the share of a limit from which on a page draws attention to it.
const nearLimit = 90

// Near reports whether the limit is nearly reached.
func (l limitRow) Near() bool { return l.Limit != "" && l.Share >= nearLimit }

// limitsOf returns the limits in words.
func (f *frame) limitsOf(limits []api.Limit) []limitRow {
	rows := make([]limitRow, 0, len(limits))
	for _, l := range limits {
		write := f.Count
		if strings.Contains(l.Name, "bytes") {
			write = f.Bytes
		}
		used, limit := uint64(max(l.Used, 0)), uint64(max(l.Limit, 0))
		row := limitRow{Name: l.Name, Used: write(used), Share: f.Share(used, limit)}
		if limit > 0 {
			row.Limit = write(limit)
		}
		rows = append(rows, row)
	}
	return rows
}

// slowedPrefix begins the reasons under which it is counted how often a sender had to wait for a limit; nothing was refused
// then.
const slowedPrefix = "slowed_"

// reasonsOf returns the counts of what was refused, and of who had to wait, each the largest first.
func reasonsOf(counts map[string]uint64) (refused, slowed []reasonCount) {
	for reason, n := range counts {
		if strings.HasPrefix(reason, slowedPrefix) {
			slowed = append(slowed, reasonCount{reason, n})
		} else {
			refused = append(refused, reasonCount{reason, n})
		}
	}
	for _, list := range [][]reasonCount{refused, slowed} {
		slices.SortFunc(list, func(a, b reasonCount) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
		})
	}
	return refused, slowed
}
