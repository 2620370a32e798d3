package commit

import (
	"errors"
	"sync"
	"time"

	"berth/internal/bus"
)

// confirmAll waits for the batches in flight, one after another, and answers their frames.
func (c *Committer) confirmAll() {
	for b := range c.flight {
		if c.Err() == nil {
			c.await1(b)
		}
		if b.seq == 0 { // it failed; whether the log has it nobody knows
			c.refuse(b)
			continue
		}
		c.confirmed(b)
	}
}

// await1 waits until the log has confirmed b, however long it has no room, or the committer fails.
func (c *Committer) await1(b *cut) {
	for {
		confirmed, err := c.o.Writer.Next(c.ctx)
		switch {
		case err == nil:
			b.seq = confirmed.Sequence
			c.setFull(false)
			return
		case errors.Is(err, bus.ErrLogFull):
			c.setFull(true)
			if !c.awaitRoom() {
				return
			}
			c.o.Writer.Retry()
		default:
			c.fail(err)
			return
		}
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
	c.sequence.Store(b.seq)
	c.books.committed(&b.counts)
	giveBuffer(b.data)
	b.data = nil
	c.landed() // the next batch is on its way while this one is answered
	for _, a := range b.answers {
		a.waiter.Committed(a.token, nil)
	}
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
