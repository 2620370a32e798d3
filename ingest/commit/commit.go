// Package commit turns the frames of all connections into batches and batches into acknowledgements.
//
//	Submit ──▶ queue ──cut──▶ batch ──▶ log ──confirmed──▶ Waiter.Committed ──▶ Follow
//
// It clocks itself: while the log is busy with one batch, everything that arrives gathers for the next, so one flush of
// the disk commits as many frames as came meanwhile; nothing waits for a timer. It keeps the provider's running totals,
// which ride in every batch. Where frames come from, how they are answered and what becomes of readings is left to
// others. Its one invariant: a Waiter hears of success only when the log has confirmed every batch that holds a part of
// its submission.
package commit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"berth/ingest/budget"
	"berth/internal/bus"
	"berth/internal/metrics"
	"berth/schema"
	"berth/schema/batch"
)

// Writer is the log as it is written: *bus.Writer, or one that fails in tests.
type Writer interface {
	// Append hands one batch over; confirmations come in the order of Append. It may block while many are in flight. The
	// data stays untouched until the batch is confirmed.
	Append(data []byte) error
	// Next waits for the oldest batch in flight, or for one to be. bus.ErrLogFull: it was refused for lack of room and not stored, nor is
	// any after it; Retry, then Next waits for it again. Any other error ends the writer.
	Next(ctx context.Context) (bus.Confirmed, error)
	// Retry sends what was refused again, in order.
	Retry()
}

// Waiter is told what became of its submissions, once each, in their order. It is called by one goroutine for everybody
// and must not block.
type Waiter interface {
	// Committed says that the submission with the token is in the log, or will not be answered as such: then err says why,
	// and the sender may send it again.
	Committed(token uint64, err error)
}

// Submission is a burst of frames of one sender. Frames that were refused whole are not in it; see [Committer.Count].
type Submission struct {
	Rows   *batch.Rows // passes to the committer
	Counts Counts      // what it adds to the running totals
	Waiter Waiter
	Token  uint64
	// Session is as what the sender's session is to be known once the submission is in the log; nil: as before. With no rows
	// the submission is there for it alone.
	Session *batch.Session
	// Received is when its first frame had come in whole; zero: when it was submitted. What passes from then until its
	// waiter has been told is the time of the acknowledgement.
	Received time.Time
}

// Options say how a Committer works. Writer, Claim and Logger are needed.
type Options struct {
	Writer Writer
	Claim  string       // the id of the claim that the batches are chained to
	Totals batch.Totals // where the running totals begin: those of the log's last message
	// Sequence is that of the claim, SessionsFrom what it says, and Sessions what the log knows up to it, in the order in
	// which they were written.
	Sequence, SessionsFrom uint64
	Sessions               []Kept
	Logger                 *slog.Logger
	// Metrics is where batches and the times of acknowledgements are counted; nil: nowhere.
	Metrics *metrics.Set
	// Follow takes each batch that the log has confirmed, in log order, from one goroutine, after its frames were
	// acknowledged. It owns rows. While it blocks, a few batches more are acknowledged, then none.
	Follow func(sequence uint64, header *batch.Header, rows *batch.Rows)

	MaxBatch    int           // bytes; 256 KB if 0
	MinBatch    int           // bytes that a batch must have to be sent while another is in flight; 64 KB if 0
	InFlight    int           // batches; 4 if 0
	Queue       int64         // bytes of memory that submissions may wait in; 16 MB if 0
	TotalsEvery time.Duration // totals that changed without a batch are written at least so often; 10 s if 0
	RetryEvery  time.Duration // how often a full log is tried again; 1 s if 0
	Behind      int64         // bytes of log behind a session before it is written again; 4 MB if 0
	Now         func() time.Time
}

func (o Options) withDefaults() Options {
	if o.MaxBatch == 0 {
		o.MaxBatch = 256 << 10
	}
	if o.MinBatch == 0 {
		o.MinBatch = 64 << 10
	}
	if o.InFlight == 0 {
		o.InFlight = 4
	}
	if o.Queue == 0 {
		o.Queue = 16 << 20
	}
	if o.TotalsEvery == 0 {
		o.TotalsEvery = 10 * time.Second
	}
	if o.RetryEvery == 0 {
		o.RetryEvery = time.Second
	}
	if o.Behind == 0 {
		o.Behind = 4 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Committer gathers submissions into batches. It is safe for concurrent use.
type Committer struct {
	o      Options
	ctx    context.Context // ends when the committer fails or has written its last batch
	cancel context.CancelFunc
	queue  *budget.Budget // bytes of submissions in pending and taken
	books  books
	watch  watched

	sessions sessions

	sequence atomic.Uint64 // of the last confirmed batch
	full     atomic.Bool   // the log refused a batch for lack of room
	held     atomic.Bool   // see Hold

	mu        sync.Mutex // guards what follows; wake is signaled when any of it changes to what the cutter waits for
	wake      sync.Cond
	pending   []queued
	pendBytes int               // estimated size of pending when encoded
	changes   map[string]change // sessions that pending changes, or what was taken of it, by key
	inFlight  int               // batches cut and not yet confirmed
	totalsDue bool
	closing   bool
	err       error // why it failed

	cutter cutter      // of the cutting goroutine alone
	flight chan *cut   // cut and handed to the log, in order
	follow chan *cut   // confirmed and answered, in order
	room   chan signal // there may be room in the log again
	done   chan signal // closed when it failed
	ended  chan signal // closed when its goroutines ended
}

type signal = struct{}

var _ Writer = (*bus.Writer)(nil)

// New starts a Committer.
func New(o Options) *Committer {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	c := &Committer{
		o: o, ctx: ctx, cancel: cancel,
		queue:  budget.New(o.Queue),
		flight: make(chan *cut, o.InFlight),
		follow: make(chan *cut, o.InFlight),
		room:   make(chan signal, 1),
		done:   make(chan signal),
		ended:  make(chan signal),

		changes: make(map[string]change),
	}
	c.wake.L = &c.mu
	c.books.begin(o.Totals)
	c.cutter.written = o.Totals.Bytes
	c.watch.begin(o.Metrics)
	c.sessions.begin(&o)
	go c.run()
	return c
}

// run cuts, confirms and follows until the committer has closed or failed, then answers who still waits.
func (c *Committer) run() {
	var confirming, following sync.WaitGroup
	confirming.Go(c.confirmAll)
	following.Go(c.followAll)
	c.cutAll()
	c.cancel() // no more confirmations: there is nothing in flight, or it failed
	close(c.flight)
	confirming.Wait()
	close(c.follow)
	c.abandon()
	following.Wait()
	close(c.ended)
}

// Close stops accepting, waits until everything in hand is confirmed or ctx ends, and answers the rest with an error. It
// may be called more than once.
func (c *Committer) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closing = true
	c.wake.Signal()
	c.mu.Unlock()
	c.queue.Close()
	select {
	case <-c.ended:
	case <-ctx.Done():
		c.fail(errClosed)
		<-c.ended
	}
	if err := c.Err(); err != nil {
		return err
	}
	return nil
}

var errClosed = schema.Errorf(schema.Unavailable, "the service is being stopped").WithNext("connect again in a moment")

// fail ends the committer: nothing more is written, who waits is answered with an error.
func (c *Committer) fail(err error) {
	c.mu.Lock()
	failed := c.err == nil && !errors.Is(err, errClosed)
	if c.err == nil {
		c.err = err
	}
	c.wake.Signal()
	c.mu.Unlock()
	if failed {
		close(c.done)
		c.o.Logger.Error("batches can no longer be written", "claim", c.o.Claim, "error", err)
	}
	c.queue.Close()
	c.cancel()
}

// Done is closed when the committer can write no more, though nobody closed it: another instance has taken over, or the
// log is lost. Err says which.
func (c *Committer) Done() <-chan struct{} { return c.done }

// Err returns why the committer failed, nil if it did not.
func (c *Committer) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Sequence returns the log sequence of the last confirmed batch, 0 when there was none yet.
func (c *Committer) Sequence() uint64 { return c.sequence.Load() }

// Slow reports whether the log has no room: submissions wait, and who can be told to come back later should be.
func (c *Committer) Slow() bool { return c.full.Load() || c.held.Load() }

// Full reports whether the log has refused a batch for lack of room, and it waits for some.
func (c *Committer) Full() bool { return c.full.Load() }

// Hold stops (true) or resumes (false) cutting batches: for a log that is nearly full, or a disk that is.
func (c *Committer) Hold(on bool) {
	c.held.Store(on)
	c.mu.Lock()
	c.wake.Signal()
	c.mu.Unlock()
}

// Room says that the log was trimmed: what it refused for lack of room is tried again at once.
func (c *Committer) Room() {
	select {
	case c.room <- signal{}:
	default:
	}
}
