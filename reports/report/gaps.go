package report

import (
	"cmp"
	"slices"
	"time"

	"berth/internal/api"
	"berth/schema/block"
)

// Gaps are told by the rule by which a gateway is no longer online: it measured nothing for three of its intervals, at
// least for two minutes.
const (
	gapIntervals = 3
	leastGap     = 2 * time.Minute
	shownGaps    = 5
)

// stretch is a time [from, to) in which nothing was measured.
type stretch struct{ from, to int64 }

func (s stretch) length() int64 { return s.to - s.from }

// presence follows when a gateway measured anything. It keeps the stretches that may be gaps, which are few: each lasts
// longer than leastGap.
type presence struct {
	last    int64 // the latest moment, at first where the period begins
	quiet   []stretch
	moments []int64 // scratch
}

// add takes the readings of a stretch of time; those from until on do not count.
func (p *presence) add(series []block.Series, until int64) {
	moments := series[0].Times
	for i := range series[1:] {
		if slices.Equal(series[i+1].Times, series[0].Times) {
			continue // as it is for nearly all gateways
		}
		p.moments = p.moments[:0]
		for j := range series {
			p.moments = append(p.moments, series[j].Times...)
		}
		slices.Sort(p.moments)
		moments = p.moments
		break
	}
	for _, t := range moments {
		if t >= until {
			return
		}
		p.moment(t)
	}
}

func (p *presence) moment(t int64) {
	if t-p.last > int64(leastGap) {
		p.quiet = append(p.quiet, stretch{p.last, t})
	}
	p.last = max(p.last, t)
}

// gaps returns the stretches in [start, until) that are longer than the limit, the longest first.
func (p *presence) gaps(start, until, limit int64) []stretch {
	p.moment(until)
	var gaps []stretch
	for _, s := range p.quiet {
		if s.from = max(s.from, start); s.length() > limit {
			gaps = append(gaps, s)
		}
	}
	slices.SortFunc(gaps, func(a, b stretch) int {
		return cmp.Or(cmp.Compare(b.length(), a.length()), cmp.Compare(a.from, b.from))
	})
	return gaps
}

// setGaps says in a gateway's report when it measured nothing, and how available it was.
func setGaps(g *api.ReportGateway, w *walk, start, until int64, interval time.Duration) {
	if interval <= 0 || start >= until {
		return
	}
	limit := max(gapIntervals*interval, leastGap)
	g.GapLimit = limit.Seconds()
	missing := int64(0)
	for i, s := range w.presence.gaps(start, until, int64(limit)) {
		g.Gaps++
		missing += s.length()
		if i < shownGaps {
			g.LongestGaps = append(g.LongestGaps, api.ReportGap{From: w.clock.Time(s.from), To: w.clock.Time(s.to), Seconds: time.Duration(s.length()).Seconds()})
		}
	}
	g.GapTime = time.Duration(missing).Seconds()
	g.Availability = new(api.Number(float64(until-start-missing) / float64(until-start)))
	w.watched, w.missing = until-start, missing
}
