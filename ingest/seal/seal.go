// Package seal writes what the head holds into the keyspace: closed parts as blocks, small ones as tails, and rollups of
// hours and days that have ended; then it trims the log up to what is durably stored.
//
// One goroutine does all of it, one bounded round after another, so that between reading the blocks of an hour and
// writing its rollup no block can appear. A write that fails is written again, the same, until it succeeds; what the
// keyspace can never take is set aside. What a crash can leave, and what a start makes of it:
//
//	left                                            the start
//	nothing of a write                              reads the log from its first entry: the readings are there
//	marks without their blocks                      the same; the rollups count again when computed past the marks
//	blocks without the gateway's row                reads the same readings again; blocks overlap, readers merge
//	blocks and the row, the log not trimmed         drops the readings that the row's position covers
//	a tail whose readings are in a block too        reads the tail back; the next block and row hold it, readers merge
//	rollups not computed                            finds them by their marks
//
// The whole way of a reading has a table of that kind in ingest/crash_test.go. What a node forgets of it that has not synced is
// no more than that: nothing is read back from the keyspace before what is there is durable.
//
// Its one invariant: the log is trimmed only up to a sequence of which every reading is durably in a block or a tail.
package seal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"berth/ingest/head"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/internal/metrics"
	"berth/schema"
)

// Bounds of one round, and how often rounds are due.
const (
	blockBatch   = 4 << 20 // bytes of readings that are written as blocks together
	tailBatch    = 256     // gateways whose rows are written together
	tailsEvery   = time.Minute
	tailsRest    = 10 // a round of tails is followed by a rest so many times as long
	tailsAtLeast = 10 * time.Second
	hurryRest    = time.Second // a round of tails is followed by at least so long a rest, even in a hurry
	logBehind    = 64 << 20    // bytes of readings after which tails are written early
	sweepEvery   = time.Minute
	dayRest      = 2 * time.Minute // a part of an ended day is closed after so long a silence
	idleAfter    = time.Hour       // a silent gateway leaves the head
	expireEvery  = 24 * time.Hour
	openRest     = time.Second
	backOff      = 100 * time.Millisecond
	maxBackOff   = 5 * time.Second
	failedRest   = time.Minute // what can wait is tried again after so long
)

// Trim trims the log up to a sequence; it is bus.Log's Trim.
type Trim func(ctx context.Context, upTo uint64) error

// Refused is what the keyspace can never take.
type Refused struct {
	Gateway  string
	What     string // "block", "row", ...
	Form     string // of Data: record.FormMessage, ...
	Readings int
	Data     []byte
	Why      error
}

// Options say what a Sealer works with. Head, Keyspace, Trim and Aside are needed.
type Options struct {
	Head     *head.Head
	Keyspace keyspace.Writer
	Trim     Trim
	// Aside keeps durably, counts and shows what the keyspace can never take. Its error means that it could not yet.
	Aside     func(ctx context.Context, r *Refused) error
	Retention func() time.Duration // of readings; nil: for ever
	Rollups   time.Duration        // retention of rollups, at least that of readings; 0: five years
	Metrics   *metrics.Set         // where what is written is counted; nil: nowhere
	Now       func() time.Time     // the wall clock, which may jump: it says what has ended, or is too old. nil: time.Now
	Steady    func() time.Time     // a clock that never jumps: by it rests are measured. nil: time.Now, of which Go compares the monotonic part
	Logger    *slog.Logger         // nil: none
}

// Sealer writes for one provider. Times in it are of the steady clock, unless they are called wall. Its methods other than
// State and Hurry belong to one goroutine.
type Sealer struct {
	Options
	encoder head.Encoder
	counts  counts

	hand    *write    // what is being written: a write that failed is tried again before anything else
	pending []written // in order of receipts
	last    keyspace.Receipt
	opened  bool // what the keyspace had at its opening is durable
	begun   bool // the times below are set
	tails   tailRound
	rollups rollupRound

	sweepAt, expireAt time.Time

	hurry atomic.Bool
	rush  chan struct{} // wakes Run after Hurry

	mu    sync.Mutex // guards state
	state error      // why the keyspace or the log does not take what it is given
}

// counts are what was written, for operators.
type counts struct{ blocks, bytes, tails, rollups, errors *metrics.Count }

// add counts what was written.
func (c *counts) add(w *keyspace.Changes) {
	c.blocks.Add(len(w.Blocks))
	for i := range w.Blocks {
		c.bytes.Add(len(w.Blocks[i].Data))
	}
	c.tails.Add(len(w.Gateways))
	c.rollups.Add(len(w.Rollups))
}

// New returns a sealer.
func New(o Options) *Sealer {
	if o.Rollups == 0 {
		o.Rollups = 5 * 366 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Steady == nil {
		o.Steady = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Sealer{Options: o, rush: make(chan struct{}, 1), counts: counts{
		blocks: o.Metrics.Count(metrics.BlocksWritten), bytes: o.Metrics.Count(metrics.BlockBytes),
		tails: o.Metrics.Count(metrics.TailsWritten), rollups: o.Metrics.Count(metrics.RollupsWritten),
		errors: o.Metrics.Count(metrics.KeyspaceErrors),
	}}
}

// Hurry has what is in the head written as soon as may be, so that the log is trimmed. It may be called by anyone.
func (s *Sealer) Hurry() {
	s.hurry.Store(true)
	select {
	case s.rush <- struct{}{}:
	default:
	}
}

// State returns headapi.StateSlow and why while the keyspace does not take something, else nothing. That the log cannot be
// trimmed is the log's trouble, which others tell.
func (s *Sealer) State() (state, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, trim := errors.AsType[*trimError](s.state); trim || s.state == nil {
		return "", ""
	}
	if schema.Is(s.state, schema.Limited) {
		return headapi.StateSlow, "what the keyspace can never take has to wait: " + schema.Show(s.state)
	}
	return headapi.StateSlow, "the keyspace does not take what the head has: " + schema.Show(s.state)
}

// setState notes why nothing can be written, and says so when that changes.
func (s *Sealer) setState(err error) {
	s.mu.Lock()
	before := s.state
	s.state = err
	s.mu.Unlock()
	switch {
	case before == nil && err != nil:
		s.Logger.Warn("sealing has to wait", "error", err)
	case before != nil && err == nil:
		s.Logger.Info("sealing goes on")
	}
}

// Run seals until the context ends. What is in memory then is in the log too.
func (s *Sealer) Run(ctx context.Context) {
	wait := backOff
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		rest, err := s.Round(ctx)
		if ctx.Err() != nil {
			return
		}
		s.setState(err)
		if err != nil {
			s.counts.errors.Add(1)
			rest, wait = wait, min(2*wait, maxBackOff)
		} else {
			wait = backOff
		}
		timer.Reset(rest)
		wake, rush := s.Head.Wake(), s.rush
		if err != nil {
			wake, rush = nil, nil
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-rush:
		case <-timer.C:
		}
	}
}

// Round does the most urgent work, a bounded piece of it, and returns how long the next round may wait. After an error
// nothing is lost, and the next round tries the same again.
func (s *Sealer) Round(ctx context.Context) (rest time.Duration, err error) {
	now := s.Steady()
	s.begin(now)
	if open, err := s.open(ctx); err != nil || !open {
		return openRest, err
	}
	if err := s.finish(ctx); err != nil {
		return 0, err
	}
	work := s.Head.Work()
	if work.Pressed {
		if s.Head.Press(s.tails.ended.Add(tailsAtLeast).After(now)) {
			s.tails.due = now
		}
		work = s.Head.Work()
	}
	if s.hurry.Swap(false) && s.tails.rested(now) {
		s.tails.due = now
	}
	s.tails.arm(now, &work, s.Head)
	busy := work.Closed || s.tails.running
	if work.Closed {
		if err := s.sealParts(ctx); err != nil {
			return 0, err
		}
	}
	if s.tails.running {
		if err := s.sealTails(ctx); err != nil {
			return 0, err
		}
	}
	s.sweep(now)
	s.expire(ctx, now)
	if s.roll(ctx, now, busy); s.hand != nil || busy || s.Head.Work().Closed {
		return 0, s.finish(ctx)
	}
	rest = min(s.tails.due.Sub(now), s.sweepAt.Sub(now), s.rollups.due().Sub(now))
	if len(s.pending) > 0 {
		rest = min(rest, time.Second)
	}
	return max(0, rest), nil
}

// begin sets the times of the first rounds.
func (s *Sealer) begin(now time.Time) {
	if s.begun {
		return
	}
	s.begun = true
	s.tails.due = now.Add(tailsEvery)
	s.sweepAt, s.expireAt = now.Add(sweepEvery), now // a keyspace whose rows expire by themselves learns the retention before the first is written
	s.rollups.scanAt = now
}

// open reports whether what is read of the keyspace stays there. Before, it may be what an instance before this one wrote last, and
// gone with the next power cut; then only the log has it.
func (s *Sealer) open(ctx context.Context) (bool, error) {
	if !s.opened {
		durable, err := s.Keyspace.Durable(ctx)
		if err != nil {
			return false, fmt.Errorf("ask what is durable: %w", err)
		}
		s.opened = durable >= keyspace.Opened
	}
	return s.opened, nil
}

// finish writes what is in hand, then releases what has become durable.
func (s *Sealer) finish(ctx context.Context) error {
	if s.hand != nil {
		if err := s.put(ctx); err != nil {
			return err
		}
	}
	return s.settle(ctx)
}

// sealParts writes closed parts as blocks.
func (s *Sealer) sealParts(ctx context.Context) error {
	w := &write{parts: s.Head.Closed(blockBatch)}
	s.hand = w // also when a row cannot be read yet: the parts are taken
	return s.finish(ctx)
}

// Finish seals what a stop should leave behind: everything in the head as blocks and tails, and a log trimmed up to what is
// surely durable, which a stop does not wait for. It gives up when the context ends. The log has the rest.
func (s *Sealer) Finish(ctx context.Context) error {
	s.begin(s.Steady())
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("finish sealing: %w", err)
		}
		if err := s.finish(ctx); err != nil {
			return err
		}
		work := s.Head.Work()
		if !work.Closed && !s.tails.running && work.Dirty == 0 {
			return nil
		}
		if open, err := s.open(ctx); err != nil || !open {
			return err
		}
		switch {
		case work.Closed:
			if err := s.sealParts(ctx); err != nil {
				return err
			}
		case s.tails.running:
			if err := s.sealTails(ctx); err != nil {
				return err
			}
		default:
			s.tails.start(s.Head)
		}
	}
}

// sweep lets go of what is old.
func (s *Sealer) sweep(now time.Time) {
	if now.Before(s.sweepAt) {
		return
	}
	s.sweepAt = now.Add(sweepEvery)
	wall := s.Now()
	s.Head.Sweep(wall.Add(-dayRest).UnixNano(), wall.Add(-idleAfter).UnixNano())
}

// expire drops what is older than its retention. It can wait: an error only puts it off.
func (s *Sealer) expire(ctx context.Context, now time.Time) {
	if s.Retention == nil || now.Before(s.expireAt) {
		return
	}
	s.expireAt = now.Add(expireEvery)
	retention := s.Retention()
	wall := s.Now()
	blocks, rollups := wall.Add(-retention), wall.Add(-max(retention, s.Rollups)) // a chart of readings needs their rollups
	if err := s.Keyspace.Expire(ctx, blocks.UnixNano(), rollups.UnixNano()); err != nil {
		s.Logger.Warn("what is old cannot be dropped yet", "error", err)
		s.expireAt = now.Add(failedRest)
	}
}
