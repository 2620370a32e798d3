package web

import (
	"context"
	"path"
	"time"

	"berth/internal/bus"
	"berth/internal/metrics"
	"berth/schema/record"
)

// answered counts a request.
func (w *Web) answered(route, status string, took time.Duration) {
	if route == "" {
		route = "none"
	}
	w.metrics.Count(metrics.WebRequests, route, status).Add(1)
	if path.Base(route) != "live" { // it has no end
		w.metrics.Spread(metrics.WebSeconds).Observe(took.Seconds())
	}
}

// watched answers the question for this instance's metrics.
func (w *Web) watched(sessions *bus.Bucket) error {
	w.metrics.Look(func(ctx context.Context, s *metrics.Sink) {
		if n, err := sessions.Count(ctx); err == nil {
			s.Put(metrics.WebSessions, float64(n))
		}
	})
	stop, err := w.conn.Answer(metrics.Subject(record.RoleWeb, w.o.Instance), w.metrics.Answer)
	if err != nil {
		return err
	}
	w.stack.Push("metrics", 2*time.Second, func(context.Context) error { stop(); return nil })
	return nil
}
