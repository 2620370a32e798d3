// Package expose writes metrics for Prometheus. It is the only package that knows its client library.
package expose

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"berth/internal/metrics"
)

// collectLimit bounds the collecting of all answers for one scrape, and scrapesMost how many scrapes run at once.
const (
	collectLimit = 5 * time.Second
	scrapesMost  = 2
)

// Handler answers scrapes with what collect returns.
func Handler(collect func(ctx context.Context) []metrics.Answer, log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector(collect))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: scrapesMost,
	})
}

// collector is a prometheus.Collector whose metrics are not known beforehand.
type collector func(ctx context.Context) []metrics.Answer

// Describe describes nothing: the table of metrics says what there is.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect asks and sends what was answered.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectLimit)
	defer cancel()
	descs := map[string]*prometheus.Desc{}
	for _, answer := range c(ctx) {
		for i := range answer.Samples {
			s := &answer.Samples[i]
			m, labels := s.Of(answer.Provider, answer.Role)
			desc := descs[m.Name]
			if desc == nil {
				desc = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
				descs[m.Name] = desc
			}
			if metric := made(desc, m, s, labels); metric != nil {
				out <- metric
			}
		}
	}
}

// made makes a sample a metric, nil if it cannot be one.
func made(desc *prometheus.Desc, m *metrics.Metric, s *metrics.Sample, labels []string) prometheus.Metric {
	var (
		metric prometheus.Metric
		err    error
	)
	switch m.Kind {
	case metrics.Histogram:
		total, buckets := uint64(0), make(map[float64]uint64, len(m.Buckets))
		for i, n := range s.Counts {
			if total += n; i < len(m.Buckets) {
				buckets[m.Buckets[i]] = total
			}
		}
		metric, err = prometheus.NewConstHistogram(desc, total, s.Sum, buckets, labels...)
	case metrics.Counter:
		metric, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, s.Value, labels...)
	default:
		metric, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.Value, labels...)
	}
	if err != nil {
		return nil // a label that is no UTF-8, say
	}
	return metric
}
