package commit

import (
	"errors"
	"sync"
	"time"

	"berth/internal/bus"
)

// confirmAll waits for confirmations, also while nothing is in flight (the log may be taken over then too), and answers
// the frames of each batch that is confirmed; in the end it refuses those that were not.
func (c *Committer) confirmAll() {
	for c.confirmNext() {
	}
	for b := range c.flight { // it failed; whether the log has them nobody knows
		c.refuse(b)
	}
}

// confirmNext waits for one confirmation, however long the log has no room, and returns false when there will be none.
func (c *Committer) confirmNext() bool {
	confirmed, err := c.o.Writer.Next(c.ctx)
	switch {
	case err == nil:
		c.setFull(false)
		b := <-c.flight
		b.seq = confirmed.Sequence
		c.confirmed(b)
		return true
	case c.ctx.Err() != nil: // it has closed, or failed
		return false
	case errors.Is(err, bus.ErrLogFull):
		c.setFull(true)
		if !c.awaitRoom() {
			return false
		}
		c.o.Writer.Retry()
		return true
	default:
		c.fail(err)
		return false
	}
}

// setFull notes whether the log has room, and says so when that changes.
func (c *Committer) setFull(full bool) {
	if c.full.Swap(full) == full {
		return
	}
	if full {
		c.o.Logger.Warn("the log is full: frames wait until it is trimmed", "claim", c.o.Claim)
	} else {
		c.o.Logger.Info("the log has room again", "claim", c.o.Claim)
	}
}

// awaitRoom waits until it is worth trying a full log again, and returns false when the committer ended meanwhile.
func (c *Committer) awaitRoom() bool {
	timer := time.NewTimer(c.o.RetryEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.room:
	case <-c.ctx.Done():
		return false
	}
	return true
}

// confirmed answers the frames of b and lets the next batch be cut.
func (c *Committer) confirmed(b *cut) {
	c.sessions.from.Store(b.header.SessionsFrom)
	c.sequence.Store(b.seq)
	size := len(b.data)
	c.books.committed(&b.counts, size)
	giveBuffer(b.data)
	b.data = nil
	c.landed() // the next batch is on its way while this one is answered
	for _, a := range b.answers {
		a.waiter.Committed(a.token, nil)
	}
	c.watch.confirmed(b, size)
	c.follow <- b
}

// landed notes that a batch is no longer in flight.
func (c *Committer) landed() {
	c.mu.Lock()
	c.inFlight--
	c.wake.Signal()
	c.mu.Unlock()
}

// followAll hands the confirmed batches on.
func (c *Committer) followAll() {
	for b := range c.follow {
		if c.o.Follow != nil {
			c.o.Follow(b.seq, &b.header, b.rows)
		}
	}
}

// refuse answers the frames of b with why the committer failed.
func (c *Committer) refuse(b *cut) {
	err := unavailable(c.Err())
	c.books.lost(b.counts.Frames)
	for _, a := range b.answers {
		a.waiter.Committed(a.token, err)
	}
	c.landed()
}

// abandon answers whatever was not handed to the log, after the goroutines that would have done so have ended.
func (c *Committer) abandon() {
	k := &c.cutter
	for _, b := range k.ready {
		c.refuse(b)
	}
	c.mu.Lock()
	rest := append(k.taken[k.next:], c.pending...)
	c.pending = nil
	c.mu.Unlock()
	for i := range rest {
		q := &rest[i]
		c.queue.Give(q.memory)
		c.books.lost(q.Counts.Frames)
		q.Waiter.Committed(q.Token, unavailable(c.Err()))
	}
}

// buffers keeps the memory of encoded batches.
var buffers = sync.Pool{}

func takeBuffer() []byte {
	if p, ok := buffers.Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return nil
}

func giveBuffer(data []byte) {
	if cap(data) <= maxSpare {
		buffers.Put(&data)
	}
}
