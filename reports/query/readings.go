package query

import (
	"container/heap"
	"context"
	"time"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/block"
)

// ReadingsRequest asks for the readings of a gateway in [From, To).
type ReadingsRequest struct {
	Gateway  string
	Sensors  []string // none: all
	From, To time.Time
}

// Readings is an answer under way. Complete is known before the first reading is walked to, except for what is found
// damaged on the way: it is right when Walk has returned.
type Readings struct {
	Complete api.Complete
	Damaged  int // places that could not be read

	// Followed is the last sequence of the log that is surely in the answer; 0: not known, since the head did not answer.
	Followed uint64

	engine  *Engine
	request ReadingsRequest
	recent  *recent
}

// Readings begins an answer that walks through every reading of a gateway in a range. NotFound for an unknown gateway.
func (e *Engine) Readings(ctx context.Context, q ReadingsRequest) (*Readings, error) {
	r, err := e.recent(ctx, q.Gateway, q.From.UnixNano(), q.To.UnixNano())
	if err != nil {
		return nil, err
	}
	return &Readings{Complete: r.answered(), Damaged: r.damage.count, Followed: r.followed, engine: e, request: q, recent: r}, nil
}

// Head says how far the answer is complete, whatever is damaged.
func (r *Readings) Head() api.Complete { return r.recent.complete }

// Walk yields the readings in order of time and, within one time, of the sensors' names.
func (r *Readings) Walk(ctx context.Context, yield func(sensor string, t int64, v schema.Value) error) error {
	return r.WalkSeries(ctx, func(series []block.Series) error { return inOrder(series, yield) })
}

// WalkSeries yields the readings as series of a stretch of time after the other: those of a stretch are all after those
// of the one before. It may be called again.
func (r *Readings) WalkSeries(ctx context.Context, yield func([]block.Series) error) error {
	q := r.request
	err := r.engine.clusters(ctx, q.Gateway, r.recent, keepOnly(q.Sensors), q.From.UnixNano(), q.To.UnixNano(), yield)
	r.Complete, r.Damaged = r.recent.answered(), r.recent.damage.count
	return err
}

// inOrder yields the readings of several series in order of time, then of the series.
func inOrder(series []block.Series, yield func(sensor string, t int64, v schema.Value) error) error {
	h := cursors{series: series}
	for i := range series {
		if series[i].Len() > 0 {
			h.at = append(h.at, cursor{series: i, time: series[i].Times[0]})
		}
	}
	heap.Init(&h)
	for len(h.at) > 0 {
		c := &h.at[0]
		s := &series[c.series]
		if err := yield(s.Sensor, c.time, s.Value(c.next)); err != nil {
			return err
		}
		if c.next++; c.next == s.Len() {
			heap.Pop(&h)
			continue
		}
		c.time = s.Times[c.next]
		heap.Fix(&h, 0)
	}
	return nil
}

// cursor is a place in one series.
type cursor struct {
	series int
	next   int
	time   int64
}

// cursors is a heap of the series not yet walked through, the next reading first.
type cursors struct {
	series []block.Series
	at     []cursor
}

// Len, Less, Swap, Push and Pop are heap.Interface.
func (h *cursors) Len() int { return len(h.at) }

// Less orders by time, then by series.
func (h *cursors) Less(i, j int) bool {
	if h.at[i].time != h.at[j].time {
		return h.at[i].time < h.at[j].time
	}
	return h.at[i].series < h.at[j].series
}

// Swap exchanges two cursors.
func (h *cursors) Swap(i, j int) { h.at[i], h.at[j] = h.at[j], h.at[i] }

// Push is never used: series are only taken away.
func (h *cursors) Push(any) {}

// Pop takes the last away.
func (h *cursors) Pop() any {
	last := h.at[len(h.at)-1]
	h.at = h.at[:len(h.at)-1]
	return last
}
