package query

import (
	"testing"
	"time"
)

// TestALiveEventSaysWhatItMissed: readings that have left the head are not shown live, so who shows it asks for the series anew.
func TestALiveEventSaysWhatItMissed(t *testing.T) {
	w := newWorld(t)
	w.Head.Header.Complete, w.Head.Header.Position = true, "9/0"
	for _, missed := range []bool{false, true} {
		w.Head.Header.Missed = missed
		event, position, err := w.engine.Live(w.ctx, LiveRequest{Gateway: testGateway, After: "1/0"})
		if err != nil || position != "9/0" || event.Complete.Complete == missed {
			t.Errorf("missed %v: %+v at %s, %v", missed, event, position, err)
		}
	}
	w.Head.Away = true
	event, position, err := w.engine.Live(w.ctx, LiveRequest{Gateway: testGateway, After: "1/0"})
	if err != nil || position != "1/0" || event.Complete.Complete {
		t.Errorf("without a head: %+v at %s, %v", event, position, err)
	}
}

// TestGapsAreToldFromTheUsualDistance: a chart breaks its line where points are three times as far apart as usual, and never
// between neighbours.
func TestGapsAreToldFromTheUsualDistance(t *testing.T) {
	seconds := func(at ...int64) (times []int64) {
		for _, s := range at {
			times = append(times, s*int64(time.Second))
		}
		return times
	}
	for _, c := range []struct {
		times []int64
		step  time.Duration
		want  float64
	}{
		{seconds(0, 10), 0, 0},
		{seconds(0, 10, 20, 300, 310), 0, 30},
		{seconds(0, 10, 20, 30), 20 * time.Second, 40},
	} {
		if got := gap(c.times, int64(c.step), time.Nanosecond); got != c.want {
			t.Errorf("of %v in steps of %v a gap is %v s, want %v", c.times, c.step, got, c.want)
		}
	}
}
