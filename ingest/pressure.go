package ingest

import (
	"context"
	"time"
)

// A log that holds pressOn percent of its quota takes no more until it is back at pressOff: gateways are slowed before
// anything has to be refused, and what is left is for claims and for what is on its way.
const (
	pressOn    = 90
	pressOff   = 80
	pressEvery = time.Second
)

// watchLog slows gateways down while the log is nearly full. An idle instance asks nothing.
func (i *Ingest) watchLog(ctx context.Context) {
	i.background(ctx, "log", otherStop, func(ctx context.Context) {
		tick := time.NewTicker(pressEvery)
		defer tick.Stop()
		held, seen := false, uint64(0)
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			sequence := i.committer.Sequence()
			if sequence == seen && !held {
				continue
			}
			state, err := i.journal.State(ctx)
			if err != nil || state.Quota == 0 {
				continue // nothing is committed either while NATS is away
			}
			seen = sequence
			switch used := state.Bytes * 100 / state.Quota; {
			case !held && used >= pressOn:
				held = true
				i.log.Warn("the log is nearly full: gateways wait until it is trimmed", "bytes", state.Bytes, "quota", state.Quota)
			case held && used < pressOff:
				held = false
				i.log.Info("the log has room again", "bytes", state.Bytes, "quota", state.Quota)
			default:
				continue
			}
			i.committer.Hold(held)
		}
	})
}
