package commit

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/ingest/budget"
	"berth/schema"
	"berth/schema/batch"
)

// Estimates of the memory that a submission takes, in bytes.
const (
	submissionMemory = 256
	rowMemory        = 32
	valueMemory      = 8
)

// queued is a submission that waits.
type queued struct {
	Submission
	memory int64
	size   int // in a message
}

// Submit hands a submission over; its Waiter hears what becomes of it. It blocks while the queue is full: that is the
// back-pressure. When it returns an error (Unavailable: ctx ended, or the committer has closed) nothing was taken, the
// rows stay the caller's, and its frames count as given up.
func (c *Committer) Submit(ctx context.Context, s *Submission) error {
	q := queue(s)
	c.books.received(s.Counts.Frames)
	if err := c.queue.Take(ctx, q.memory); err != nil {
		c.books.givenUp(s.Counts.Frames)
		return c.refusal(err)
	}
	return c.enqueue(&q)
}

// TrySubmit is Submit that does not block: false says that the queue is full, and nothing was taken or counted.
func (c *Committer) TrySubmit(s *Submission) (bool, error) {
	q := queue(s)
	if !c.queue.TryTake(q.memory) {
		return false, nil
	}
	c.books.received(s.Counts.Frames)
	return true, c.enqueue(&q)
}

// queue returns a submission as it waits.
func queue(s *Submission) queued {
	q := queued{Submission: *s}
	if q.Received.IsZero() {
		q.Received = time.Now()
	}
	q.memory = s.Memory()
	q.size = s.Rows.Size() + s.sessionSize()
	return q
}

// Memory returns about how many bytes a submission takes while it waits.
func (s *Submission) Memory() int64 {
	rows := s.Rows
	return int64(submissionMemory + rowMemory*len(rows.Rows) + valueMemory*len(rows.Bits) + len(rows.Text) + s.sessionSize())
}

// sessionSize returns how many bytes the session takes in a message at most.
func (s *Submission) sessionSize() int {
	if s.Session == nil {
		return 0
	}
	return s.Session.Size()
}

// enqueue puts a submission into the queue, of whose memory its own was taken and whose frames are counted as received.
func (c *Committer) enqueue(q *queued) error {
	c.mu.Lock()
	if c.closing || c.err != nil {
		c.mu.Unlock()
		c.queue.Give(q.memory)
		c.books.givenUp(q.Counts.Frames)
		return c.refusal(budget.ErrClosed)
	}
	c.pending = append(c.pending, *q)
	c.pendBytes += q.size
	if q.Session != nil {
		c.changed(q.Session)
	}
	if c.inFlight == 0 || c.pendBytes >= c.o.MinBatch {
		c.wake.Signal()
	}
	c.mu.Unlock()
	return nil
}

// Put submits rows of frames that nobody on a connection waits for, and returns when the log has them. When it returns an
// error, it is unknown whether it has.
func (c *Committer) Put(ctx context.Context, rows *batch.Rows, counts Counts) error {
	return c.put(ctx, &Submission{Rows: rows, Counts: counts})
}

// put submits and waits.
func (c *Committer) put(ctx context.Context, s *Submission) error {
	w := make(putWaiter, 1)
	s.Waiter = w
	if err := c.Submit(ctx, s); err != nil {
		GiveRows(s.Rows)
		return err
	}
	select {
	case err := <-w:
		return err
	case <-ctx.Done():
		return schema.Errorf(schema.Unavailable, "the log did not confirm it in time").WithNext("do it again: repeats change nothing").WithCause(ctx.Err())
	}
}

// putWaiter is told once.
type putWaiter chan error

// Committed passes on what became of the submission.
func (w putWaiter) Committed(_ uint64, err error) { w <- err }

// refusal returns what a sender is told whose submission was not taken.
func (c *Committer) refusal(err error) error {
	if errors.Is(err, budget.ErrClosed) {
		if why := c.Err(); why != nil {
			return unavailable(why)
		}
		return errClosed
	}
	return schema.Errorf(schema.Unavailable, "the log cannot keep up").WithNext("send it again in a few seconds").WithCause(err)
}

// unavailable returns why as an Unavailable error.
func unavailable(why error) error {
	if schema.Is(why, schema.Unavailable) {
		return why
	}
	return schema.Errorf(schema.Unavailable, "this instance can no longer write").WithNext("connect again in a moment").WithCause(why)
}

// spare keeps rows for use again.
var spare = sync.Pool{New: func() any { return new(batch.Rows) }}

// maxSpare is the memory beyond which rows are not kept for use again.
const maxSpare = 1 << 20

// TakeRows returns empty rows, used before if there are such.
func TakeRows() *batch.Rows {
	rows, ok := spare.Get().(*batch.Rows)
	if !ok {
		return new(batch.Rows)
	}
	return rows
}

// GiveRows gives rows back that nobody uses any more.
func GiveRows(rows *batch.Rows) {
	if rowMemory*cap(rows.Rows)+valueMemory*cap(rows.Bits)+cap(rows.Text) > maxSpare {
		return
	}
	rows.Reset()
	spare.Put(rows)
}
