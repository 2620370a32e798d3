package expose

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"berth/internal/metrics"
)

// everything returns an answer with a sample of each metric there is.
func everything() []metrics.Answer {
	var samples []metrics.Sample
	for _, m := range metrics.All() {
		s := metrics.Sample{Name: m.Name, Value: 1}
		for _, label := range m.Labels {
			if label != "provider" && label != "role" {
				s.Labels = append(s.Labels, "a "+label)
			}
		}
		if m.Kind == metrics.Histogram {
			s.Counts = make([]uint64, len(m.Buckets)+1)
			s.Counts[1], s.Counts[len(m.Buckets)] = 2, 1
			s.Sum = 3
		}
		samples = append(samples, s)
	}
	return []metrics.Answer{{Provider: "north", Role: "ingest", Samples: samples}}
}

func scrape(t *testing.T, collect func(context.Context) []metrics.Answer) string {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(collect, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// TestEveryMetricIsExposedAsPrometheusAsks scrapes one of each, and has Prometheus's own linter read it.
func TestEveryMetricIsExposedAsPrometheusAsks(t *testing.T) {
	text := scrape(t, func(context.Context) []metrics.Answer { return everything() })
	for _, m := range metrics.All() {
		if !strings.Contains(text, "# TYPE "+m.Name+" "+m.Kind.String()+"\n") {
			t.Errorf("%s is not exposed as a %s", m.Name, m.Kind)
		}
		if m.Help == "" || !strings.HasSuffix(m.Help, ".") {
			t.Errorf("the help of %s is %q", m.Name, m.Help)
		}
		for _, label := range m.Labels {
			switch label {
			case "gateway", "sensor", "remote", "instance":
				t.Errorf("%s has a series for each %s: labels must take few values", m.Name, label)
			}
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, line := range []string{
		`berth_acknowledgement_seconds_bucket{provider="north",le="0.0005"} 0`,
		`berth_acknowledgement_seconds_bucket{provider="north",le="0.001"} 2`,
		`berth_acknowledgement_seconds_bucket{provider="north",le="+Inf"} 3`,
		`berth_acknowledgement_seconds_sum{provider="north"} 3`,
		`berth_up{provider="north",role="ingest"} 1`,
		`berth_web_requests_total{route="a route",status="a status"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
}

// TestWhatCannotBeExposedHidesNothingElse gives a label that is no UTF-8, and the same series twice.
func TestWhatCannotBeExposedHidesNothingElse(t *testing.T) {
	text := scrape(t, func(context.Context) []metrics.Answer {
		all := everything()
		all = append(all, metrics.Answer{Provider: "south", Role: "ingest", Samples: []metrics.Sample{
			{Name: metrics.Rejected.Name, Labels: []string{"\xff"}, Value: 1},
			{Name: metrics.LogBytes.Name, Value: 7},
		}})
		return append(all, metrics.Answer{Provider: "north", Role: "ingest", Samples: []metrics.Sample{{Name: metrics.LogBytes.Name, Value: 9}}})
	})
	if !strings.Contains(text, `berth_log_bytes{provider="south"} 7`) || !strings.Contains(text, "berth_head_bytes") {
		t.Errorf("one bad series hides others:\n%s", text)
	}
}

// BenchmarkScrape exposes 200 providers.
func BenchmarkScrape(b *testing.B) {
	var all []metrics.Answer
	for i := range 200 {
		a := everything()[0]
		a.Provider = fmt.Sprintf("provider%d", i)
		a.Samples = slices.DeleteFunc(slices.Clone(a.Samples), func(s metrics.Sample) bool {
			return !slices.ContainsFunc(metrics.All(), func(m *metrics.Metric) bool { return m.Name == s.Name && slices.Contains(m.Labels, "provider") })
		})
		all = append(all, a)
	}
	handler := Handler(func(context.Context) []metrics.Answer { return all }, slog.New(slog.DiscardHandler))
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", nil))
		b.ReportMetric(float64(w.Body.Len()), "bytes/scrape")
	}
}
