package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/rollup"
)

// What a series question may ask for.
const (
	DefaultPoints = 800
	MostPoints    = 10_000
	MostSensors   = 50
)

// rollupSpan is the range beyond which a chart reads rollups.
const rollupSpan = 2 * day

// SeriesRequest asks for the series of some sensors in [From, To), in at most Points points each.
type SeriesRequest struct {
	Gateway  string
	Sensors  []string // 1 to MostSensors
	From, To time.Time
	Points   int      // 2 to MostPoints; 0 is DefaultPoints
	Values   []string // of a bucket, of api.SeriesValues; none: all
}

// validate fills in defaults and returns an Invalid error for what cannot be asked.
func (q *SeriesRequest) validate() error {
	if q.Points == 0 {
		q.Points = DefaultPoints
	}
	switch {
	case len(q.Sensors) == 0:
		return schema.Errorf(schema.Invalid, "no sensor is named").WithNext("give ?sensor= once for each")
	case slices.Contains(q.Sensors, ""):
		return schema.Errorf(schema.Invalid, "a sensor has no name")
	case len(q.Sensors) > MostSensors:
		return schema.Errorf(schema.Invalid, "%d sensors are more than %d", len(q.Sensors), MostSensors)
	case q.Points < 2 || q.Points > MostPoints:
		return schema.Errorf(schema.Invalid, "%d points are not between 2 and %d", q.Points, MostPoints)
	case slices.ContainsFunc(q.Values, func(v string) bool { return !slices.Contains(api.SeriesValues, v) }):
		return schema.Errorf(schema.Invalid, "%q are not all values of a series", q.Values).WithNext("use %s", strings.Join(api.SeriesValues, ", "))
	case !q.From.Before(q.To):
		return schema.Errorf(schema.Invalid, "the range ends at %s, not after it begins at %s", q.To.Format(time.RFC3339), q.From.Format(time.RFC3339))
	}
	return nil
}

// Series answers with buckets of time, min, max, mean and count, or with the readings themselves where they are fewer than
// the points. A range of more than two days is answered from rollups, except for hours that changed since theirs was
// computed. NotFound for an unknown gateway.
func (e *Engine) Series(ctx context.Context, q SeriesRequest) (*api.SeriesAnswer, error) {
	if err := q.validate(); err != nil {
		return nil, err
	}
	p := q.plan()
	r, err := e.recent(ctx, q.Gateway, p.from, p.to)
	if err != nil {
		return nil, err
	}
	a := e.begin(&q, &p, r)
	if p.rolled {
		if err := a.addRollups(ctx); err != nil {
			return nil, err
		}
	}
	return a.finish(ctx)
}

// plan is how a question is answered: in buckets of a width, from rollups or from readings.
type plan struct {
	from, to int64 // of all buckets
	step     int64
	rolled   bool
	span     keyspace.Span // of the rollups
	source   string        // what the answer calls it
}

func (q *SeriesRequest) plan() plan {
	length := q.To.Sub(q.From)
	p := plan{rolled: length > rollupSpan, source: "readings"}
	least := time.Millisecond
	if p.rolled {
		least = time.Hour
	}
	p.step = int64(StepFor(length, q.Points, least))
	p.from = schema.Start(q.From.UnixNano(), p.step)
	p.to = schema.Start(q.To.UnixNano()-1, p.step) + p.step
	switch {
	case p.rolled && p.step >= int64(day):
		p.span, p.source = keyspace.Day, "days"
	case p.rolled:
		p.span, p.source = keyspace.Hour, "hours"
	}
	return p
}

// answering is an answer under way.
type answering struct {
	*Engine
	q      *SeriesRequest
	p      *plan
	r      *recent // what is not in blocks
	charts map[string]*chart

	counted *chart // that all sensors share; nil: each has its own

	open  map[int64]bool // spans that are computed from the readings; nil while there are none
	added []int64        // starts of the spans whose rollup was added, rising
}

// begin begins an answer by the plan.
func (e *Engine) begin(q *SeriesRequest, p *plan, r *recent) *answering {
	a := &answering{Engine: e, q: q, p: p, r: r, charts: make(map[string]*chart, len(q.Sensors))}
	for _, sensor := range q.Sensors {
		a.charts[sensor] = newChart(sensor, p.from, p.to, p.step, q.Points, !p.rolled)
	}
	if !p.rolled {
		return a
	}
	length := p.span.Length()
	a.added = make([]int64, 0, min((p.to-p.from)/length+1, 1024))
	for _, reader := range r.readers {
		for start := schema.Start(max(reader.First(), p.from), length); start <= min(reader.Last(), p.to-1); start += length {
			a.opens(start)
		}
	}
	return a
}

// opens has a span computed from the readings.
func (a *answering) opens(start int64) {
	if a.open == nil {
		a.open = map[int64]bool{}
	}
	a.open[start] = true
}

// finish adds the readings that are wanted besides rollups, and returns the answer.
func (a *answering) finish(ctx context.Context) (*api.SeriesAnswer, error) {
	parts := []stretch{{a.q.From.UnixNano(), a.q.To.UnixNano()}}
	if a.p.rolled {
		parts = runs(a.open, a.p.span.Length())
	}
	for _, s := range parts {
		if err := a.addReadings(ctx, a.q, a.r, a.charts, s.from, s.to); err != nil {
			return nil, err
		}
	}
	answer := &api.SeriesAnswer{
		Gateway: a.q.Gateway, From: a.q.From, To: a.q.To, Source: a.p.source, Complete: a.r.answered(),
		Step: time.Duration(a.p.step).Seconds(),
	}
	for _, sensor := range a.q.Sensors {
		answer.Series = append(answer.Series, a.charts[sensor].series(a.q.Values))
	}
	return answer, nil
}

// addReadings adds the readings in [from, to).
func (e *Engine) addReadings(ctx context.Context, q *SeriesRequest, r *recent, charts map[string]*chart, from, to int64) error {
	whole := func(b *block.Reader) bool { return addDirectory(charts, b) }
	return e.clustersOr(ctx, q.Gateway, r, keepOnly(q.Sensors), from, to, whole, func(series []block.Series) error {
		for i := range series {
			charts[series[i].Sensor].addSeries(&series[i])
		}
		return nil
	})
}

// addDirectory adds a block by what its directory says, without decoding a column, when each of the sensors has all of its
// readings in one bucket and in one column. Else it adds nothing and returns false.
func addDirectory(charts map[string]*chart, b *block.Reader) bool {
	columns := b.Columns()
	for i := range columns {
		c := charts[columns[i].Sensor]
		if c != nil && (!c.holds(&columns[i]) || i > 0 && columns[i-1].Sensor == columns[i].Sensor) {
			return false
		}
	}
	for i := range columns {
		if c := charts[columns[i].Sensor]; c != nil {
			c.addColumn(&columns[i])
		}
	}
	return true
}

// addRollups adds the rollups that count, and opens every span that has none or that the head or a tail touches, or whose rollup
// cannot be read.
func (a *answering) addRollups(ctx context.Context) error {
	p := a.p
	d := newRollups(a.q)
	err := a.store.Rollups(ctx, a.q.Gateway, p.span, p.from, p.to, func(row keyspace.Rollup) error {
		if !row.Counts() {
			row.Data = nil
		}
		d.add(a, row.Start, row.Data)
		return nil
	})
	if errors.Is(err, keyspace.ErrDamaged) {
		a.damages.note(a.Engine, schema.Show(err), err)
		for start := schema.Start(p.from, p.span.Length()); start < p.to; start += p.span.Length() {
			if _, added := slices.BinarySearch(a.added, start); !added {
				a.opens(start)
			}
		}
	} else if err != nil {
		return fmt.Errorf("read the rollups of gateway %s: %w", a.q.Gateway, err)
	}
	return nil
}

// rollups adds rollups to answers.
type rollups struct {
	decoder rollup.Decoder
	last    *answering // that was added to
	of      []*chart   // its, of each sensor of the rollup before; nil: it is not asked for
}

// newRollups returns what adds the rollups of a question's sensors to its answers.
func newRollups(q *SeriesRequest) rollups {
	return rollups{decoder: rollup.Decoder{Only: keepOnly(q.Sensors)}}
}

// add adds a rollup to an answer, or opens its span when it has no data or cannot be read.
func (d *rollups) add(a *answering, start int64, data []byte) {
	if a.open[start] {
		return
	}
	if data == nil {
		a.opens(start)
		return
	}
	stats, same, err := d.decoder.Decode(data)
	if err != nil {
		a.damages.note(a.Engine, rollupText(a.q.Gateway, start), err)
		a.opens(start)
		return
	}
	if !same || d.last != a {
		d.last, d.of = a, d.of[:0]
		for i := range stats {
			d.of = append(d.of, a.charts[stats[i].Sensor])
		}
	}
	for i, c := range d.of {
		if c != nil {
			c.addStat(start, &stats[i])
		}
	}
	a.added = append(a.added, start)
}

// rollupText names a rollup that cannot be read. Nothing is missing in an answer: its readings are read instead.
func rollupText(gateway string, start int64) string {
	return fmt.Sprintf("a rollup of gateway %q of %s cannot be read (its readings can)", gateway, time.Unix(0, start).UTC().Format(time.RFC3339))
}
