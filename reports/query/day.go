package query

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/internal/api"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
)

const (
	// dayHours is how many hours a gateway's day has; the last is the one that lasts.
	dayHours = 24
	// dayFresh is how long a gateway's day is shown as it was found, and mostDays of how many gateways it is kept.
	dayFresh = time.Minute
	mostDays = 10_000
)

// days are the days of gateways as they were found lately, so that a page that asks again and again costs little.
type days struct {
	mu  sync.Mutex // guards what follows
	all map[string]foundDay
}

type foundDay struct {
	at  time.Time
	day *api.Day
}

// fresh returns a gateway's day if it was found lately, in this hour.
func (d *days) fresh(gateway string, now time.Time) *api.Day {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, ok := d.all[gateway]
	if !ok || now.Sub(found.at) >= dayFresh || now.Truncate(time.Hour) != found.at.Truncate(time.Hour) {
		return nil
	}
	return found.day
}

func (d *days) keep(gateway string, now time.Time, day *api.Day) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil || len(d.all) >= mostDays {
		d.all = map[string]foundDay{}
	}
	d.all[gateway] = foundDay{now, day}
}

// addDays says of each gateway of a page how it was in each hour of the last day: of the rollups of hours that are closed, and the
// directories of blocks or the readings of those that are not. Of whom it cannot be told it is left out.
func (e *Engine) addDays(ctx context.Context, page *api.Gateways, entries []*catalog.Entry) error {
	now := e.now()
	p := &plan{rolled: true, span: keyspace.Hour, step: schema.HourSpan, to: schema.Start(now.UnixNano(), schema.HourSpan) + schema.HourSpan}
	p.from = p.to - dayHours*schema.HourSpan
	var asked []*catalog.Entry
	found := map[string]*api.Day{}
	for _, entry := range entries {
		if day := e.days.fresh(entry.Gateway, now); day != nil {
			found[entry.Gateway] = day
		} else if entry.LastSeen >= p.from {
			asked = append(asked, entry)
		} else {
			found[entry.Gateway] = e.dayOf(p, entry, make([]bucket, dayHours))
		}
	}
	slices.SortFunc(asked, func(a, b *catalog.Entry) int { return strings.Compare(a.Gateway, b.Gateway) })
	for some := range slices.Chunk(asked, atOnce) {
		err := e.findDays(ctx, p, some, func(entry *catalog.Entry, hours []bucket, complete api.Complete) {
			day := e.dayOf(p, entry, hours)
			found[entry.Gateway] = day
			if complete.Complete {
				e.days.keep(entry.Gateway, now, day)
			} else if page.Complete.Complete {
				page.Complete = complete
			}
		})
		if err := ctx.Err(); err != nil {
			return err
		}
		if err != nil { // one of them may have gone meanwhile
			e.log.Debug("how gateways were lately cannot be told", "error", err)
		}
	}
	for i := range page.Gateways {
		page.Gateways[i].Day = found[page.Gateways[i].Name]
	}
	return nil
}

// findDays counts the readings of some gateways by hours, all sensors together.
func (e *Engine) findDays(ctx context.Context, p *plan, entries []*catalog.Entry, yield func(*catalog.Entry, []bucket, api.Complete)) error {
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Gateway
	}
	all, err := e.recents(ctx, names, p.from, p.to, &said{})
	if err != nil {
		return err
	}
	under := make([]*answering, len(all))
	for i, r := range all {
		under[i] = e.begin(&SeriesRequest{Gateway: names[i]}, p, r)
		under[i].count(entries[i])
	}
	if err := e.addFleetRollups(ctx, names, under); err != nil {
		return err
	}
	for i, a := range under {
		for _, s := range runs(a.open, p.span.Length()) {
			if err := a.countReadings(ctx, s.from, s.to); err != nil {
				return err
			}
		}
		yield(entries[i], a.counted.buckets, a.r.answered())
	}
	return nil
}

// count has an answer count the readings of all sensors of a gateway together.
func (a *answering) count(entry *catalog.Entry) {
	a.counted = newChart("", a.p.from, a.p.to, a.p.step, 0, false)
	for i := range entry.Latest {
		a.charts[entry.Latest[i].Sensor] = a.counted
	}
}

// countReadings counts the readings in [from, to), which are whole hours.
func (a *answering) countReadings(ctx context.Context, from, to int64) error {
	known := func(sensor string) bool { return a.charts[sensor] != nil }
	whole := func(b *block.Reader) bool { return addDirectory(a.charts, b) }
	return a.clustersOr(ctx, a.q.Gateway, a.r, known, from, to, whole, func(series []block.Series) error {
		for i := range series {
			a.counted.addSeries(&series[i])
		}
		return nil
	})
}

// A gateway's hour is as usual from this share of its usual readings on; of fewer a usual hour there is nothing to tell.
const (
	enough    = 0.5
	mostUsual = 4
)

// dayOf says how a gateway was in each hour, by the rule of api.StateOf where there are no readings: silent for the hours around
// that have none either, and in the hour that lasts as it is now. An hour with fewer than half of its usual readings is late, and
// before it was first seen it never sent.
func (e *Engine) dayOf(p *plan, entry *catalog.Entry, hours []bucket) *api.Day {
	now := e.now().UnixNano()
	day := &api.Day{From: e.Clock().Time(p.from), States: make([]api.State, dayHours), Readings: make([]uint64, dayHours)}
	usual, sent := usualOf(hours[:dayHours-1]), false
	for i := range hours {
		n, start := hours[i].count, p.from+int64(i)*p.step
		sent = sent || n > 0
		day.Readings[i] = n
		due := usual * float64(min(now-start, p.step)) / float64(p.step)
		switch {
		case n > 0 && due >= mostUsual && float64(n) < enough*due:
			day.States[i] = api.Late
		case n > 0:
			day.States[i] = api.Online
		case entry.LastSeen == 0 || !sent && entry.FirstSeen >= start+p.step:
			day.States[i] = api.Never
		case i == dayHours-1:
			day.States[i] = stateOf(e.now(), entry)
		default:
			day.States[i] = api.StateOf(time.Unix(0, now), time.Unix(0, now-silence(hours, i)), time.Duration(entry.Interval))
		}
	}
	return day
}

// usualOf returns how many readings the better hours have: of those that have any, a quarter has more.
func usualOf(hours []bucket) float64 {
	var counts []uint64
	for i := range hours {
		if hours[i].count > 0 {
			counts = append(counts, hours[i].count)
		}
	}
	if len(counts) == 0 {
		return 0
	}
	slices.Sort(counts)
	return float64(counts[len(counts)*3/4])
}

// silence returns how long at least there were no readings around an hour that has ended.
func silence(hours []bucket, at int) (silent int64) {
	first, end := at, at
	for first > 0 && hours[first-1].count == 0 {
		first--
	}
	for end < len(hours)-1 && hours[end].count == 0 {
		end++
	}
	return int64(end-first) * schema.HourSpan
}
