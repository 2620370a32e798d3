package commit

import (
	"time"

	"berth/schema/batch"
)

// maxMessage is the longest message, in bytes, of more than one row. The estimates by which batches are cut leave out
// names, which are few unless somebody wants them many.
const maxMessage = 1 << 20

// cut is a batch that was cut.
type cut struct {
	header  batch.Header
	rows    *batch.Rows
	data    []byte
	counts  Counts
	answers []answer
	seq     uint64 // once confirmed

	sessions []*batch.Session // that have changed, in order
	size     int              // that these take
}

// answer is owed when the batch is confirmed.
type answer struct {
	waiter   Waiter
	token    uint64
	received time.Time
}

// cutter is what the cutting goroutine works on.
type cutter struct {
	encoder batch.Encoder
	taken   []queued // taken out of pending; from next on they are still to be cut
	next    int
	row     int    // of taken[next], where the next batch goes on: it was split
	left    int    // size of what is still to be cut
	ready   []*cut // cut, and to be sent before anything else
	written uint64 // bytes of all messages of the log so far
}

// cutAll cuts batches and hands them to the log until the committer has closed or failed.
func (c *Committer) cutAll() {
	k := &c.cutter
	for c.await() {
		if len(k.ready) == 0 {
			k.ready = c.encode(k.ready, c.cut())
		}
		b := k.ready[0]
		if err := c.o.Writer.Append(b.data); err != nil {
			c.fail(err)
			return
		}
		k.ready = append(k.ready[:0], k.ready[1:]...)
		c.flight <- b // never blocks: its capacity is InFlight
	}
}

// await waits until a batch should be sent and counts it as in flight, or returns false: there will be none.
func (c *Committer) await() bool {
	k := &c.cutter
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		work := len(k.ready) > 0 || k.left > 0 || len(c.pending) > 0
		switch {
		case c.err != nil:
			return false
		case c.closing && !work && c.inFlight == 0 && !c.books.changed():
			return false
		case c.shouldCut(work):
			if len(k.ready) == 0 && k.next == len(k.taken) {
				c.take()
			}
			c.inFlight++
			c.totalsDue = false
			return true
		}
		c.wake.Wait()
	}
}

// shouldCut is the rule of the clock: alone, a batch goes as soon as there is anything; beside others only when it is
// worth a flush of its own. It is called with mu held.
func (c *Committer) shouldCut(work bool) bool {
	k := &c.cutter
	switch {
	case c.inFlight >= c.o.InFlight || c.full.Load() || c.held.Load() && !c.closing:
		return false
	case work:
		return c.inFlight == 0 || len(k.ready) > 0 || k.left+c.pendBytes >= c.o.MinBatch
	default:
		return c.inFlight == 0 && (c.totalsDue || c.closing)
	}
}

// take moves what is pending to the cutter. It is called with mu held.
func (c *Committer) take() {
	k := &c.cutter
	k.taken, c.pending = c.pending, k.taken[:0]
	k.next, k.row = 0, 0
	k.left, c.pendBytes = c.pendBytes, 0
}

// cut makes the next batch of what was taken. Without any it is empty and carries the totals alone.
func (c *Committer) cut() *cut {
	k := &c.cutter
	b := &cut{rows: TakeRows()}
	for k.next < len(k.taken) {
		q := &k.taken[k.next]
		switch {
		case q.size > c.o.MaxBatch:
			if !c.split(b.rows, q.Rows) {
				return b
			}
		case len(b.answers) > 0 && b.rows.Size()+b.size+q.size > c.o.MaxBatch:
			return b
		default:
			b.rows.Append(q.Rows)
		}
		b.counts.Add(&q.Counts)
		if q.Counts.Frames == 0 {
			q.Received = time.Time{}
		}
		b.answers = append(b.answers, answer{q.Waiter, q.Token, q.Received})
		if q.Session != nil {
			b.sessions = append(b.sessions, q.Session)
			b.size += q.sessionSize()
		}
		c.queue.Give(q.memory)
		GiveRows(q.Rows)
		k.left -= q.size
		*q = queued{}
		k.next, k.row = k.next+1, 0
	}
	return b
}

// split appends rows of src, which alone are more than a batch, until dst is full, and reports whether they were the
// last.
func (c *Committer) split(dst, src *batch.Rows) bool {
	k := &c.cutter
	for k.row < src.Len() && (dst.Len() == 0 || dst.Size() < c.o.MaxBatch) {
		dst.AppendRange(src, k.row, k.row+1)
		k.row++
	}
	return k.row == src.Len()
}

// encode finishes b, in as many messages as it takes, and appends them to dst. The last one answers the frames. Each
// message counts as accepted exactly the readings that it holds, whatever frame they are of, so that every message of the
// log can be audited against the one before it.
func (c *Committer) encode(dst []*cut, b *cut) []*cut {
	b.counts.Accepted, b.counts.Timeless = uint64(b.rows.Readings()), timeless(b.rows)
	before, after := c.books.cut(&b.counts)
	b.header = batch.Header{Kind: batch.Data, Claim: c.o.Claim, Created: c.o.Now().UnixNano(), Totals: after}
	from := c.sessions.cut(&b.header, b.sessions, max(c.o.Sequence, c.sequence.Load()), b.header.Created)
	c.tookUp(b.sessions)
	n := len(dst)
	dst = c.halve(dst, b, before, from)
	for _, b := range dst[n:] {
		c.sessions.encoded(len(b.data))
	}
	return dst
}

// halve encodes b; while that is too long for the log it cuts it in two, of which the last has the sessions: what a session
// has received is in the log before it, or with it. Before that they are found from the same message on as before.
func (c *Committer) halve(dst []*cut, b *cut, before batch.Totals, from uint64) []*cut {
	b.header.Totals.Bytes = c.cutter.written
	b.data = c.cutter.encoder.Encode(takeBuffer(), &b.header, b.rows)
	if len(b.data) <= maxMessage || b.rows.Len() < 2 {
		c.cutter.written += uint64(len(b.data))
		return append(dst, b)
	}
	giveBuffer(b.data)
	whole, half := b.rows, b.rows.Len()/2
	first := &cut{header: b.header, rows: TakeRows()}
	first.header.Sessions, first.header.SessionsFrom = nil, from
	first.rows.AppendRange(whole, 0, half)
	first.counts.Accepted, first.counts.Timeless = uint64(first.rows.Readings()), timeless(first.rows)
	b.counts.Accepted -= first.counts.Accepted
	b.counts.Timeless -= first.counts.Timeless
	between := before
	between.Accepted += first.counts.Accepted
	between.Timeless += first.counts.Timeless
	first.header.Totals = between
	b.rows = TakeRows()
	b.rows.AppendRange(whole, half, whole.Len())
	GiveRows(whole)
	return c.halve(c.halve(dst, first, before, from), b, between, from)
}

// timeless returns how many readings came without a time.
func timeless(rows *batch.Rows) (n uint64) {
	for i := range rows.Rows {
		if r := &rows.Rows[i]; r.Arrival {
			n += uint64(len(r.Shape.Kinds))
		}
	}
	return n
}
