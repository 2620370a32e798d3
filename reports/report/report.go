// Package report makes reports: what a provider's gateways and sensors did over a period, in numbers that are right to the
// last digit. Every number is computed from the readings themselves, each identity once, in one walk through them in order
// of time; how much there is changes how long it takes and not how much memory. How numbers are shown is left to others.
//
// How each number is computed:
//
//   - First, last, least and greatest are values of readings; of equal ones the earliest counts.
//   - A sum is exact: floats and ints are added without any rounding, in a register as wide as all float64 (exact), and
//     the result is rounded once, to the nearest float64; of ints alone all digits are kept. A mean is the exact sum
//     divided by the number of values, rounded once.
//   - Percentile 95 is by the nearest rank: the least value that at least 95 of 100 values do not exceed.
//   - A counter's increase is the sum of its rises from each value to the next, and from 0 where it fell, since then it began
//     anew. A rise belongs to the period in which it ends, so that the days of a month add up to the month.
//   - A reading came late if it came more than schema.LateAfter after it was measured, each time that it came.
//   - Readings are expected at a sensor's interval: as set, else the median distance between its readings, else the usual
//     time between the gateway's frames. Completeness counts of no sensor more readings than were expected.
//   - A gap is a stretch without any reading of the gateway of more than three of the least interval of its sensors, at
//     least two minutes; availability is the share of time outside of gaps.
//
// Its one invariant: equal readings give equal numbers, however they came and wherever they lie.
package report

import (
	"context"
	"slices"
	"time"

	"berth/internal/api"
	"berth/reports/query"
	"berth/schema"
	"berth/schema/record"
)

// MostSensors is how many sensors a report holds that is not written as it is made.
const MostSensors = 2000

// Rejects tell how many readings of gateways were refused between two times. From is when the oldest came that are still
// kept, the zero time when none has been given up.
type Rejects interface {
	Rejected(ctx context.Context, from, to time.Time) (byGateway map[string]uint64, since time.Time, err error)
}

// Options are what a Maker leans on.
type Options struct {
	Provider string
	Engine   *query.Engine
	Sensors  func() map[string]record.Sensor // what is said about sensors, as it is now
	Rejects  Rejects
	// Annotations returns what people have noted on a gateway's charts in a period, in order of time; nil: nothing.
	Annotations func(gateway string, from, to time.Time) []record.Annotation
	Now         func() time.Time // nil: time.Now
}

// Maker makes reports of one provider. Its methods may be called concurrently.
type Maker struct {
	o      Options
	counts int // of each rank; 0: as many as there is room for
}

// New returns a Maker.
func New(o Options) *Maker {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Annotations == nil {
		o.Annotations = func(string, time.Time, time.Time) []record.Annotation { return nil }
	}
	return &Maker{o: o}
}

// Request asks for a report.
type Request struct {
	Gateways []string // none: those of the choice
	query.Choice
	Period Period
	Charts bool // with a chart of each sensor
}

// Zone returns the provider's zone, in which periods are cut.
func (m *Maker) Zone() *time.Location { return m.o.Engine.Clock().Time(0).Location() }

// Known returns NotFound for a gateway that nobody knows.
func (m *Maker) Known(ctx context.Context, gateway string) error {
	_, err := m.o.Engine.Gateway(ctx, gateway)
	return err
}

// Make returns a report whole. Invalid says that it would hold more than MostSensors sensors.
func (m *Maker) Make(ctx context.Context, q Request) (*api.Report, error) {
	gateways := []api.ReportGateway{}
	sensors := 0
	report, err := m.Walk(ctx, q, nil, func(g *api.ReportGateway) error {
		if sensors += len(g.Sensors); sensors > MostSensors {
			return schema.Errorf(schema.Invalid, "the report has more than %d sensors", MostSensors).
				WithNext("choose fewer gateways, or take it as csv or xlsx, which have no bound")
		}
		gateways = append(gateways, *g)
		return nil
	})
	if err != nil {
		return nil, err
	}
	report.Gateways = gateways
	return report, nil
}

// Walk makes a report a gateway at a time, in the order asked for, else of their names. Before the first gateway begin is
// called with what is known by then, unless it is nil; what is returned has the totals, and no gateways. NotFound for an
// unknown gateway that is asked for.
func (m *Maker) Walk(ctx context.Context, q Request, begin func(*api.Report) error, yield func(*api.ReportGateway) error) (*api.Report, error) {
	w, err := m.begin(ctx, &q)
	if err != nil {
		return nil, err
	}
	if begin != nil {
		if err := begin(&w.report); err != nil {
			return nil, err
		}
	}
	one := func(name string) error {
		g, err := w.gateway(ctx, name)
		if err != nil {
			return err
		}
		w.total(g)
		return yield(g)
	}
	if len(q.Gateways) > 0 {
		for i, name := range q.Gateways {
			if slices.Contains(q.Gateways[:i], name) {
				continue
			}
			if err := one(name); err != nil {
				return nil, err
			}
		}
		return w.end(), nil
	}
	for after := ""; ; {
		page, err := m.o.Engine.Gateways(ctx, query.GatewaysRequest{After: after, Choice: q.Choice})
		if err != nil {
			return nil, err
		}
		w.join(page.Complete)
		for i := range page.Gateways {
			if err := one(page.Gateways[i].Name); err != nil {
				return nil, err
			}
		}
		if after = page.Next; after == "" {
			return w.end(), nil
		}
	}
}

// points is how many points a chart has at most.
const points = 160

// making is a report that is being made.
type making struct {
	m       *Maker
	q       *Request
	clock   query.Clock
	report  api.Report
	step    time.Duration
	said    map[string]record.Sensor
	refused map[string]uint64

	expected, counted, watched, missing, incomplete uint64
	anyExpected                                     bool
}

func (m *Maker) begin(ctx context.Context, q *Request) (*making, error) {
	now := m.o.Now()
	clock := m.o.Engine.Clock()
	p := &q.Period
	w := &making{m: m, q: q, clock: clock, said: m.o.Sensors(), step: query.StepFor(p.To.Sub(p.From), points, time.Second)}
	at := func(t time.Time) time.Time { return clock.Time(t.UnixNano()) }
	w.report = api.Report{
		Provider: m.o.Provider, Groups: q.Groups, Tags: q.Tags, Period: p.Name, From: at(p.From), To: at(p.To), Until: at(p.To), Zone: m.Zone().String(), Made: at(now),
		Step: w.step.Seconds(), Gateways: []api.ReportGateway{}, Methods: []api.ReportMethod{}, Complete: api.Complete{Complete: true},
	}
	if now.Before(p.To) {
		w.report.Until = at(now)
	}
	oldest := time.Unix(0, m.o.Engine.Oldest())
	if p.From.Before(oldest) {
		w.report.Kept = new(at(oldest))
	}
	if !p.BeforeFrom.Before(oldest) && p.BeforeFrom.Before(p.Back) {
		w.report.Before = &api.Span{From: at(p.BeforeFrom), To: at(p.Back)}
	}
	refused, since, err := m.o.Rejects.Rejected(ctx, p.From, p.To)
	if err != nil {
		return nil, err
	}
	w.refused = refused
	if since.After(p.From) {
		w.report.Rejects = new(at(since))
	}
	return w, nil
}

// total adds a gateway to the totals.
func (w *making) total(g *api.ReportGateway) {
	t := &w.report.Totals
	t.Gateways++
	t.Sensors += len(g.Sensors)
	t.Readings += g.Readings
	t.Late += g.Late
	t.Rejected += g.Rejected
	if g.Silent {
		t.Silent++
	}
	w.join(g.Complete)
}

// mostReasons bounds how many gateways' reasons a report repeats.
const mostReasons = 5

// join says that the report is no more complete than a part of it.
func (w *making) join(c api.Complete) {
	if c.Complete {
		return
	}
	r := &w.report.Complete
	if c.UpTo != nil && (r.UpTo == nil || c.UpTo.Before(*r.UpTo)) {
		r.UpTo = new(w.clock.Time(c.UpTo.UnixNano()))
	}
	r.Complete = false
	if w.incomplete++; w.incomplete > mostReasons || c.Reason == r.Reason {
		return
	}
	if r.Reason != "" {
		r.Reason += "; "
	}
	r.Reason += c.Reason
}

// end returns the report with its totals.
func (w *making) end() *api.Report {
	t := &w.report.Totals
	if w.anyExpected {
		t.Expected = new(w.expected)
		t.Completeness = share(w.counted, w.expected)
	}
	if w.watched > 0 {
		t.Availability = share(w.watched-w.missing, w.watched)
	}
	return &w.report
}

// share returns n of whole; nil of nothing.
func share(n, whole uint64) *api.Number {
	if whole == 0 {
		return nil
	}
	return new(api.Number(float64(n) / float64(whole)))
}
