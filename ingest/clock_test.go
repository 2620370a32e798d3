package ingest_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestServerClockThatJumpsLosesAndReordersNothing has the server's clock jump by an hour and by a day, back and forth, all
// the while that gateways send, and between starts: whatever was acknowledged is there once, and of two values that claim
// one identity the one that came later counts, whatever the clock said then.
func TestServerClockThatJumpsLosesAndReordersNothing(t *testing.T) {
	w := newCrashWorld(t)
	h := w.house
	var offset atomic.Int64
	h.options.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	ended := make(chan struct{})
	var jumping sync.WaitGroup
	jumping.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				offset.Store(int64([]time.Duration{0, time.Hour, -time.Hour, -24 * time.Hour}[rand.IntN(4)]))
			case <-ended:
				return
			}
		}
	})
	yesterday, before := w.start.Add(-20*time.Hour), w.start.Add(-44*time.Hour)
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		i := h.start()
		w.address = i.Addr().String()
		for n := range 6 {
			value := 10*round + n
			w.put("full", value, 130, yesterday) // other values at the same times
			w.put("small", value, 3, yesterday, before)
		}
		for n, f := range w.frames {
			if !f.acked {
				t.Fatalf("frame %d is not acknowledged", n)
			}
		}
		w.compare(true)
		w.balance()
		w.hangUp()
		h.stop(i)
		w.compare(false)
	}
	close(ended)
	jumping.Wait()
	offset.Store(0)
	i := h.start()
	w.compareRollups()
	h.stop(i)
	w.logEnds()
}
