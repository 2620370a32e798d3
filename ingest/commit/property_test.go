package commit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"berth/ingest/commit"
	"berth/ingest/commit/committest"
	"berth/schema/batch"
)

// plan is what happens in one run: some senders, and faults at some times.
type plan struct {
	seed     uint64
	senders  int
	frames   int // of each sender
	maxRows  int
	queue    int64
	inFlight int
	faults   []fault
}

type fault struct {
	after time.Duration
	what  string
}

// run is what happened.
type run struct {
	log      *committest.Log
	senders  []*sender
	accepted []int // submissions of each sender that Submit took
	rows     [][]int
	followed map[string][]int
	order    []uint64
	totals   batch.Totals
	inHand   uint64
	closed   error
}

// TestAnyFaultAnyTime: whatever the log does, every submission is answered once and in order; what is answered with
// success is in the log, in order and unchanged; what is followed is what is in the log; and the books balance.
func TestAnyFaultAnyTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := plan{
			seed:     rapid.Uint64().Draw(rt, "seed"),
			senders:  rapid.IntRange(1, 6).Draw(rt, "senders"),
			frames:   rapid.IntRange(1, 60).Draw(rt, "frames"),
			maxRows:  rapid.SampledFrom([]int{1, 3, 300}).Draw(rt, "maxRows"),
			queue:    rapid.SampledFrom([]int64{1, 2000, 1 << 20}).Draw(rt, "queue"),
			inFlight: rapid.IntRange(1, 4).Draw(rt, "inFlight"),
		}
		for range rapid.IntRange(0, 6).Draw(rt, "faults") {
			p.faults = append(p.faults, fault{
				after: time.Duration(rapid.IntRange(0, 2000).Draw(rt, "after")) * 10 * time.Microsecond,
				what:  rapid.SampledFrom([]string{"full", "one more", "room", "hold", "release", "take over"}).Draw(rt, "what"),
			})
		}
		var r *run
		synctest.Test(t, func(t *testing.T) { r = p.run(t) })
		for _, wrong := range r.check(t) {
			rt.Error(wrong)
		}
	})
}

func (p plan) run(t *testing.T) *run {
	t.Helper()
	log := committest.New()
	delay := rand.New(rand.NewPCG(p.seed, 0))
	log.Delay = func() time.Duration { return time.Duration(delay.IntN(500)) * time.Microsecond }
	r := &run{log: log, accepted: make([]int, p.senders), rows: make([][]int, p.senders), followed: map[string][]int{}}
	c := commit.New(commit.Options{
		Writer: log, Logger: quiet, MaxBatch: 2000, MinBatch: 500, InFlight: p.inFlight, Queue: p.queue, RetryEvery: 5 * time.Millisecond,
		Follow: func(seq uint64, _ *batch.Header, rows *batch.Rows) {
			r.order = append(r.order, seq)
			collect(t, r.followed, rows)
			commit.GiveRows(rows)
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i := range p.senders {
		s := &sender{}
		r.senders = append(r.senders, s)
		wg.Go(func() { r.send(ctx, c, p, i, s) })
	}
	wg.Go(func() { r.fail(p.faults) })
	wg.Wait()
	log.Room(-1)
	log.Hold(false)
	c.Room()
	r.closed = c.Close(ctx)
	r.totals, r.inHand = c.Totals()
	return r
}

// send submits the frames of one sender; token n is of the submission n-1.
func (r *run) send(ctx context.Context, c *commit.Committer, p plan, i int, s *sender) {
	random := rand.New(rand.NewPCG(p.seed, uint64(i+1)))
	value := 0
	for range p.frames {
		rows := 1 + random.IntN(p.maxRows)
		sub := submission(fmt.Sprintf("g%d", i), value, rows, s, uint64(r.accepted[i]+1))
		switch err := c.Submit(ctx, sub); {
		case err != nil:
			commit.GiveRows(sub.Rows)
			return
		case random.IntN(10) == 0:
			c.Count(commit.Counts{FramesRejected: 1, Reasons: map[string]int{"syntax": 1}})
		}
		value += rows
		r.accepted[i]++
		r.rows[i] = append(r.rows[i], value)
		if random.IntN(4) == 0 {
			pass(time.Duration(random.IntN(1000)) * time.Microsecond)
		}
	}
}

func (r *run) fail(faults []fault) {
	for _, f := range faults {
		pass(f.after)
		switch f.what {
		case "full":
			r.log.Room(0)
		case "one more":
			r.log.Room(1)
		case "room":
			r.log.Room(-1)
		case "hold":
			r.log.Hold(true)
		case "release":
			r.log.Hold(false)
		case "take over":
			r.log.TakeOver()
		}
	}
	r.log.Room(-1)
	r.log.Hold(false)
}

// check returns what should not be.
func (r *run) check(t *testing.T) (wrong []string) {
	t.Helper()
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	stored := values(t, r.log.Messages())
	var committed uint64
	for i, s := range r.senders {
		name := fmt.Sprintf("g%d", i)
		tokens, _ := s.answered()
		if len(tokens) != r.accepted[i] {
			say("%s: %d answers for %d submissions", name, len(tokens), r.accepted[i])
		}
		for j, token := range tokens {
			if token != uint64(j+1) {
				say("%s: answer %d is of submission %d", name, j+1, token)
			}
			if s.errs[j] == nil {
				committed++
				if len(stored[name]) < r.rows[i][j] {
					say("%s: submission %d was acknowledged, but the log has %d rows of %d", name, j+1, len(stored[name]), r.rows[i][j])
				}
			} else if r.closed == nil {
				say("%s: submission %d failed though the log did not", name, j+1)
			}
		}
		for j, v := range stored[name] {
			if v != j {
				say("%s: row %d in the log is %d", name, j, v)
				break
			}
		}
		for j, v := range r.followed[name] {
			if v != j {
				say("%s: row %d followed is %d", name, j, v)
				break
			}
		}
		if r.closed == nil && len(r.followed[name]) != len(stored[name]) {
			say("%s: %d rows followed, %d stored", name, len(r.followed[name]), len(stored[name]))
		}
	}
	for i, seq := range r.order {
		if seq != uint64(i+1) {
			say("batch %d was followed as number %d", seq, i+1)
		}
	}
	return append(wrong, r.checkBooks(t, committed)...)
}

func (r *run) checkBooks(t *testing.T, committed uint64) (wrong []string) {
	t.Helper()
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	b := r.totals
	if r.inHand != 0 || b.FramesReceived != b.FramesCommitted+b.FramesRejected+b.FramesGivenUp || b.FramesCommitted != committed {
		say("the books: %+v, %d in hand, %d acknowledged", b, r.inHand, committed)
	}
	var before batch.Totals
	written := uint64(0)
	for i, m := range r.log.Messages() {
		h, rows, err := batch.Decode(m, interner)
		if err != nil {
			t.Fatal(err)
		}
		if h.Totals.Accepted-before.Accepted != uint64(rows.Readings()) {
			say("message %d holds %d readings and counts %d", i+1, rows.Readings(), h.Totals.Accepted-before.Accepted)
		}
		if n := h.Totals; n.FramesReceived != n.FramesCommitted+n.FramesRejected+n.FramesGivenUp {
			say("message %d carries %+v", i+1, n)
		}
		if h.Totals.Bytes != written {
			say("message %d counts %d bytes before it, which are %d", i+1, h.Totals.Bytes, written)
		}
		before, written = h.Totals, written+uint64(len(m))
	}
	if r.closed == nil && b.Bytes != written {
		say("the books count %d bytes of %d", b.Bytes, written)
	}
	if messages := r.log.Messages(); r.closed == nil && len(messages) > 0 {
		last := lastTotals(t, messages)
		if last.FramesCommitted != b.FramesCommitted || last.FramesReceived != b.FramesReceived || last.Accepted != b.Accepted ||
			last.Reasons["syntax"] != b.Reasons["syntax"] {
			say("the last message carries %+v, the books say %+v", last, b)
		}
	}
	return wrong
}
