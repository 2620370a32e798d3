package intake

import (
	"bytes"
	"log/slog"
	"sync"
	"sync/atomic"

	"berth/internal/api"
)

const (
	// MaxRaw is how much of a refused payload is kept, in bytes.
	MaxRaw = 4 << 10
	// waitingRejects is how many rejects wait to be kept. What comes when they do is answered and counted, but not kept.
	waitingRejects = 256
)

// rejects hands rejects on, one after the other, beside the connections that they came from.
type rejects struct {
	keep   func(api.Reject)
	log    *slog.Logger
	queue  chan api.Reject
	missed atomic.Uint64
	mu     sync.RWMutex // guards closed, so that nothing is sent to a closed queue
	closed bool
	done   chan struct{}
}

func (r *rejects) start(keep func(api.Reject), log *slog.Logger) {
	r.keep, r.log, r.queue, r.done = keep, log, make(chan api.Reject, waitingRejects), make(chan struct{})
	go func() {
		defer close(r.done)
		for reject := range r.queue {
			if r.keep != nil {
				r.keep(reject)
			}
			if n := r.missed.Load(); n > 0 && len(r.queue) == 0 {
				r.missed.Store(0)
				r.log.Warn("rejects came faster than they could be kept", "not_kept", n)
			}
		}
	}()
}

func (r *rejects) stop() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	<-r.done
}

// Reject has a reject of an authenticated sender kept, beside the caller; data is the payload, of which a copy of the
// beginning is kept.
func (in *Intake) Reject(reject api.Reject, data []byte) {
	r := &in.rejects
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed || len(r.queue) == cap(r.queue) {
		r.missed.Add(1)
		return
	}
	reject.Raw = bytes.Clone(data[:min(len(data), MaxRaw)])
	select {
	case r.queue <- reject:
	default:
		r.missed.Add(1)
	}
}
