package query

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"berth/internal/api"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/catalog"
)

// FleetRequest asks about a page of gateways at once, in byte order of their names.
type FleetRequest struct {
	Sensors []string // 1 to MostSensors
	After   string   // the last name of the page before
	Limit   int      // 1 to MostGateways; 0 is MostGateways
}

// page is what of a page of gateways was asked about, by their names.
type page struct {
	names    []string           // of those that have one of the sensors
	latest   [][]catalog.Latest // of these sensors
	next     string             // the value of After for those that follow
	complete api.Complete
	said     said
}

// page returns the gateways asked about, and has the head say of which of all it has readings in [from, to), if there is a range.
func (e *Engine) page(ctx context.Context, q *FleetRequest, from, to int64) (*page, error) {
	if q.Limit == 0 {
		q.Limit = MostGateways
	}
	var err error
	switch {
	case q.Limit < 1 || q.Limit > MostGateways:
		err = schema.Errorf(schema.Invalid, "%d gateways a page are not between 1 and %d", q.Limit, MostGateways)
	case len(q.Sensors) == 0 || slices.Contains(q.Sensors, ""):
		err = schema.Errorf(schema.Invalid, "no sensor is named").WithNext("give ?sensor= once for each")
	case len(q.Sensors) > MostSensors:
		err = schema.Errorf(schema.Invalid, "%d sensors are more than %d", len(q.Sensors), MostSensors)
	}
	if err != nil {
		return nil, err
	}
	var p page
	damaged := damage{engine: e}
	var all []outline
	all, p.said.head, p.complete, err = e.outlines(ctx, headapi.GatewaysRequest{After: q.After, Limit: q.Limit + 1, From: from, To: to}, &damaged)
	if err != nil {
		return nil, err
	}
	if len(all) > q.Limit {
		all = all[:q.Limit]
		p.next = all[q.Limit-1].Gateway
	}
	p.take(all, q.Sensors, &damaged)
	p.complete = damaged.apply(p.complete)
	return &p, nil
}

// take adds those that have one of the sensors.
func (p *page) take(all []outline, sensors []string, damaged *damage) {
	want := func(sensor []byte) bool {
		return slices.ContainsFunc(sensors, func(s string) bool { return s == string(sensor) })
	}
	for i := range all {
		if entry := all[i].some(want, damaged); len(entry.Latest) > 0 {
			p.names, p.latest = append(p.names, entry.Gateway), append(p.latest, entry.Latest)
			p.said.tailless = append(p.said.tailless, all[i].tailless)
		}
	}
}

// FleetLatest answers with the newest readings of some sensors of each gateway of a page that has one of them.
func (e *Engine) FleetLatest(ctx context.Context, q FleetRequest) (*api.FleetLatest, error) {
	p, err := e.page(ctx, &q, 0, 0)
	if err != nil {
		return nil, err
	}
	answer := &api.FleetLatest{Gateways: make([]api.GatewayLatest, len(p.names)), Next: p.next, Complete: p.complete}
	oldest, clock := e.oldest(), e.Clock()
	for i, name := range p.names {
		readings := []api.Reading{}
		for _, l := range p.latest[i] {
			if l.Time >= oldest {
				readings = append(readings, clock.Reading(l.Sensor, l.Time, l.Value))
			}
		}
		answer.Gateways[i] = api.GatewayLatest{Gateway: name, Readings: readings}
	}
	return answer, nil
}

// FleetSeries is an answer under way about the series of a page of gateways.
type FleetSeries struct {
	Next     string
	Complete api.Complete // of the list of gateways; each of their answers says its own

	engine *Engine
	names  []string
	said   said
	series SeriesRequest
}

// FleetSeries begins an answer with the series, as [Engine.Series] has them, of each gateway of a page that has one of the
// sensors.
func (e *Engine) FleetSeries(ctx context.Context, q FleetRequest, s SeriesRequest) (*FleetSeries, error) {
	s.Sensors = q.Sensors
	if err := s.validate(); err != nil {
		return nil, err
	}
	plan := s.plan()
	p, err := e.page(ctx, &q, plan.from, plan.to)
	if err != nil {
		return nil, err
	}
	return &FleetSeries{Next: p.next, Complete: p.complete, engine: e, names: p.names, said: p.said, series: s}, nil
}

// atOnce is of how many gateways the head is asked at once.
const atOnce = 16

// Walk yields the answer of each gateway, in order of their names. They are asked about some at once, and some of such groups
// at the same time, so that as many answers at most are in memory.
func (f *FleetSeries) Walk(ctx context.Context, yield func(*api.SeriesAnswer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	outcomes := make(chan chan group, max(runtime.GOMAXPROCS(0)-1, 1)) // and one that is waited for
	wg.Go(func() {
		defer close(outcomes)
		for from := 0; from < len(f.names); from += atOnce {
			to := min(from+atOnce, len(f.names))
			one := make(chan group, 1)
			select {
			case outcomes <- one:
			case <-ctx.Done():
				return
			}
			wg.Go(func() { one <- f.group(ctx, f.names[from:to], f.said.of(from, to)) })
		}
	})
	for one := range outcomes {
		g := <-one
		for _, answer := range g.answers {
			if err := yield(answer); err != nil {
				return err
			}
		}
		if g.err != nil {
			return g.err
		}
	}
	return ctx.Err()
}

// group is the answers of some gateways, up to the first that there is none of.
type group struct {
	answers []*api.SeriesAnswer
	err     error
}

// group answers about some gateways.
func (f *FleetSeries) group(ctx context.Context, names []string, s *said) (g group) {
	p := f.series.plan()
	all, err := f.engine.recents(ctx, names, p.from, p.to, s)
	if err != nil {
		return group{err: err}
	}
	under := make([]*answering, len(all))
	for i, r := range all {
		q := f.series
		q.Gateway = names[i]
		under[i] = f.engine.begin(&q, &p, r)
	}
	if p.rolled {
		err = f.engine.addFleetRollups(ctx, names, under)
	}
	if err != nil {
		return group{err: err}
	}
	for _, a := range under {
		answer, err := a.finish(ctx)
		if err != nil {
			return group{g.answers, err}
		}
		g.answers = append(g.answers, answer)
	}
	return g
}

// addFleetRollups is addRollups of one answer or more of the same plan. When some rollup is damaged, the answers begin anew, each on
// its own: so each has all that can be read.
func (e *Engine) addFleetRollups(ctx context.Context, names []string, under []*answering) error {
	p, next := under[0].p, 0
	d := newRollups(under[0].q)
	err := e.store.FleetRollups(ctx, names, p.span, p.from, p.to, func(key keyspace.RollupKey, data []byte) error {
		for names[next] != key.Gateway {
			next++
		}
		d.add(under[next], key.Start, data)
		return nil
	})
	if !errors.Is(err, keyspace.ErrDamaged) {
		if err != nil {
			return fmt.Errorf("read the rollups of %d gateways: %w", len(names), err)
		}
		return nil
	}
	for i, a := range under {
		under[i] = e.begin(a.q, a.p, a.r)
		if err := under[i].addRollups(ctx); err != nil {
			return err
		}
	}
	return nil
}
