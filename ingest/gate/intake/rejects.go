package intake

import (
	"bytes"
	"log/slog"
	"sync"
	"time"

	"berth/ingest/budget"
	"berth/ingest/commit"
	"berth/schema"
	"berth/schema/record"
)

const (
	// MaxRaw is how much of what was refused of one frame is kept, in bytes: a whole frame.
	MaxRaw = schema.MaxFrame
	// shortRaw is how much is kept of it where there is no room for more.
	shortRaw = 4 << 10
	// waitingRejects is how many rejects wait to be kept, and rejectsMemory is how many bytes of them.
	waitingRejects = 256
	rejectsMemory  = 16 << 20
	// rejectWait is how long a sender waits for room among them, which holds up nobody else.
	rejectWait = 5 * time.Second
)

// ReasonNotKept counts rejects that were answered and counted under their reasons, but not kept: they came faster than
// they could be, their sender has had more kept than its share, or the stream did not take them.
const ReasonNotKept = "reject_not_kept"

// Refused is what of one frame was refused, in bytes, as far as there is memory for it.
type Refused struct {
	in    *Intake
	raw   []byte
	taken int64 // of the memory for rejects
	size  int   // of all that was added
	cut   bool  // raw is not all of it
}

// Refused returns what was refused of a frame, which is nothing yet. It goes to Reject in the end.
func (in *Intake) Refused() *Refused { return &Refused{in: in} }

// Add adds a copy of bytes that were refused; of lines, only whole ones when there is no room for all.
func (r *Refused) Add(data []byte, lines bool) {
	r.size += len(data)
	if r.cut {
		return
	}
	room := MaxRaw - len(r.raw)
	if len(data)+len(r.raw) > shortRaw { // what is short costs little more than the reject itself
		if need := int64(min(len(data), room)); r.in.rejects.memory.TryTake(need) {
			r.taken += need
		} else {
			room = max(shortRaw-len(r.raw), 0)
		}
	}
	if r.cut = len(data) > room; r.cut {
		data = data[:room]
		if lines {
			data = data[:bytes.LastIndexByte(data, '\n')+1]
		}
	}
	r.raw = append(r.raw, data...)
}

// shorten keeps only the beginning.
func (r *Refused) shorten() {
	if len(r.raw) > shortRaw {
		r.raw = bytes.Clone(r.raw[:shortRaw])
		r.Drop()
	}
}

// Drop gives the memory back, of what does not go to Reject.
func (r *Refused) Drop() {
	r.in.rejects.memory.Give(r.taken)
	r.taken = 0
}

// reject is one that waits to be kept.
type reject struct {
	record.Reject
	refused *Refused
	kept    func(err error) // nil: nobody waits to hear it
}

// tell says what became of the reject.
func (r *reject) tell(err error) {
	if r.kept != nil {
		r.kept(err)
	}
}

// rejects hands rejects on, one after the other, beside the connections that they came from.
type rejects struct {
	keep   func(r *record.Reject, raw []byte) error
	log    *slog.Logger
	count  func(commit.Counts)
	memory *budget.Budget
	shares shares
	queue  chan reject
	mu     sync.RWMutex // guards closed, so that nothing is sent to a closed queue
	closed bool
	done   chan struct{}
}

func (r *rejects) start(o *Options) {
	r.keep, r.log, r.count = o.Rejects, o.Logger, o.Committer.Count
	r.memory, r.queue, r.done = budget.New(rejectsMemory), make(chan reject, waitingRejects), make(chan struct{})
	go func() {
		defer close(r.done)
		for next := range r.queue {
			r.handOn(&next)
		}
	}()
}

func (r *rejects) handOn(next *reject) {
	defer next.refused.Drop()
	if r.keep == nil {
		next.tell(nil)
		return
	}
	err := r.keep(&next.Reject, next.refused.raw)
	if err != nil {
		r.log.Warn("a reject was not kept", "gateway", next.Gateway, "reason", next.Reason, "error", err)
		r.missed()
	}
	next.tell(err)
}

// put puts a reject into the queue, and reports whether there was room until the limit.
func (r *rejects) put(stopping <-chan struct{}, limit <-chan time.Time, next reject) bool {
	select {
	case r.queue <- next:
		return true
	default:
	}
	if limit == nil {
		return false
	}
	select {
	case r.queue <- next:
		return true
	case <-limit:
	case <-stopping:
	}
	return false
}

// missed counts a reject that is not kept.
func (r *rejects) missed() { r.count(commit.Counts{Reasons: map[string]int{ReasonNotKept: 1}}) }

func (r *rejects) stop() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	<-r.done
}

// Reject has a reject of an authenticated sender kept, beside the caller, who waits while many wait to be. One that cannot
// be kept is counted.
func (in *Intake) Reject(known record.Reject, refused *Refused) { in.RejectThen(known, refused, nil) }

// TryReject is Reject for who must not wait: where many wait to be kept, this one is not, and is counted.
func (in *Intake) TryReject(known record.Reject, refused *Refused) {
	in.reject(known, refused, nil, nil)
}

// RejectThen is Reject for a frame that may only be answered when it is kept: then kept is called, once, by the goroutine
// that keeps rejects or before RejectThen returns, and must not block. Without an error it may be answered: it is kept, or
// its sender has had his share, and it is counted. An error is that it could not be kept now.
func (in *Intake) RejectThen(known record.Reject, refused *Refused, kept func(err error)) {
	limit := time.NewTimer(rejectWait)
	defer limit.Stop()
	in.reject(known, refused, kept, limit.C)
}

// reject has a reject kept that waits for room until the limit; nil: not at all.
func (in *Intake) reject(known record.Reject, refused *Refused, kept func(err error), limit <-chan time.Time) {
	r := &in.rejects
	known.Version, known.Time, known.Refused = record.Version, in.now(), max(known.Refused, refused.size)
	next := reject{known, refused, kept}
	switch r.shares.take(known.Gateway, len(refused.raw)) {
	case shareShort:
		refused.shorten()
	case shareNone:
		refused.Drop()
		r.missed()
		next.tell(nil)
		return
	case shareWhole:
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !r.closed && r.put(in.ctx.Done(), limit, next) {
		return
	}
	refused.Drop()
	r.missed()
	next.tell(errNotKept)
}

// errNotKept is what who waits is told of a reject that found no room among those that wait.
var errNotKept = schema.Errorf(schema.Unavailable, "too much is refused at once").WithNext("send it again in a few seconds")
