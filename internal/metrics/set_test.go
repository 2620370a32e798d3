package metrics

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answered returns what a set answers, as who asks reads it.
func answered(t *testing.T, s *Set) Answer {
	t.Helper()
	var data []byte
	if err := s.Answer(t.Context(), nil, func(chunk []byte) error { data = chunk; return nil }); err != nil {
		t.Fatal(err)
	}
	samples, err := ReadAnswer(data)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{Provider: "provider1", Role: "ingest", Samples: samples}
}

func TestASetAnswersWhatWasCounted(t *testing.T) {
	s := New("v1")
	s.Count(Questions, "series", "200").Add(2)
	s.Count(Questions, "series", "200").Add(1)
	s.Count(Questions, "series", "503").Add(1)
	s.Count(BlocksWritten).Add(-1) // a counter never falls
	s.Spread(AckSeconds).ObserveAll([]float64{.0004, .0005, .003, 61})
	s.Look(func(ctx context.Context, sink *Sink) {
		sink.Put(LogBytes, 42)
		sink.Put(LogAge, math.NaN()) // is left out: nothing is known
		sink.PutStates(IngestState, []string{"slow", "full"}, "ready", "slow", "full")
	})
	a := answered(t, s)
	for name, c := range map[string]struct {
		m      *Metric
		labels []string
		want   float64
		absent bool
	}{
		"counted twice":       {m: Questions, labels: []string{"series", "200"}, want: 3},
		"another label":       {m: Questions, labels: []string{"series", "503"}, want: 1},
		"never fell":          {m: BlocksWritten},
		"looked up":           {m: LogBytes, want: 42},
		"not known":           {m: LogAge, absent: true},
		"a state":             {m: IngestState, labels: []string{"slow"}, want: 1},
		"a state that is not": {m: IngestState, labels: []string{"ready"}},
		"the version":         {m: BuildInfo, labels: []string{"v1"}, want: 1},
	} {
		if got, ok := a.Value(c.m, c.labels...); got != c.want || ok == c.absent {
			t.Errorf("%s: %v %v, want %v, absent: %v", name, got, ok, c.want, c.absent)
		}
	}
	if v, ok := a.Value(Resident); !ok || v < 1<<20 {
		t.Errorf("%v bytes resident", v)
	}
	for _, sample := range a.Samples {
		if sample.Name != AckSeconds.Name {
			continue
		}
		want := make([]uint64, len(AckSeconds.Buckets)+1)
		want[0], want[3], want[len(want)-1] = 2, 1, 1
		if diff := cmp.Diff(want, sample.Counts); diff != "" {
			t.Errorf("the buckets: %s", diff)
		}
		if q := Quantile(AckSeconds, sample.Counts, .5); q != .0005 {
			t.Errorf("half are not above %v, want 0.0005", q)
		}
		if q := Quantile(AckSeconds, sample.Counts, .99); !math.IsInf(q, 1) {
			t.Errorf("99 %% are not above %v, want infinity", q)
		}
		if _, labels := sample.Of("provider1", "ingest"); cmp.Diff([]string{"provider1"}, labels) != "" {
			t.Errorf("the labels are %q", labels)
		}
	}
}

// TestAnswersAreNotTrusted reads answers that no program of ours gives.
func TestAnswersAreNotTrusted(t *testing.T) {
	many := make([]Sample, 3*mostSeries)
	for i := range many {
		many[i] = Sample{Name: Rejected.Name, Labels: []string{strings.Repeat("x", i%100) + string(rune('a'+i/100))}, Value: 1}
	}
	for name, c := range map[string]struct {
		samples []Sample
		want    int
	}{
		"unknown":          {samples: []Sample{{Name: "up", Value: 1}}},
		"a label too many": {samples: []Sample{{Name: LogBytes.Name, Labels: []string{"gateway1"}}}},
		"a label too few":  {samples: []Sample{{Name: Rejected.Name}}},
		"a long label":     {samples: []Sample{{Name: Rejected.Name, Labels: []string{strings.Repeat("x", 200)}}}},
		"other buckets":    {samples: []Sample{{Name: AckSeconds.Name, Counts: []uint64{1, 2}}}},
		"twice":            {samples: []Sample{{Name: LogBytes.Name, Value: 1}, {Name: LogBytes.Name, Value: 2}}, want: 1},
		"more than it may": {samples: many, want: seriesMost},
	} {
		data, err := json.Marshal(c.samples)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadAnswer(data)
		if err != nil || len(got) != c.want {
			t.Errorf("%s: %d samples, %v, want %d", name, len(got), err, c.want)
		}
	}
	if _, err := ReadAnswer([]byte(strings.Repeat(" ", answerMost+1))); err == nil {
		t.Error("an endless answer is read")
	}
	if _, err := ReadAnswer([]byte("{")); err == nil {
		t.Error("half an answer is read")
	}
}

func TestOneProgramHasBoundedSeries(t *testing.T) {
	s := New("v1")
	for i := range 2 * mostSeries {
		s.Count(Rejected, strings.Repeat("x", i%100)+string(rune('a'+i/100))).Add(1)
	}
	if n := len(s.counts); n != mostSeries {
		t.Errorf("%d series, want %d", n, mostSeries)
	}
}

// TestNoSetCountsNothing: packages count whether or not somebody watches.
func TestNoSetCountsNothing(t *testing.T) {
	var s *Set
	s.Count(BlocksWritten).Add(1)
	s.Spread(AckSeconds).Observe(1)
	s.Spread(AckSeconds).ObserveAll([]float64{1})
	s.Look(nil)
}

func BenchmarkObserveAll(b *testing.B) {
	s := New("v1").Spread(AckSeconds)
	took := []float64{.002, .002, .003, .003, .004, .004, .005, .005}
	b.ReportAllocs()
	for b.Loop() {
		s.ObserveAll(took)
	}
}
