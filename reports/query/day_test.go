package query

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/catalog"
)

// checkDay counts the readings of each hour of the last day.
func (w *world) checkDay(t *rapid.T) {
	page, err := w.engine.Gateways(w.ctx, GatewaysRequest{Search: testGateway, Day: true})
	if err != nil || len(page.Gateways) != 1 || page.Gateways[0].Day == nil || !page.Complete.Complete {
		t.Fatalf("%+v, %v", page, err)
	}
	day := page.Gateways[0].Day
	want := make([]uint64, dayHours)
	for _, e := range w.Truth() {
		if hour := (e.Time - day.From.UnixNano()) / schema.HourSpan; e.Time >= day.From.UnixNano() && hour < dayHours {
			want[hour]++
		}
	}
	if d := cmp.Diff(want, day.Readings); d != "" {
		t.Fatalf("readings of each hour (-want +got):\n%s", d)
	}
}

func TestAGatewaysDayFollowsTheRule(t *testing.T) {
	w := newWorld(t) // it is half past nine
	const o, l, f, n = api.Online, api.Late, api.Offline, api.Never
	hours := func(counts map[int]uint64, usual uint64) []bucket {
		all := make([]bucket, dayHours)
		for i := range all {
			all[i].count = usual
			if c, ok := counts[i]; ok {
				all[i].count = c
			}
		}
		return all
	}
	p := &plan{step: schema.HourSpan, to: schema.Start(now.UnixNano(), schema.HourSpan) + schema.HourSpan}
	p.from = p.to - dayHours*schema.HourSpan
	begin := p.from - schema.DaySpan
	for name, c := range map[string]struct {
		interval, first int64
		hours           []bucket
		want            map[int]api.State // all others are online
	}{
		"steady":             {int64(10 * time.Second), begin, hours(map[int]uint64{23: 150}, 360), nil},
		"fewer than half":    {int64(10 * time.Second), begin, hours(map[int]uint64{3: 179, 4: 180, 23: 89}, 360), map[int]api.State{3: l, 23: l}},
		"silent for an hour": {int64(10 * time.Second), begin, hours(map[int]uint64{7: 0}, 360), map[int]api.State{7: f}},
		"silent for this half hour, and it is online": {int64(10 * time.Second), begin, hours(map[int]uint64{23: 0}, 360), nil},
		"every half hour": {int64(30 * time.Minute), begin, hours(map[int]uint64{5: 1, 7: 0, 10: 0, 11: 0, 23: 0}, 2), map[int]api.State{10: l, 11: l}},
		"every two hours": {int64(2 * time.Hour), begin, hours(map[int]uint64{1: 0, 3: 0, 4: 0, 5: 0, 10: 0, 11: 0, 12: 0, 13: 0, 14: 0, 15: 0, 16: 0}, 1), map[int]api.State{10: l, 11: l, 12: l, 13: l, 14: l, 15: l, 16: l}},
		"since five hours, late at first": {
			int64(time.Minute), p.from + 19*schema.HourSpan, hours(map[int]uint64{0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0, 12: 0, 13: 0, 14: 0, 15: 0, 16: 0, 17: 7, 18: 0}, 60),
			map[int]api.State{0: n, 1: n, 2: n, 3: n, 4: n, 5: n, 6: n, 7: n, 8: n, 9: n, 10: n, 11: n, 12: n, 13: n, 14: n, 15: n, 16: n, 17: l, 18: f},
		},
	} {
		day := w.engine.dayOf(p, &catalog.Entry{Interval: c.interval, FirstSeen: c.first, LastSeen: now.UnixNano()}, c.hours)
		want := slices.Repeat([]api.State{o}, dayHours)
		for i, s := range c.want {
			want[i] = s
		}
		if d := cmp.Diff(want, day.States); d != "" || day.From.UnixNano() != p.from {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// A day is found anew when the hour has changed, or after a minute; those of more gateways than are asked about at once are each
// its own.
func TestDaysOfAFleetAreFoundAnew(t *testing.T) {
	const gateways = 2*atOnce + 3
	w := fleetWorld(t, gateways, 1)
	at := now
	w.engine.now = func() time.Time { return at }
	ask := func() *api.Gateways {
		page, err := w.engine.Gateways(w.ctx, GatewaysRequest{Sort: "-name", Day: true})
		if err != nil || len(page.Gateways) < gateways {
			t.Fatalf("%+v, %v", page, err)
		}
		return page
	}
	first := ask()
	w.engine.days.all = nil
	for i, g := range first.Gateways[len(first.Gateways)-gateways:] {
		alone, err := w.engine.Gateways(w.ctx, GatewaysRequest{Search: g.Name, Day: true})
		if err != nil || cmp.Diff(alone.Gateways[0], g) != "" {
			t.Errorf("%d: %+v, %+v, %v", i, g, alone, err)
		}
	}
	first = ask()
	at = at.Add(dayFresh - 1)
	if again := ask(); again.Gateways[3].Day != first.Gateways[3].Day {
		t.Error("a day is found anew at once")
	}
	at = at.Add(1)
	if again := ask(); again.Gateways[3].Day == first.Gateways[3].Day {
		t.Error("a day is as it was a minute ago")
	}
	at = at.Truncate(time.Hour).Add(time.Hour)
	if again := ask(); again.Gateways[3].Day.From.Equal(first.Gateways[3].Day.From) {
		t.Error("a day is of another hour")
	}
}
