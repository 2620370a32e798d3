package seal_test

import (
	"fmt"
	"testing"
	"time"
)

// TestWallClockThatJumpsStallsNothing has the server's clock jump back and forth: positions decide what is newer, and
// rests are measured by a clock that does not jump, so that tails are written and the log is trimmed as always.
func TestWallClockThatJumpsStallsNothing(t *testing.T) {
	w := newWorld(t)
	for n, jump := range []time.Duration{time.Hour, 0, -time.Hour, -24 * time.Hour, 24 * time.Hour, -time.Hour, 0} {
		w.jump = jump
		if n == 3 { // also while ingest is away
			w.begin()
			w.replay()
		}
		history1(w, n%3)
		w.pass(2 * time.Minute)
		if first, last := w.log.bounds(); first != last {
			t.Errorf("two minutes after a jump to %v the log still holds %d to %d", jump, first, last)
		}
		w.compare(true)
		w.compareLatest()
		w.compareRollups(false)
	}
	history1(w, 1)
	w.pass(30 * time.Minute)
	w.compareRollups(true)
	if len(w.aside) > 0 {
		t.Error(fmt.Sprint("set aside: ", w.aside))
	}
}
