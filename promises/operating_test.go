package promises

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"berth/internal/gateways"
	"berth/internal/metrics"
	"berth/promises/install"
)

// TestOperatorsSeeEverythingInOneScrape runs two providers under load, scrapes them as Prometheus does, and looks for what
// an operator must see: every instance, how long acknowledgements take, what was refused and why, and what the log, the
// head and the keyspace hold, for each provider and for no gateway. Then one instance hangs: the scrape is as quick, and
// says which.
func TestOperatorsSeeEverythingInOneScrape(t *testing.T) {
	t.Parallel()
	in, _ := newInstall(t)
	load(t, in, "north", 20)
	load(t, in, "south", 5)
	asked := []string{"route", "/api/v1/providers/:provider/gateways", "status", "200"}
	var s *scraped
	soon(t, "web has counted what it answered, the head has followed, and what was refused is kept", func() bool {
		s = scrape(t, in)
		done := s.find(metrics.WebRequests, asked...) != nil // it counts an answer when all of it is on its way
		for _, provider := range []string{"north", "south"} {
			lag, kept := s.find(metrics.HeadLag, "provider", provider), s.find(metrics.RejectsKept, "provider", provider)
			done = done && lag.GetGauge().GetValue() == 0 && kept.GetGauge().GetValue() > 0
		}
		return done
	})
	for _, provider := range []string{"north", "south"} {
		of := func(more ...string) []string { return append([]string{"provider", provider}, more...) }
		for _, role := range []string{"ingest", "reports"} {
			s.want(metrics.Up, func(v float64) bool { return v == 1 }, of("role", role)...)
			s.want(metrics.InstanceStarts, func(v float64) bool { return v == 1 }, of("role", role)...)
			s.want(metrics.Resident, func(v float64) bool { return v > 1<<20 && v < 1<<30 }, of("role", role)...)
		}
		frames := s.value(metrics.FramesEnded, of("outcome", "committed")...)
		s.want(metrics.FramesReceived, func(v float64) bool { return v >= frames && frames > 100 }, of()...)
		s.want(metrics.Readings, func(v float64) bool { return v == 8*frames }, of("outcome", "accepted")...)
		s.want(metrics.Rejected, func(v float64) bool { return v == 1 }, of("reason", "syntax")...)
		s.want(metrics.Strangers, func(v float64) bool { return v == 1 }, of()...)
		s.want(metrics.IngestState, func(v float64) bool { return v == 1 }, of("state", "ready")...)
		s.want(metrics.ProviderState, func(v float64) bool { return v == 1 }, of("state", "ready")...)
		s.want(metrics.LogBytes, func(v float64) bool { return v > 0 && v < 1<<30 }, of()...)
		s.want(metrics.LogQuota, func(v float64) bool { return v == 1<<30 }, of()...)
		s.want(metrics.LogAge, func(v float64) bool { return v >= 0 && v < 120 }, of()...)
		s.want(metrics.HeadLag, func(v float64) bool { return v == 0 }, of()...)
		s.want(metrics.RejectsKept, func(v float64) bool { return v == 1 }, of()...)
		s.want(metrics.KeyspaceBytes, func(v float64) bool { return v > 0 }, of()...)
		s.quantile(metrics.AckSeconds, frames, .5, 5, of()...) // a busy machine's are long; milliseconds would be thousands
		s.quantile(metrics.AckSeconds, frames, .99, 10, of()...)
	}
	s.want(metrics.NATSHealthy, func(v float64) bool { return v == 1 })
	s.want(metrics.DiskFree, func(v float64) bool { return v > 0 }, "holds", "keyspaces")
	s.want(metrics.Up, func(v float64) bool { return v == 1 }, "provider", "", "role", "web")
	s.want(metrics.WebRequests, func(v float64) bool { return v > 0 }, asked...)
	s.want(metrics.Questions, func(v float64) bool { return v > 0 }, "provider", "north", "kind", "gateways", "status", "200")
	series := 0
	for name, family := range s.families {
		for _, m := range family.GetMetric() {
			series += 1 + len(m.GetHistogram().GetBucket())
			for _, label := range m.GetLabel() {
				if strings.Contains(label.GetValue(), "sim-") || strings.Contains(label.GetValue(), "127.0.0.1") {
					t.Errorf("%s has a series of %s=%s", name, label.GetName(), label.GetValue())
				}
			}
		}
	}

	if t.Logf("%d series of two providers", series); series > 400 {
		t.Errorf("%d series of two providers are too many", series)
	}

	for name, address := range map[string]string{"web": in.Web, "a provider's port": net.JoinHostPort("127.0.0.1", strconv.Itoa(in.Base+1))} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if status := do(t, r); status != http.StatusNotFound {
			t.Errorf("%s answers %d to who asks for metrics", name, status)
		}
	}

	pid, err := in.InstancePID(t.Context(), "south", "ingest")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT)                        // it may have been ended for its silence
	soon(t, "north is up, and south's ingest is not", func() bool { // on a busy machine north may answer too late as well
		begun := time.Now()
		s = scrape(t, in)
		if took := time.Since(begun); took > 10*time.Second { // as long as Prometheus waits
			t.Fatalf("a scrape took %v while one instance hung", took)
		}
		return s.find(metrics.Up, "provider", "south", "role", "ingest").GetGauge().GetValue() == 0 &&
			s.find(metrics.Up, "provider", "north", "role", "ingest").GetGauge().GetValue() == 1
	})
	if s.find(metrics.LogBytes, "provider", "south") != nil {
		t.Error("an instance that does not answer has metrics")
	}
}

// load adds a provider and sends hundreds of frames of its gateways, one frame that cannot be read, and one stranger;
// then it asks the API.
func load(t *testing.T, in *install.Install, name string, n int) {
	t.Helper()
	p, err := in.Add(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := gateways.New(gateways.Options{
		Address: p.Address(), Key: p.EnrolmentKey, Protocol: "berth", Prefix: "sim", Gateways: n, Sensors: 8, PerFrame: 1, Window: 16, Step: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	sending, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { fleet.Run(sending) })
	soon(t, "hundreds of frames are acknowledged", func() bool { return fleet.Stats().Acked > 300 })
	cancel()
	run.Wait()
	if status := post(t, p, p.EnrolmentKey, "boiler,gateway=gw temperature="); status != http.StatusBadRequest {
		t.Errorf("what cannot be read is answered %d", status)
	}
	if status := post(t, p, "bk_wrong", "boiler,gateway=gw temperature=1"); status != http.StatusUnauthorized {
		t.Errorf("a stranger is answered %d", status)
	}
	token, err := in.Token(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+in.Web+"/api/v1/providers/"+name+"/gateways", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if status := do(t, r); status != http.StatusOK {
		t.Errorf("the API answers %d", status)
	}
}

// post sends a line over a connection of its own.
func post(t *testing.T, p install.Provider, key, line string) int {
	t.Helper()
	return do(t, lineOf(t, p, key, line))
}

// lineOf is the request that sends a line.
func lineOf(t *testing.T, p install.Provider, key, line string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.Address()+"/write", strings.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Close = true
	return r
}

// do returns the status that a request is answered with.
func do(t *testing.T, r *http.Request) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil { // an answer that nobody reads to its end counts as cut
		t.Fatal(err)
	}
	return answer.StatusCode
}

// scraped is what a scrape gave.
type scraped struct {
	t        *testing.T
	families map[string]*dto.MetricFamily
}

func scrape(t *testing.T, in *install.Install) *scraped {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+in.Metrics+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &scraped{t: t, families: families}
}

// find returns the series with these labels, nil if there is none.
func (s *scraped) find(m *metrics.Metric, labels ...string) *dto.Metric {
	for _, series := range s.families[m.Name].GetMetric() {
		var have []string
		for _, l := range series.GetLabel() {
			have = append(have, l.GetName()+"="+l.GetValue())
		}
		found := len(have)*2 == len(labels)
		for i := 0; i < len(labels); i += 2 {
			found = found && slices.Contains(have, labels[i]+"="+labels[i+1])
		}
		if found {
			return series
		}
	}
	return nil
}

func (s *scraped) value(m *metrics.Metric, labels ...string) float64 {
	s.t.Helper()
	series := s.find(m, labels...)
	if series == nil {
		s.t.Errorf("there is no %s%q", m.Name, labels)
		return math.NaN()
	}
	if m.Kind == metrics.Counter {
		return series.GetCounter().GetValue()
	}
	return series.GetGauge().GetValue()
}

func (s *scraped) want(m *metrics.Metric, good func(v float64) bool, labels ...string) {
	s.t.Helper()
	if v := s.value(m, labels...); !good(v) {
		s.t.Errorf("%s%q is %v", m.Name, labels, v)
	}
}

// quantile checks that a histogram has seen something of each of the frames' submissions, and that its quantile is above
// nothing and below a bound.
func (s *scraped) quantile(m *metrics.Metric, frames, q, bound float64, labels ...string) {
	s.t.Helper()
	series := s.find(m, labels...)
	if series == nil {
		s.t.Errorf("there is no %s%q", m.Name, labels)
		return
	}
	h, counts, before := series.GetHistogram(), []uint64(nil), uint64(0)
	for _, b := range h.GetBucket() {
		counts = append(counts, b.GetCumulativeCount()-before)
		before = b.GetCumulativeCount()
	}
	if len(counts) == len(m.Buckets) {
		counts = append(counts, h.GetSampleCount()-before)
	}
	v := metrics.Quantile(m, counts, q)
	s.t.Logf("%s%q: %d submissions of %v frames, %s", m.Name, labels, h.GetSampleCount(), frames, fmt.Sprintf("p%v at most %v s", q*100, v))
	if h.GetSampleCount() == 0 || float64(h.GetSampleCount()) > frames || v <= 0 || v > bound {
		s.t.Errorf("%s%q: the %v quantile of %d is %v", m.Name, labels, q, h.GetSampleCount(), v)
	}
}
