package ingest

import (
	"context"
	"sync"
	"time"
)

// A log that holds pressOn percent of its quota takes no more until it is back at pressOff: gateways are slowed before
// anything has to be refused, and what is left is for claims and for what is on its way.
const (
	pressOn    = 90
	pressOff   = 80
	pressEvery = time.Second
	// stalledMost is how long a log that confirms nothing goes unnoticed by senders who can be told to come back.
	stalledMost = 5 * time.Second
)

// pressed says why gateways are slowed.
type pressed struct {
	log  bool   // it is nearly full
	disk string // what is nearly full; empty: nothing
}

// pressure is what is pressed now.
type pressure struct {
	mu  sync.Mutex // guards now
	now pressed
}

func (p *pressure) get() pressed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *pressure) set(now pressed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
}

// watchPressure slows gateways down while the log is nearly full, or confirms nothing. An idle instance asks nothing.
func (i *Ingest) watchPressure(ctx context.Context) {
	i.background(ctx, "pressure", otherStop, func(ctx context.Context) {
		tick := time.NewTicker(pressEvery)
		defer tick.Stop()
		var now pressed
		var stalled time.Time // since when the log confirms nothing
		held, seen := false, uint64(0)
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			switch {
			case i.writer.Trouble() == nil:
				stalled = time.Time{}
			case stalled.IsZero():
				stalled = time.Now()
			}
			if sequence := i.committer.Sequence(); sequence != seen || held {
				if log, ok := i.logPressed(ctx, now.log); ok {
					seen, now.log = sequence, log
				}
			}
			i.pressure.set(now)
			hold := now.log || now.disk != "" || !stalled.IsZero() && time.Since(stalled) > stalledMost
			if hold != held {
				held = hold
				i.committer.Hold(held)
			}
			if held {
				i.sealer.Hurry()
			}
		}
	})
}

// logPressed reports whether the log is nearly full, of one that was or was not before. When the log does not say, ok is
// false.
func (i *Ingest) logPressed(ctx context.Context, before bool) (pressed, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*pressEvery)
	defer cancel()
	state, err := i.journal.State(ctx)
	if err != nil || state.Quota == 0 {
		return before, false
	}
	switch used := state.Bytes * 100 / state.Quota; {
	case !before && used >= pressOn:
		i.log.Warn("the log is nearly full: gateways wait until it is trimmed", "bytes", state.Bytes, "quota", state.Quota)
		return true, true
	case before && used < pressOff:
		i.log.Info("the log has room again", "bytes", state.Bytes, "quota", state.Quota)
		return false, true
	}
	return before, true
}
