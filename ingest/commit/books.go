package commit

import (
	"maps"
	"sync"
	"time"

	"berth/schema/batch"
)

// Counts are what happened, to be added to the running totals. Of a submission only Frames, Rejected and Reasons count:
// what was accepted is counted of the rows themselves, message by message.
type Counts struct {
	Frames   uint64         // whole frames: those whose last piece this is
	Accepted uint64         // readings
	Rejected uint64         // readings, of frames that were accepted in part
	Timeless uint64         // readings that came without a time, among the accepted
	Reasons  map[string]int // rejected readings and frames by reason; not changed, may be shared

	FramesRejected uint64 // frames refused whole
	FramesGivenUp  uint64 // frames whose connection ended before they were whole
	Strangers      uint64 // connections that ended without a valid key
}

// Add adds what a submission counts.
func (c *Counts) Add(o *Counts) {
	c.Frames += o.Frames
	c.Rejected += o.Rejected
	if len(o.Reasons) == 0 {
		return
	}
	sum := make(map[string]int, len(c.Reasons)+len(o.Reasons))
	maps.Copy(sum, c.Reasons)
	for reason, n := range o.Reasons {
		sum[reason] += n
	}
	c.Reasons = sum
}

// books are the running totals, twice: as the next batch will carry them, as if it and all before it were confirmed; and
// as they are. Frames received are counted when they come and again where they end, so that books that do not balance
// show.
type books struct {
	mu      sync.Mutex // guards what follows
	next    batch.Totals
	carried batch.Totals // what the last batch carries; its reasons are not changed any more
	actual  batch.Totals
	inHand  uint64
	dirty   bool // next changed since a batch carried it

	scheduled bool // a write of the totals
}

func (b *books) begin(t batch.Totals) {
	b.next, b.carried, b.actual = cloned(t), cloned(t), cloned(t)
}

// cloned returns t with reasons of its own.
func cloned(t batch.Totals) batch.Totals {
	reasons := maps.Clone(t.Reasons)
	if reasons == nil {
		reasons = map[string]uint64{}
	}
	t.Reasons = reasons
	return t
}

// received counts frames that came in whole and are in hand now.
func (b *books) received(frames uint64) {
	b.mu.Lock()
	b.actual.FramesReceived += frames
	b.inHand += frames
	b.mu.Unlock()
}

// givenUp counts frames in hand that were not taken.
func (b *books) givenUp(frames uint64) {
	b.mu.Lock()
	b.inHand -= frames
	b.actual.FramesGivenUp += frames
	b.next.FramesGivenUp += frames
	b.next.FramesReceived += frames
	b.dirty = true
	b.mu.Unlock()
}

// cut returns the totals before and after a batch that counts c.
func (b *books) cut(c *Counts) (before, after batch.Totals) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before = b.carried
	addCommitted(&b.next, c)
	b.next.FramesReceived += c.Frames
	b.dirty = false
	b.carried = cloned(b.next)
	return before, b.carried
}

// committed counts the frames of a batch that was confirmed, a message of so many bytes.
func (b *books) committed(c *Counts, size int) {
	b.mu.Lock()
	b.actual.Bytes += uint64(size)
	b.inHand -= c.Frames
	addCommitted(&b.actual, c)
	b.mu.Unlock()
}

// lost counts frames in hand of which it is not known whether the log has them. There will be no further batch.
func (b *books) lost(frames uint64) {
	b.mu.Lock()
	b.inHand -= frames
	b.actual.FramesGivenUp += frames
	b.mu.Unlock()
}

// count counts what never was a submission, and reports whether a write of the totals has to be scheduled.
func (b *books) count(c *Counts) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range [2]*batch.Totals{&b.actual, &b.next} {
		t.FramesReceived += c.FramesRejected + c.FramesGivenUp
		t.FramesRejected += c.FramesRejected
		t.FramesGivenUp += c.FramesGivenUp
		t.Strangers += c.Strangers
		addReasons(t, c.Reasons)
	}
	b.dirty = true
	if b.scheduled || c.FramesRejected+c.FramesGivenUp == 0 && len(c.Reasons) == 0 {
		return false
	}
	b.scheduled = true
	return true
}

// fire ends the schedule and reports whether there is something to write.
func (b *books) fire() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scheduled = false
	return b.dirty
}

// changed reports whether there are totals that no batch carries.
func (b *books) changed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dirty
}

func addCommitted(t *batch.Totals, c *Counts) {
	t.FramesCommitted += c.Frames
	t.Accepted += c.Accepted
	t.Rejected += c.Rejected
	t.Timeless += c.Timeless
	addReasons(t, c.Reasons)
}

func addReasons(t *batch.Totals, reasons map[string]int) {
	for reason, n := range reasons {
		t.Reasons[reason] += uint64(n)
	}
}

// Count counts what happened without a submission: frames refused whole with their reasons, frames given up, strangers.
// Frames are written to the log with the next batch, after TotalsEvery at the latest; strangers alone cause no write.
func (c *Committer) Count(n Counts) {
	if c.books.count(&n) {
		c.dueLater()
	}
}

// dueLater sees to it that the totals are written in a while. Only one such is scheduled at a time.
func (c *Committer) dueLater() {
	time.AfterFunc(c.o.TotalsEvery, func() {
		if !c.books.fire() {
			return // a batch has carried them
		}
		c.mu.Lock()
		c.totalsDue = true
		c.wake.Signal()
		c.mu.Unlock()
	})
}

// Totals returns the running totals as they are, and how many frames are in hand: received, and neither committed nor
// rejected nor given up yet.
func (c *Committer) Totals() (totals batch.Totals, inHand uint64) {
	c.books.mu.Lock()
	defer c.books.mu.Unlock()
	return cloned(c.books.actual), c.books.inHand
}
