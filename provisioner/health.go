package provisioner

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"berth/schema"
)

// healthEvery is how often NATS is asked whether all of its streams work.
const healthEvery = 2 * time.Second

// healer watches over NATS. The embedded server it revives: after its disk was full, streams stay broken, also when there is
// room again, until JetStream is stopped and started. Of servers of their own it says what is wrong.
type healer struct {
	healthy func() error
	room    func() bool                     // whether the disk has room again
	revive  func() error                    // nil: it is not ours to revive
	renewed *atomic.Bool                    // it was away, and what was in memory may be gone
	after   func(ctx context.Context) error // what must be made again: streams in memory are gone
	log     *slog.Logger

	sick  bool // it was so at the last look, and that was said
	empty bool // it was revived, and what must be made again is not there yet
}

// run looks until ctx ends.
func (h *healer) run(ctx context.Context) {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// look revives what is sick for the second time in a row, if there is room.
func (h *healer) look(ctx context.Context) {
	err := h.healthy()
	if err == nil {
		if h.sick {
			h.log.Info("nats is well again")
		}
		h.sick = false
		h.empty = h.renewed.Swap(false) || h.empty
		h.prepare(ctx)
		return
	}
	if !h.sick {
		h.log.Error("nats is not well", "error", schema.Show(err))
		h.sick = true
		return
	}
	if h.revive == nil || !h.room() {
		return
	}
	h.log.Warn("stopping and starting jetstream, since nats is not well and the disk has room")
	if err := h.revive(); err != nil {
		h.log.Error("jetstream cannot be revived, it is tried again", "error", err)
		return
	}
	h.empty = true
	h.prepare(ctx)
}

// prepare makes again what was in memory, after nats was revived.
func (h *healer) prepare(ctx context.Context) {
	if !h.empty {
		return
	}
	if err := h.after(ctx); err != nil {
		h.log.Error("the records cannot be prepared anew, it is tried again", "error", err)
		return
	}
	h.empty = false
}
