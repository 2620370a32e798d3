package report

import (
	"context"
	"time"

	"berth/internal/api"
	"berth/reports/query"
	"berth/schema"
	"berth/schema/block"
)

// beginCounters finds the last number of each counter of a gateway before the walk begins: the first rise begins there,
// however long ago that was. It looks back in ever longer strides, at most as far as readings are kept.
func (w *walk) beginCounters(ctx context.Context, gateway string, sensors []api.Sensor) error {
	missing := map[string]bool{}
	for i := range sensors {
		if name := sensors[i].Name; w.said[name].Counter {
			missing[name] = true
		}
	}
	oldest := time.Unix(0, w.m.o.Engine.Oldest())
	stride := 24 * time.Hour
	for to := w.from; len(missing) > 0 && oldest.Before(to); stride *= 2 {
		from := to.Add(-stride)
		if from.Before(oldest) {
			from = oldest
		}
		if err := w.lastNumbers(ctx, gateway, missing, from, to); err != nil {
			return err
		}
		to = from
	}
	return nil
}

// lastNumbers has those counters begin whose last number before is in [from, to).
func (w *walk) lastNumbers(ctx context.Context, gateway string, missing map[string]bool, from, to time.Time) error {
	q := query.ReadingsRequest{Gateway: gateway, From: from, To: to}
	for name := range missing {
		q.Sensors = append(q.Sensors, name)
	}
	r, err := w.m.o.Engine.Readings(ctx, q)
	if err != nil {
		return err
	}
	last := map[string]schema.Value{}
	err = r.WalkSeries(ctx, func(series []block.Series) error {
		for i := range series {
			for j := series[i].Len() - 1; j >= 0; j-- {
				if v := series[i].Value(j); counted(v) {
					last[series[i].Sensor] = v
					break
				}
			}
		}
		return nil
	})
	for name, v := range last {
		s := w.sensor(name)
		s.counter.at, s.counter.began = v, true
		delete(missing, name)
	}
	return err
}
