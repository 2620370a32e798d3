package witness

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/schema"
	"berth/schema/record"
)

// shelf keeps records in memory.
type shelf struct {
	records map[string][]byte
	writes  int
	fail    error
}

func (s *shelf) Put(_ context.Context, key string, value []byte) (uint64, error) {
	s.writes++
	if s.fail == nil {
		s.records[key] = value
	}
	return 0, s.fail
}

func (s *shelf) Delete(_ context.Context, key string) error {
	s.writes++
	delete(s.records, key)
	return s.fail
}

func (s *shelf) flush(t *testing.T, w *Witness) {
	t.Helper()
	if err := w.Flush(t.Context(), s, 1000); err != nil {
		t.Fatal(err)
	}
}

// shownOf returns what is kept of the keys of gateways.
func (s *shelf) shownOf(t *testing.T) map[string]record.Shown {
	t.Helper()
	all := map[string]record.Shown{}
	for key, value := range s.records {
		if strings.HasPrefix(key, record.ShownPrefix) {
			var r record.Shown
			if err := json.Unmarshal(value, &r); err != nil {
				t.Fatal(err)
			}
			all[r.Gateway] = r
		}
	}
	return all
}

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestAKeyIsNotedOnceAndOnceADay(t *testing.T) {
	w, s := New(), &shelf{records: map[string][]byte{}}
	if !w.Saw("g", "h1", false, noon) || w.Saw("g", "h1", false, noon.Add(time.Second)) {
		t.Error("the first use is not told, or told twice")
	}
	s.flush(t, w)
	for n := range 1000 {
		w.Saw("g", "h1", n%2 == 0, noon.Add(time.Minute))
		w.Saw("", "e", false, noon)
	}
	s.flush(t, w)
	s.flush(t, w)
	if s.writes != 3 {
		t.Errorf("%d writes, want one of each use, and one in clear", s.writes)
	}
	for hour := range 48 {
		w.Saw("g", "h1", true, noon.Add(time.Duration(hour)*time.Hour))
		s.flush(t, w)
	}
	got := s.shownOf(t)["g"]
	if s.writes != 4 || !got.Used.Equal(noon) || !got.Clear.Equal(noon.Add(time.Minute)) || got.Last.Sub(got.Clear) < 24*time.Hour {
		t.Errorf("after two days there are %d writes: %+v", s.writes, got)
	}
	// A restart goes on with it; a new key begins anew.
	again := New()
	for key, value := range s.records {
		again.Load(key, value)
	}
	again.Decide(func(gateway string) bool { return gateway == "g" })
	if !again.Used("g", "h1") || again.Used("g", "h2") || again.Saw("g", "h1", true, noon.Add(49*time.Hour)) {
		t.Error("after a restart the key's use is not known")
	}
	if !again.Saw("g", "h2", false, noon) {
		t.Error("a new key's first use is not told")
	}
	s.flush(t, again)
	if got := s.shownOf(t)["g"]; got.Hash != "h2" || !got.Clear.IsZero() {
		t.Errorf("of the new key is kept %+v", got)
	}
	again.Decide(func(string) bool { return false })
	s.flush(t, again)
	if got := slices.Collect(maps.Keys(s.shownOf(t))); len(got) != 1 || got[0] != "" {
		t.Errorf("kept of %q, want the enrolment key alone", got)
	}
}

func TestWaiting(t *testing.T) {
	w, s := New(), &shelf{records: map[string][]byte{}}
	for n := range 100 {
		if err := w.Wait("g", "10.0.0.1", noon.Add(time.Duration(n)*time.Second)); !schema.Is(err, schema.Pending) {
			t.Fatalf("it is told %v", err)
		}
		s.flush(t, w)
	}
	if s.writes != 2 {
		t.Errorf("%d writes in 100 s, want one a minute", s.writes)
	}
	s.fail = errors.New("away")
	_ = w.Wait("h", "10.0.0.2", noon)
	if w.Flush(t.Context(), s, 10) == nil {
		t.Error("a failure is not told")
	}
	s.fail = nil
	s.flush(t, w)
	if len(s.records) != 2 {
		t.Errorf("%d are kept, want what could not be kept before too", len(s.records))
	}
	again := New()
	again.Decide(func(gateway string) bool { return gateway == "h" })
	_ = again.Wait("g", "10.0.0.3", noon.Add(time.Hour))
	for key, value := range s.records {
		again.Load(key, value)
	}
	if !again.Waits("g") || again.Waits("h") || !again.waiting["g"].First.Equal(noon) {
		t.Errorf("after a restart wait %v", again.waiting)
	}
	s.flush(t, again)
	if len(s.records) != 1 {
		t.Errorf("%d are kept, want the one that nothing was decided of", len(s.records))
	}
}

func TestWhoStaysAwayMakesRoom(t *testing.T) {
	w := New()
	for n := range MostWaiting {
		_ = w.Wait(strings.Repeat("g", n+1), "", noon.Add(time.Duration(n)*time.Second))
	}
	_ = w.Wait("new", "", noon.Add(time.Hour))
	if w.Waits("new") {
		t.Error("there is room for one more")
	}
	_ = w.Wait("new", "", noon.Add(25*time.Hour))
	if !w.Waits("new") || w.Waits("g") || len(w.waiting) != MostWaiting {
		t.Errorf("%d wait; the new one does: %v", len(w.waiting), w.Waits("new"))
	}
}
