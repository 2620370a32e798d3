package report

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"berth/internal/api"
	"berth/reports/query"
	"berth/reports/query/querytest"
	"berth/schema"
	"berth/schema/record"
)

// Each history is settled in a keyspace on disk: 30 of them by default, each of which is asked for three reports.
func TestMain(m *testing.M) {
	if err := flag.Lookup("rapid.checks").Value.Set("30"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// refusedBy is what rejects tell in a test.
type refusedBy map[string]uint64

// Rejected tells it.
func (r refusedBy) Rejected(context.Context, time.Time, time.Time) (map[string]uint64, time.Time, error) {
	return r, time.Time{}, nil
}

// maker returns a Maker of a world, and has it say something about sensors.
func maker(w *querytest.World, zone string, said map[string]record.Sensor) *Maker {
	settings := record.DefaultSettings()
	settings.Timezone = zone
	now := func() time.Time { return querytest.Now }
	engine := query.New(query.Options{
		Store: w.Store, Head: w.Head, Now: now, Logger: slog.New(slog.DiscardHandler),
		Settings: func() record.Settings { return settings },
		Keys:     func() []string { return nil },
	})
	return New(Options{
		Provider: "p1", Engine: engine, Rejects: refusedBy{querytest.Gateway: 7}, Now: now,
		Sensors: func() map[string]record.Sensor { return said },
	})
}

// Whatever happened to a history on its way, each number of a report is that of an independent recount.
func TestReportEqualsARecount(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := querytest.New(t)
		w.Interval = int64(time.Hour)
		w.Events = append(querytest.History(rt), burst(rt)...)
		w.Settle(rt)
		said := map[string]record.Sensor{"b": {Counter: rapid.Bool().Draw(rt, "counter"), Interval: rapid.SampledFrom(intervals).Draw(rt, "interval")}, "c": {Counter: true}}
		m := maker(w, "America/St_Johns", said)
		m.counts = rapid.SampledFrom([]int{0, 16, 24}).Draw(rt, "counts")
		for range 3 {
			p := anyPeriod(rt, w, m.Zone())
			got, err := m.Make(t.Context(), Request{Period: p, Charts: true})
			if err != nil {
				rt.Fatal(err)
			}
			if len(got.Gateways) != 1 || !got.Complete.Complete || got.Totals.Rejected != 7 {
				rt.Fatalf("the report has %d gateways, complete %v, %+v", len(got.Gateways), got.Complete, got.Totals)
			}
			recount{w: w, said: said, p: p}.check(rt, &got.Gateways[0])
			recount{w: w, said: said, p: p}.checkTotals(rt, got)
		}
	})
}

// intervals are those that may be set: none, one of which a gap is just not one, a usual one, and one of seconds.
var intervals = []time.Duration{0, 8 * time.Minute, 10 * time.Minute, 20 * time.Second}

// burst draws what a gateway sent within some minutes.
func burst(t *rapid.T) []querytest.Event {
	at := querytest.Now.Add(-time.Duration(rapid.IntRange(1, 30).Draw(t, "burst")) * time.Hour)
	events := make([]querytest.Event, rapid.IntRange(0, 9).Draw(t, "of"))
	for i := range events {
		at = at.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "minutes")) * time.Minute)
		events[i] = querytest.Event{Sensor: rapid.SampledFrom([]string{"b", "c"}).Draw(t, "sensor"), Time: at.UnixNano(), Value: schema.IntValue(int64(i % 4))}
	}
	return events
}

func anyPeriod(t *rapid.T, w *querytest.World, zone *time.Location) Period {
	names := []string{"yesterday", "today", "this-week", "2026-03", "last-week", "", "of readings"}
	if name := rapid.SampledFrom(names).Draw(t, "period"); name == "of readings" { // it begins with one and ends before one
		a := rapid.SampledFrom(w.Events).Draw(t, "first").Time
		b := rapid.SampledFrom(w.Events).Draw(t, "last").Time
		from := time.Unix(0, min(a, b))
		p, err := Range(from, time.Unix(0, max(a, b, min(a, b)+1)))
		if err != nil {
			t.Fatal(err)
		}
		if !p.Back.Equal(p.From) || p.Back.Sub(p.BeforeFrom) != p.To.Sub(p.From) {
			t.Fatalf("%+v is compared with another length", p)
		}
		return p
	} else if name != "" {
		p, err := ParsePeriod(name, querytest.Now, zone)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	hours := time.Duration(rapid.IntRange(1, 100).Draw(t, "hours")) * time.Hour
	minutes := time.Duration(rapid.IntRange(0, 59).Draw(t, "minutes")) * time.Minute
	p, err := Range(querytest.Now.Add(-hours), querytest.Now.Add(-minutes))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// recount computes a report's numbers in another way: readings in plain lists, sums as fractions.
type recount struct {
	w    *querytest.World
	said map[string]record.Sensor
	p    Period
}

// of returns the readings of a sensor ("" are all) in [from, to), in order of time.
func (r recount) of(sensor string, from, to time.Time) (events []querytest.Event) {
	for _, e := range r.w.Truth() {
		if (e.Sensor == sensor || sensor == "") && e.Time >= from.UnixNano() && e.Time < to.UnixNano() {
			events = append(events, e)
		}
	}
	return events
}

func rational(v schema.Value) (*big.Rat, bool) {
	f, ok := v.Number()
	if !ok {
		return nil, false
	}
	return new(big.Rat).SetFloat64(f), true
}

// numbers returns count, least, most, mean, sum or increase of a sensor over a period, as text.
func (r recount) numbers(sensor string, from, to time.Time) (texts []string, sorted []float64) {
	total, rise := new(big.Rat), new(big.Rat)
	var last *big.Rat
	for _, e := range r.of(sensor, time.Unix(0, 0), from) {
		if x, ok := rational(e.Value); ok && e.Value.Kind() != schema.Bool {
			last = x
		}
	}
	events := r.of(sensor, from, to)
	for _, e := range events {
		x, ok := rational(e.Value)
		if !ok {
			continue
		}
		f, _ := x.Float64()
		sorted = append(sorted, f)
		total.Add(total, x)
		if e.Value.Kind() == schema.Bool {
			continue
		}
		if last != nil && x.Cmp(last) >= 0 {
			rise.Add(rise, new(big.Rat).Sub(x, last))
		} else if last != nil && x.Sign() > 0 {
			rise.Add(rise, x)
		}
		last = x
	}
	texts = []string{fmt.Sprint(len(events))}
	if len(sorted) == 0 {
		return append(texts, "", "", "", "", ""), nil
	}
	slices.Sort(sorted)
	number := func(x *big.Rat) string { f, _ := x.Float64(); return string(api.FloatDigits(f)) }
	mean := new(big.Rat).Quo(total, new(big.Rat).SetInt64(int64(len(sorted))))
	texts = append(texts, string(api.FloatDigits(sorted[0])), string(api.FloatDigits(sorted[len(sorted)-1])), number(mean))
	if r.said[sensor].Counter {
		return append(texts, "", number(rise)), sorted
	}
	return append(texts, number(total), ""), sorted
}

// lateOf returns how many came late.
func lateOf(events []querytest.Event) (late int) {
	for _, e := range events {
		if e.Late {
			late++
		}
	}
	return late
}

func textOf(d *api.Digits) string {
	if d == nil {
		return ""
	}
	return string(*d)
}

func (r recount) check(t *rapid.T, g *api.ReportGateway) {
	all, late := 0, 0
	for i := range g.Sensors {
		s := &g.Sensors[i]
		want, sorted := r.numbers(s.Sensor, r.p.From, r.p.To)
		got := []string{fmt.Sprint(s.Readings), textOf(s.Min), textOf(s.Max), textOf(s.Mean), textOf(s.Sum), textOf(s.Increase)}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s: count, min, max, mean, sum, increase (-want +got):\n%s", s.Sensor, d)
		}
		if n := len(sorted); n > 0 {
			if p95 := sorted[int(math.Ceil(0.95*float64(n)))-1]; s.P95.Float() != p95 {
				t.Fatalf("%s: percentile 95 is %s, want %v of %v", s.Sensor, *s.P95, p95, sorted)
			}
		}
		r.checkBefore(t, s)
		r.checkMore(t, s, g)
		r.checkChange(t, s)
		if n := lateOf(r.of(s.Sensor, r.p.From, r.p.To)); int(s.Late) != n {
			t.Fatalf("%s: %d of %d readings came late, want %d", s.Sensor, s.Late, s.Readings, n)
		}
		all, late = all+int(s.Readings), late+int(s.Late)
	}
	if want := len(r.of("", r.p.From, r.p.To)); all != want || int(g.Readings) != want {
		t.Fatalf("%d readings, and %d of the sensors, want %d", g.Readings, all, want)
	}
	if want := lateOf(r.of("", r.p.From, r.p.To)); late != want || int(g.Late) != want {
		t.Fatalf("%d readings came late, and %d of the sensors, want %d", g.Late, late, want)
	}
	r.checkGaps(t, g)
}

func (r recount) checkBefore(t *rapid.T, s *api.ReportSensor) {
	want, _ := r.numbers(s.Sensor, r.p.BeforeFrom, r.p.Back)
	if s.Before == nil {
		if want[0] != "0" {
			t.Fatalf("%s is not compared with %v", s.Sensor, want)
		}
		return
	}
	b := s.Before
	if d := cmp.Diff(want, []string{fmt.Sprint(b.Readings), textOf(b.Min), textOf(b.Max), textOf(b.Mean), textOf(b.Sum), textOf(b.Increase)}); d != "" {
		t.Fatalf("%s before (-want +got):\n%s", s.Sensor, d)
	}
}

// checkTotals checks what is said of all gateways, of which there is one.
func (r recount) checkTotals(t *rapid.T, got *api.Report) {
	g := &got.Gateways[0]
	expected, counted := uint64(0), uint64(0)
	for i := range g.Sensors {
		if s := &g.Sensors[i]; s.Expected != nil {
			expected += *s.Expected
			counted += min(*s.Expected, s.Readings)
		}
	}
	for _, share := range []*api.Number{g.Completeness, got.Totals.Completeness} {
		if expected == 0 {
			if share != nil {
				t.Fatalf("of nothing expected %v came", *share)
			}
		} else if want := float64(counted) / float64(expected); float64(*share) != want {
			t.Fatalf("%v of the expected readings came, want %v", *share, want)
		}
	}
	if a, all := g.Availability, got.Totals.Availability; (a == nil) != (all == nil) || a != nil && math.Abs(float64(*a-*all)) > 1e-12 {
		t.Fatalf("the gateway was available %v, all of it %v", a, all)
	}
}

// checkChange checks by how much a sensor changed, and how often a counter began anew.
func (r recount) checkChange(t *rapid.T, s *api.ReportSensor) {
	resets := uint64(0)
	var last *float64
	for _, e := range r.of(s.Sensor, time.Unix(0, 0), r.p.To) {
		x, ok := e.Value.Number()
		if !ok || e.Value.Kind() == schema.Bool {
			continue
		}
		if last != nil && x < *last && e.Time >= r.p.From.UnixNano() {
			resets++
		}
		last = new(x)
	}
	if r.said[s.Sensor].Counter && s.Resets != resets {
		t.Fatalf("%s began anew %d times, want %d", s.Sensor, s.Resets, resets)
	}
	var before, after *api.Digits
	if s.Before != nil {
		if before, after = s.Before.Mean, s.Mean; s.Counter {
			before, after = s.Before.Increase, s.Increase
		}
	}
	if before == nil || after == nil || before.Float() == 0 {
		if s.Change != nil {
			t.Fatalf("%s changed by %v of nothing", s.Sensor, *s.Change)
		}
		return
	}
	if want := (after.Float() - before.Float()) / math.Abs(before.Float()); float64(*s.Change) != want {
		t.Fatalf("%s changed by %v, want %v", s.Sensor, *s.Change, want)
	}
}

// checkMore checks the first and last value, the interval, what is expected and what the chart counts.
func (r recount) checkMore(t *rapid.T, s *api.ReportSensor, g *api.ReportGateway) {
	events := r.of(s.Sensor, r.p.From, r.p.To)
	if len(events) == 0 {
		return
	}
	first, last := events[0], events[len(events)-1]
	for v, want := range map[*api.ReportValue]querytest.Event{s.First: first, s.Last: last} {
		if v.Nanos != fmt.Sprint(want.Time) || v.Value.String() != want.Value.String() || v.Kind != want.Value.Kind().String() {
			t.Fatalf("%s: %+v is first or last, want %+v", s.Sensor, v, want)
		}
	}
	interval := r.said[s.Sensor].Interval
	if interval == 0 && len(events) == 1 {
		interval = time.Hour
	} else if interval == 0 {
		var distances []int64
		for i := range events[1:] {
			distances = append(distances, events[i+1].Time-events[i].Time)
		}
		slices.Sort(distances)
		interval = time.Duration(distances[(len(distances)+1)/2-1])
	}
	if want := uint64(min(r.p.To.Sub(g.Start), querytest.Now.Sub(g.Start)) / interval); s.Interval != interval.Seconds() || *s.Expected != want {
		t.Fatalf("%s: %v readings are expected every %v s, want %v every %v", s.Sensor, *s.Expected, s.Interval, want, interval)
	}
	numbers := uint64(0)
	if s.Chart != nil {
		for i, at := range s.Chart.Time {
			if s.Chart.Count[i] == 0 || at < r.p.From.UnixMilli()-1 || at > r.p.To.Add(-1).UnixMilli() {
				t.Fatalf("%s: the chart counts %d at %d", s.Sensor, s.Chart.Count[i], at)
			}
			numbers += s.Chart.Count[i]
		}
	}
	if numbers > s.Readings || numbers < s.Numbers {
		t.Fatalf("%s: the chart counts %d of %d readings, %d of them numbers", s.Sensor, numbers, s.Readings, s.Numbers)
	}
}

func (r recount) checkGaps(t *rapid.T, g *api.ReportGateway) {
	if g.GapLimit == 0 {
		return
	}
	until := r.p.To
	at, missing, gaps := g.Start, time.Duration(0), uint64(0)
	next := func(t time.Time) {
		if d := t.Sub(at); d.Seconds() > g.GapLimit {
			missing += d
			gaps++
		}
		at = t
	}
	for _, e := range r.of("", r.p.From, r.p.To) {
		next(time.Unix(0, e.Time))
	}
	next(until)
	share := 1 - missing.Seconds()/until.Sub(g.Start).Seconds()
	if g.Gaps != gaps || math.Abs(g.GapTime-missing.Seconds()) > 1e-6 || math.Abs(float64(*g.Availability)-share) > 1e-9 {
		t.Fatalf("%d gaps of %v s, availability %v; want %d of %v, %v", g.Gaps, g.GapTime, *g.Availability, gaps, missing, share)
	}
}

// TestTotalsAddUp adds two gateways up.
func TestTotalsAddUp(t *testing.T) {
	w := &making{clock: query.Clock{}}
	for n := range uint64(2) {
		w.total(&api.ReportGateway{Readings: 10 + n, Late: 3 + n, Rejected: 5 + n, Silent: true, Sensors: make([]api.ReportSensor, 2), Complete: api.Complete{Complete: true}})
	}
	if got, want := w.report.Totals, (api.ReportTotals{Gateways: 2, Sensors: 4, Silent: 2, Readings: 21, Late: 7, Rejected: 11}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
