package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Sample is one series of a metric at one moment, as it travels.
type Sample struct {
	Name   string   `json:"name"`
	Labels []string `json:"labels,omitempty"` // values, in the order of the metric's labels, without provider and role
	Value  float64  `json:"value,omitempty"`
	Counts []uint64 `json:"counts,omitempty"` // of a histogram: of each bucket, the infinite one last
	Sum    float64  `json:"sum,omitempty"`
}

// Answer is what one instance answered, or what is known of it.
type Answer struct {
	Provider string // empty: the house's own
	Role     string
	Samples  []Sample
}

// Value returns the value of a counter or gauge with these values of its own labels; false when it was not answered.
func (a *Answer) Value(m *Metric, labels ...string) (float64, bool) {
	for i := range a.Samples {
		if s := &a.Samples[i]; s.Name == m.Name && slices.Equal(s.Labels, labels) {
			return s.Value, true
		}
	}
	return 0, false
}

// Count counts. A nil one counts nothing.
type Count struct{ n atomic.Uint64 }

// Add adds n.
func (c *Count) Add(n int) {
	if c != nil && n > 0 {
		c.n.Add(uint64(n))
	}
}

// Spread counts what is observed by size. A nil one counts nothing.
type Spread struct {
	bounds []float64

	mu     sync.Mutex // guards what follows
	counts []uint64
	sum    float64
}

// Observe takes a value.
func (s *Spread) Observe(v float64) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.observe(v)
	s.mu.Unlock()
}

// ObserveAll takes many values at once.
func (s *Spread) ObserveAll(values []float64) {
	if s == nil {
		return
	}
	s.mu.Lock()
	for _, v := range values {
		s.observe(v)
	}
	s.mu.Unlock()
}

// observe takes a value. It is called with mu held.
func (s *Spread) observe(v float64) {
	i := 0
	for i < len(s.bounds) && v > s.bounds[i] {
		i++
	}
	s.counts[i]++
	s.sum += v
}

// Quantile returns about how large the value is that so much of all values (0 to 1) are not above: the bound of its
// bucket; 0 when nothing was observed.
func Quantile(m *Metric, counts []uint64, q float64) float64 {
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	rank := uint64(math.Ceil(q * float64(total)))
	for i, n := range counts {
		if n >= rank && total > 0 {
			if i == len(m.Buckets) {
				return math.Inf(1)
			}
			return m.Buckets[i]
		}
		rank -= n
	}
	return 0
}

// Sink takes what is looked up when somebody asks.
type Sink struct{ samples []Sample }

// Put takes a value of a counter or gauge, with the values of its own labels.
func (s *Sink) Put(m *Metric, value float64, labels ...string) {
	if !math.IsNaN(value) && !math.IsInf(value, 0) { // JSON has neither
		s.samples = append(s.samples, Sample{Name: m.Name, Labels: labels, Value: value})
	}
}

// PutStates takes a gauge for each of all states: 1 for those that hold, 0 for the others.
func (s *Sink) PutStates(m *Metric, hold []string, all ...string) {
	for _, state := range all {
		value := 0.0
		if slices.Contains(hold, state) {
			value = 1
		}
		s.Put(m, value, state)
	}
}

// Samples returns what was put.
func (s *Sink) Samples() []Sample { return s.samples }

// Set is what one program counts. Its methods may be called concurrently; those of a nil Set give what counts nothing.
type Set struct {
	mu      sync.Mutex // guards what follows
	counts  map[string]*counted[Count]
	spreads map[string]*counted[Spread]
	looks   []func(ctx context.Context, s *Sink)
}

// counted is a series that the program counts in.
type counted[T any] struct {
	metric *Metric
	labels []string
	series *T
}

// mostSeries bounds the series of one program: what asks for more counts nothing.
const mostSeries = 2_000

// New returns a set for an instance, which says of itself what every instance does.
func New(version string) *Set {
	s := &Set{counts: map[string]*counted[Count]{}, spreads: map[string]*counted[Spread]{}}
	s.Look(func(_ context.Context, sink *Sink) {
		sink.Put(BuildInfo, 1, version)
		process(sink)
	})
	return s
}

// Count returns the series of a counter with these values of its own labels.
func (s *Set) Count(m *Metric, labels ...string) *Count {
	if s == nil {
		return nil
	}
	return series(s, s.counts, m, labels, func() *Count { return new(Count) })
}

// Spread returns the series of a histogram with these values of its own labels.
func (s *Set) Spread(m *Metric, labels ...string) *Spread {
	if s == nil {
		return nil
	}
	return series(s, s.spreads, m, labels, func() *Spread {
		return &Spread{bounds: m.Buckets, counts: make([]uint64, len(m.Buckets)+1)}
	})
}

func series[T any](s *Set, all map[string]*counted[T], m *Metric, labels []string, make func() *T) *T {
	key := m.Name + "\x00" + strings.Join(labels, "\x00")
	s.mu.Lock()
	defer s.mu.Unlock()
	c := all[key]
	if c == nil {
		if len(all) >= mostSeries {
			return nil
		}
		c = &counted[T]{metric: m, labels: slices.Clone(labels), series: make()}
		all[key] = c
	}
	return c.series
}

// Look has fn called when somebody asks, with a context that ends soon.
func (s *Set) Look(fn func(ctx context.Context, s *Sink)) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks = append(s.looks, fn)
}

// Samples returns all there is now.
func (s *Set) Samples(ctx context.Context) []Sample {
	var sink Sink
	s.mu.Lock()
	looks := slices.Clone(s.looks)
	for _, c := range s.counts {
		sink.Put(c.metric, float64(c.series.n.Load()), c.labels...)
	}
	for _, c := range s.spreads {
		c.series.mu.Lock()
		sink.samples = append(sink.samples, Sample{
			Name: c.metric.Name, Labels: c.labels, Counts: slices.Clone(c.series.counts), Sum: c.series.sum,
		})
		c.series.mu.Unlock()
	}
	s.mu.Unlock()
	for _, look := range looks {
		look(ctx, &sink)
	}
	return sink.samples
}

// Answer answers the question Subject: all samples as JSON, in one chunk.
func (s *Set) Answer(ctx context.Context, _ []byte, reply func([]byte) error) error {
	data, err := json.Marshal(s.Samples(ctx))
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return reply(data)
}

// answerMost bounds an answer, and seriesMost its series: an instance is not trusted to keep to few.
const (
	answerMost = 1 << 20
	seriesMost = mostSeries
)

// ReadAnswer reads what Answer replied. What is not in the table, or not as the table says, is left out: another
// version of the program may have more, or other, metrics.
func ReadAnswer(data []byte) ([]Sample, error) {
	if len(data) > answerMost {
		return nil, fmt.Errorf("read metrics: %d bytes are more than %d", len(data), answerMost)
	}
	var samples []Sample
	if err := json.Unmarshal(data, &samples); err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	seen := make(map[string]bool, len(samples))
	samples = slices.DeleteFunc(samples, func(s Sample) bool {
		key := s.Name + "\x00" + strings.Join(s.Labels, "\x00")
		drop := seen[key] || !s.sound()
		seen[key] = true
		return drop
	})
	return samples[:min(len(samples), seriesMost)], nil
}

// labelMost is the longest value of a label.
const labelMost = 128

// sound reports whether a sample is as the table says.
func (s *Sample) sound() bool {
	m := names()[s.Name]
	if m == nil || len(s.Labels) != len(m.own()) || m.Kind == Histogram && len(s.Counts) != len(m.Buckets)+1 {
		return false
	}
	return !slices.ContainsFunc(s.Labels, func(v string) bool { return len(v) > labelMost })
}

// Of returns the sample's metric, and the values of all its labels when it is of an instance of a provider; an empty
// provider is the house.
func (s *Sample) Of(provider, role string) (m *Metric, labels []string) {
	m = names()[s.Name]
	for _, label := range m.Labels[:len(m.Labels)-len(m.own())] {
		if label == labelProvider {
			labels = append(labels, provider)
		} else {
			labels = append(labels, role)
		}
	}
	return m, append(labels, s.Labels...)
}
