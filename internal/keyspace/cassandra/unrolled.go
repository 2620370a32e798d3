package cassandra

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/cql"
)

const (
	// raiseMost is how many gateways' bounds are brought up to date after a look.
	raiseMost = 256
	// slice is how much time is looked at together when many gateways have something that may not be rolled up; its keys
	// are in memory.
	slice = schema.DaySpan
	// fewGateways may be looked at a whole month together.
	fewGateways = 64
)

// spans are all there are.
var spans = []keyspace.Span{keyspace.Hour, keyspace.Day}

// Unrolled yields the keys of rollups that do not count. It looks at the gateways that have marks above their bound, month
// by month, and raises the bounds up to what it found.
func (w *writer) Unrolled(ctx context.Context, endBefore int64, yield func(keyspace.RollupKey) bool) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	for _, span := range spans {
		last := endBefore - span.Length()
		if last > endBefore {
			continue // no span ends that early
		}
		l := look{w: w, span: span, last: last, held: map[string]bool{}}
		more, err := l.all(ctx, yield)
		if err != nil {
			return w.failed(ctx, "read", err)
		}
		if !more {
			return nil
		}
	}
	if err := w.raise(ctx); err != nil {
		return w.failed(ctx, "write", err)
	}
	return nil
}

// look is the search for rollups of one span that do not count.
type look struct {
	w    *writer
	span keyspace.Span
	last int64           // the last start to look at
	held map[string]bool // gateways whose bound stays: something that starts there does not count
}

// all looks at all months; it reports whether yield wants more.
func (l *look) all(ctx context.Context, yield func(keyspace.RollupKey) bool) (more bool, err error) {
	for _, month := range l.months() {
		from, to := monthSpan(month)
		for from <= to && from <= l.last {
			names, first := l.gateways(month, from)
			if len(names) == 0 {
				break
			}
			from = max(from, first)
			end := min(to, l.last)
			if l.span == keyspace.Hour && len(names) > fewGateways {
				end = min(end, from-from%slice+slice-1)
			}
			keys, err := l.slice(ctx, names, month, from, end)
			if err != nil {
				return false, err
			}
			for _, k := range keys {
				if !yield(k) {
					return false, nil
				}
			}
			if end == math.MaxInt64 {
				break
			}
			from = end + 1
		}
	}
	return true, nil
}

// months returns the months in which something may not count, in order.
func (l *look) months() []int {
	x := l.w.stored
	x.mu.Lock()
	defer x.mu.Unlock()
	found := map[int]struct{}{}
	for _, g := range x.gateways {
		from := g.from[by(l.span)]
		if from > l.last {
			continue
		}
		for m := range g.months {
			if m >= monthOf(from) && m <= monthOf(l.last) {
				found[m] = struct{}{}
			}
		}
	}
	all := make([]int, 0, len(found))
	for m := range found {
		all = append(all, m)
	}
	slices.Sort(all)
	return all
}

// monthSpan returns the first and the last time of a month.
func monthSpan(month int) (first, last int64) {
	begin := time.Date(1970, time.January+time.Month(month), 1, 0, 0, 0, 0, time.UTC)
	end := begin.AddDate(0, 1, 0)
	first, last = math.MinInt64, math.MaxInt64
	if begin.After(time.Unix(0, math.MinInt64)) {
		first = begin.UnixNano()
	}
	if end.Before(time.Unix(0, math.MaxInt64)) {
		last = end.UnixNano() - 1
	}
	return first, last
}

// gateways returns those that have the month and something from a time on that may not count, and where the first is.
func (l *look) gateways(month int, from int64) (names []string, first int64) {
	x := l.w.stored
	x.mu.Lock()
	defer x.mu.Unlock()
	first = math.MaxInt64
	_, to := monthSpan(month)
	for name, g := range x.gateways {
		bound := g.from[by(l.span)]
		if _, ok := g.months[month]; !ok || bound > l.last || bound > to {
			continue
		}
		names = append(names, name)
		first = min(first, max(bound, from))
	}
	return names, first
}

// slice returns the keys that do not count and start from one time to another, both included, of some gateways.
func (l *look) slice(ctx context.Context, names []string, month int, from, to int64) ([]keyspace.RollupKey, error) {
	found := make([][]int64, len(names))
	x := l.w.stored
	err := l.w.backend.each(ctx, len(names), func(ctx context.Context, i int) error {
		x.mu.Lock()
		g := x.gateways[names[i]]
		noted, bound, quiet := g.noted, g.from[by(l.span)], g.flying == 0
		x.mu.Unlock()
		starts, err := l.gateway(ctx, names[i], month, max(from, bound), to)
		if err != nil {
			return err
		}
		found[i] = starts
		x.mu.Lock()
		defer x.mu.Unlock()
		if l.held[names[i]] || !quiet || g.noted != noted || bound > to {
			l.held[names[i]] = l.held[names[i]] || bound <= to
			return nil
		}
		l.held[names[i]] = len(starts) > 0
		if len(starts) > 0 {
			g.from[by(l.span)] = max(bound, starts[0])
		} else if to < math.MaxInt64 {
			g.from[by(l.span)] = max(bound, to+1)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var keys []keyspace.RollupKey
	for i, name := range names {
		for _, start := range found[i] {
			keys = append(keys, keyspace.RollupKey{Gateway: name, Span: l.span, Start: start})
		}
	}
	slices.SortFunc(keys, func(a, b keyspace.RollupKey) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Gateway, b.Gateway))
	})
	return keys, nil
}

// gateway returns the starts of one gateway's rollups that do not count.
func (l *look) gateway(ctx context.Context, name string, month int, from, to int64) ([]int64, error) {
	if from > to {
		return nil, nil
	}
	var starts []int64
	var start int64
	var stale, computed []byte
	rows := l.w.query(ctx, l.w.selectUnrolled, l.w.key, name, int8(l.span), month, from, to).Iter()
	for rows.Scan(&start, &stale, &computed) {
		s, err := cql.ParseStale(stale)
		if err != nil {
			_ = rows.Close() // err says more
			return nil, err
		}
		c, err := cql.ParseStale(computed)
		if err != nil {
			_ = rows.Close() // err says more
			return nil, err
		}
		if c.Less(s) {
			starts = append(starts, start)
		}
	}
	return starts, rows.Close()
}
