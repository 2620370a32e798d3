// Package budget bounds what a program has in hand: bytes of a queue, bytes of buffers.
//
// It gives a semaphore of weights that is fair (who asked first is served first, so that a large request is not
// starved by small ones) and whose usual path takes no lock. Its one invariant: what is taken and not yet given back is
// never more than the most, except for a single request that alone is more than that and waits until nothing else is
// taken.
package budget

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// ErrClosed is returned by Take when the budget was closed.
var ErrClosed = errors.New("the budget is closed")

// Budget is a bounded amount of something that is taken and given back. It is safe for concurrent use.
type Budget struct {
	most   int64
	used   atomic.Int64
	asking atomic.Int64 // how many are in or about to enter the queue; while it is not zero nobody passes by

	mu      sync.Mutex // guards what follows
	waiting []*request // in the order in which they asked
	closed  bool
}

// request is one Take that waits.
type request struct {
	n    int64
	done chan struct{} // closed when granted or when the budget closes
	err  error         // set before done is closed
}

// New returns a budget of the given size.
func New(most int64) *Budget { return &Budget{most: max(most, 1)} }

// Used returns how much is taken now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Take takes n, and waits until it is there, ctx ends (its error is returned) or the budget is closed (ErrClosed).
func (b *Budget) Take(ctx context.Context, n int64) error {
	if b.TryTake(n) {
		return nil
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	r := &request{n: n, done: make(chan struct{})}
	b.asking.Add(1)
	b.waiting = append(b.waiting, r)
	b.grant() // what was given back between the try and the lock
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return b.leave(ctx, r)
	}
}

// TryTake takes n if that is possible at once and nobody waits.
func (b *Budget) TryTake(n int64) bool {
	if b.asking.Load() != 0 {
		return false
	}
	return b.take(n)
}

func (b *Budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.most && used != 0 {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// Give gives n back.
func (b *Budget) Give(n int64) {
	b.used.Add(-n)
	if b.asking.Load() != 0 {
		b.mu.Lock()
		b.grant()
		b.mu.Unlock()
	}
}

// Close lets everyone who waits go with ErrClosed, and everyone who would have to wait later. It does not hinder Give.
func (b *Budget) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, r := range b.waiting {
		r.err = ErrClosed
		close(r.done)
		b.asking.Add(-1)
	}
	b.waiting = nil
}

// grant serves who waits, in order, as far as it goes. It is called with mu held.
func (b *Budget) grant() {
	for len(b.waiting) > 0 && b.take(b.waiting[0].n) {
		close(b.waiting[0].done)
		b.waiting[0] = nil
		b.waiting = b.waiting[1:]
		b.asking.Add(-1)
	}
}

// leave takes r out of the queue because its context ended; if it was granted meanwhile that holds.
func (b *Budget) leave(ctx context.Context, r *request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, w := range b.waiting {
		if w == r {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.asking.Add(-1)
			b.grant() // a smaller one behind may go now
			return ctx.Err()
		}
	}
	return r.err
}
