package reports

import (
	"context"
	"path"
	"strings"
	"time"

	"berth/internal/metrics"
	"berth/schema/record"
)

// answered counts a question. Its kind is the last word of its route; a gateway alone is "gateway".
func (r *Reports) answered(route, status string, took time.Duration) {
	if !strings.HasPrefix(route, prefix) {
		return // no question
	}
	kind := strings.TrimPrefix(path.Base(route), ":")
	r.metrics.Count(metrics.Questions, kind, status).Add(1)
	if kind != kindLive {
		r.metrics.Spread(metrics.QuestionSeconds, kind).Observe(took.Seconds())
	}
}

// kindLive is the question whose answer has no end.
const kindLive = "live"

// watched answers the question for this instance's metrics.
func (r *Reports) watched() error {
	stop, err := r.bus.Answer(metrics.Subject(record.RoleReports, r.options.Instance), r.metrics.Answer)
	if err != nil {
		return err
	}
	r.stops.Push("metrics", stepLimit, func(context.Context) error { stop(); return nil })
	return nil
}
