package report

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"berth/internal/api"
	"berth/reports/query"
	"berth/schema"
	"berth/schema/block"
)

const (
	// allCounts is how many counts the ranks of a gateway's sensors may keep together, of some 30 bytes each; leastCounts is how
	// many each keeps at least, and mostCounts at most.
	allCounts               = 1 << 19
	leastCounts, mostCounts = 64, 8192
	// mostWalks bounds how often a gateway's readings are walked through; each walk finds at least five bits more, unless
	// readings come meanwhile.
	mostWalks = 40
)

// walk sums up one gateway's readings over one period.
type walk struct {
	*making

	from, to time.Time
	ranks    bool // find ranks: not of the period before
	charts   bool
	limit    int // of each rank
	sensors  map[string]*sensor
	names    []string // sorted
	presence presence
	nowhere  point // where there are no charts

	watched, missing int64
}

func (w *making) walk(from, to time.Time, sensors int) *walk {
	n := &walk{making: w, from: from, to: to, sensors: map[string]*sensor{}}
	n.limit = min(max(allCounts/2/max(sensors, 1), leastCounts), mostCounts)
	if w.m.counts > 0 {
		n.limit = w.m.counts
	}
	n.presence.last = from.UnixNano()
	return n
}

// sensor returns the sums of a sensor, which may be new.
func (w *walk) sensor(name string) *sensor {
	s := w.sensors[name]
	if s == nil {
		s = &sensor{name: name, said: w.said[name], high: newRank(95, w.limit), usual: newRank(50, w.limit)}
		if w.charts {
			s.chart = make([]point, (w.to.Sub(w.from)+w.step-1)/w.step)
		}
		w.sensors[name] = s
		at, _ := slices.BinarySearch(w.names, name)
		w.names = slices.Insert(w.names, at, name)
	}
	return s
}

// point returns the point of a sensor's chart for a time.
func (w *walk) point(s *sensor, t int64) *point {
	if !w.charts {
		w.nowhere = point{}
		return &w.nowhere
	}
	return &s.chart[(t-w.from.UnixNano())/int64(w.step)]
}

// value returns a value as reports have it.
func (w *walk) value(t int64, v schema.Value) *api.ReportValue {
	return &api.ReportValue{Time: w.clock.Time(t), Nanos: strconv.FormatInt(t, 10), Kind: v.Kind().String(), Value: api.Value{Value: v}}
}

// through walks through the readings until all is found.
func (w *walk) through(ctx context.Context, r *query.Readings, until int64) error {
	err := r.WalkSeries(ctx, func(series []block.Series) error {
		if len(series) > 0 {
			w.presence.add(series, until)
		}
		for i := range series {
			w.sensor(series[i].Sensor).add(&series[i], w)
		}
		return nil
	})
	for walks := 1; err == nil && w.ranks && !w.end(); walks++ {
		if walks == mostWalks {
			return schema.Errorf(schema.Unavailable, "readings of the period come so fast that they cannot be counted").WithNext("ask again for a period that is over")
		}
		before := make(map[string]*int64, len(w.sensors))
		err = r.WalkSeries(ctx, func(series []block.Series) error {
			for i := range series {
				s := w.sensor(series[i].Sensor)
				if before[s.name] == nil {
					before[s.name] = new(int64(math.MinInt64))
				}
				s.again(&series[i], before[s.name])
			}
			return nil
		})
	}
	return err
}

// end ends a walk of all sensors, and reports whether all is found.
func (w *walk) end() bool {
	found := true
	for _, s := range w.sensors {
		found = s.end() && found
	}
	return found
}

// gateway returns the report of one gateway.
func (w *making) gateway(ctx context.Context, name string) (*api.ReportGateway, error) {
	known, err := w.m.o.Engine.Gateway(ctx, name)
	if err != nil {
		return nil, err
	}
	sensors, err := w.m.o.Engine.Sensors(ctx, name)
	if err != nil {
		return nil, err
	}
	before, err := w.before(ctx, name, sensors.Sensors)
	if err != nil {
		return nil, err
	}
	n := w.walk(w.report.From, w.report.To, len(sensors.Sensors))
	n.ranks, n.charts = true, w.q.Charts
	for i := range sensors.Sensors { // those that did nothing too
		n.sensor(sensors.Sensors[i].Name)
	}
	if err := n.beginCounters(ctx, name, sensors.Sensors); err != nil {
		return nil, err
	}
	r, err := w.m.o.Engine.Readings(ctx, query.ReadingsRequest{Gateway: name, From: n.from, To: n.to})
	if err != nil {
		return nil, err
	}
	if err := n.through(ctx, r, w.report.Until.UnixNano()); err != nil {
		return nil, err
	}
	g := n.result(known, before)
	g.Complete = r.Complete
	if r.Complete.UpTo != nil {
		g.UpTo = new(w.clock.Time(r.Complete.UpTo.UnixNano()))
	}
	if r.Followed > 0 && (w.report.Position == 0 || r.Followed < w.report.Position) {
		w.report.Position = r.Followed
	}
	return g, nil
}

// before walks through the period before; nil when there is none.
func (w *making) before(ctx context.Context, gateway string, sensors []api.Sensor) (*walk, error) {
	span := w.report.Before
	if span == nil {
		return nil, nil //nolint:nilnil // there is nothing to compare with
	}
	n := w.walk(span.From, span.To, len(sensors))
	if err := n.beginCounters(ctx, gateway, sensors); err != nil {
		return nil, err
	}
	r, err := w.m.o.Engine.Readings(ctx, query.ReadingsRequest{Gateway: gateway, From: n.from, To: n.to})
	if err != nil {
		return nil, err
	}
	return n, n.through(ctx, r, n.to.UnixNano())
}

// result returns the gateway's report when its readings have been walked through.
func (w *walk) result(known *api.Gateway, before *walk) *api.ReportGateway {
	g := &api.ReportGateway{
		Name: known.Name, FirstSeen: known.FirstSeen, LastSeen: known.LastSeen, Rejected: w.refused[known.Name],
		LongestGaps: []api.ReportGap{}, Annotations: w.annotations(known.Name), Sensors: make([]api.ReportSensor, 0, len(w.names)),
	}
	if before != nil {
		g.Before = new(before.readings())
	}
	start, until := w.start(known, before), w.report.Until.UnixNano()
	g.Start = w.clock.Time(start)
	frames := time.Duration(known.Interval * float64(time.Second))
	shortest := w.addSensors(g, before, max(until-start, 0), frames)
	if shortest == 0 {
		shortest = frames
	}
	setGaps(g, w, start, until, shortest)
	quiet := max(gapIntervals*shortest, leastGap)
	g.Silent = known.LastSeen == nil || known.LastSeen.Add(quiet).Before(w.report.Until)
	w.making.watched += uint64(w.watched)
	w.making.missing += uint64(w.missing)
	return g
}

// annotations returns what people have noted on a gateway's charts in the period.
func (w *walk) annotations(gateway string) []api.Annotation {
	out := []api.Annotation{}
	zone := w.m.Zone()
	for _, a := range w.m.o.Annotations(gateway, w.from, w.to) {
		out = append(out, api.Annotation{ID: a.ID, From: a.From.In(zone), To: a.To.In(zone), Text: a.Text, Who: a.Who, Made: a.Made.In(zone)})
	}
	return out
}

// addSensors adds the reports of all sensors, with what was expected of each over the given time, and returns the least
// of their intervals; 0 when none is known.
func (w *walk) addSensors(g *api.ReportGateway, before *walk, span int64, frames time.Duration) (shortest time.Duration) {
	var expected, counted uint64
	for _, name := range w.names {
		s := w.sensors[name]
		var then *sensor
		if before != nil {
			then = before.sensors[name]
		}
		r := s.report(w, then)
		interval, usual := s.interval(frames)
		if interval > 0 && (s.readings > 0 || then != nil && then.readings > 0) { // else it may be gone for good
			due := uint64(span) / uint64(interval)
			r.Interval, r.Usual, r.Expected = interval.Seconds(), usual, new(due)
			expected, counted = expected+due, counted+min(due, s.readings)
			if shortest == 0 || interval < shortest {
				shortest = interval
			}
		}
		g.Readings += s.readings
		g.Late += s.late
		g.Sensors = append(g.Sensors, r)
	}
	if shortest > 0 {
		g.Expected, g.Completeness = new(expected), share(counted, expected)
		w.expected, w.counted, w.anyExpected = w.expected+expected, w.counted+counted, true
	}
	return shortest
}

// start returns from when on a gateway is expected to measure: the period's begin, or when it was there for the first time.
func (w *walk) start(known *api.Gateway, before *walk) int64 {
	from := w.report.From.UnixNano()
	if w.report.Kept != nil {
		from = w.report.Kept.UnixNano()
	}
	if known.FirstSeen == nil || before != nil && before.readings() > 0 {
		return from
	}
	there := known.FirstSeen.UnixNano()
	for _, s := range w.sensors {
		if s.readings > 0 {
			there = min(there, s.firstTime)
		}
	}
	return max(from, there)
}

// readings returns how many readings were walked through.
func (w *walk) readings() (n uint64) {
	for _, s := range w.sensors {
		n += s.readings
	}
	return n
}
