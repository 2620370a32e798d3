// Package metrics is what operators watch: one table of all metrics, and the counters that the programs keep for it.
//
// Every program has a [Set]. It counts in it, registers what is only looked up when somebody asks, and answers the
// question [Subject] on its own NATS account with [Set.Answer]. The provisioner asks all instances and exposes what they
// answer (internal/metrics/expose); so one scrape has every provider, no metric is to be had on a provider's port, and
// the pipelines do without a metrics library. What is not in the table is not exposed, whatever an instance answers.
//
// Its one invariant: labels take few values. There is a series for each provider, never one for each gateway.
package metrics

import "sync"

// Kind is how a metric behaves.
type Kind uint8

// The kinds.
const (
	Counter   Kind = iota + 1 // only rises, or begins anew
	Gauge                     // rises and falls
	Histogram                 // counts what was observed by size
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Counter:
		return "counter"
	case Gauge:
		return "gauge"
	case Histogram:
		return "histogram"
	default:
		return "unknown"
	}
}

// Metric is a metric. Its labels provider and role are set by whoever collects; the program gives the others' values.
type Metric struct {
	Name    string
	Kind    Kind
	Labels  []string
	Help    string
	Buckets []float64 // of a histogram: the upper bounds, without the last, which is infinite
}

// own returns the labels whose values the program gives.
func (m *Metric) own() []string {
	labels := m.Labels
	for len(labels) > 0 && (labels[0] == labelProvider || labels[0] == labelRole) {
		labels = labels[1:]
	}
	return labels
}

// The labels that whoever collects sets. Where a metric has them they come first, in this order.
const (
	labelProvider = "provider"
	labelRole     = "role"
)

var (
	ofProvider = []string{labelProvider}
	ofInstance = []string{labelProvider, labelRole}
	seconds    = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
)

// all is the table, in the order of definition.
var all []*Metric

// All returns the table of all metrics.
func All() []*Metric { return all }

func counter(labels []string, name, help string) *Metric {
	return add(Counter, labels, name, help, nil)
}

func gauge(labels []string, name, help string) *Metric { return add(Gauge, labels, name, help, nil) }

func histogram(labels []string, name, help string, buckets []float64) *Metric {
	return add(Histogram, labels, name, help, buckets)
}

func add(k Kind, labels []string, name, help string, buckets []float64) *Metric {
	m := &Metric{Name: name, Kind: k, Labels: labels, Help: help, Buckets: buckets}
	all = append(all, m)
	return m
}

// with returns labels and more.
func with(labels []string, more ...string) []string {
	return append(append([]string{}, labels...), more...)
}

// names is the table by name.
var names = sync.OnceValue(func() map[string]*Metric {
	names := make(map[string]*Metric, len(all))
	for _, m := range all {
		names[m.Name] = m
	}
	return names
})

// Subject returns the subject of the question for the metrics of one instance, on its NATS account.
func Subject(role, instance string) string { return "metrics." + role + "." + instance }
