package commit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"berth/ingest/commit"
	"berth/ingest/commit/committest"
	"berth/internal/bus"
	"berth/schema"
	"berth/schema/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	interner = batch.NewInterner(1000)
	quiet    = slog.New(slog.DiscardHandler)
)

// submission returns one that holds the given number of rows, whose values count up from first.
func submission(gateway string, first, rows int, w commit.Waiter, token uint64) *commit.Submission {
	shape := interner.Shape(gateway, []string{"value", "note"}, []schema.Kind{schema.Float, schema.Text}, nil)
	r := commit.TakeRows()
	for i := range rows {
		v := first + i
		r.Rows = append(r.Rows, batch.Row{Shape: shape, Time: int64(v), First: uint32(len(r.Bits))})
		r.Bits = append(r.Bits, math.Float64bits(float64(v)))
		r.Bits = append(r.Bits, r.AddText(fmt.Appendf(nil, "note %d", v)))
	}
	return &commit.Submission{Rows: r, Counts: commit.Counts{Frames: 1, Accepted: uint64(2 * rows)}, Waiter: w, Token: token}
}

// sender is a Waiter that remembers its answers.
type sender struct {
	mu     sync.Mutex
	tokens []uint64
	errs   []error
}

func (s *sender) Committed(token uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens, s.errs = append(s.tokens, token), append(s.errs, err)
}

func (s *sender) answered() (tokens []uint64, failed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, err := range s.errs {
		if err != nil {
			failed++
		}
	}
	return append(tokens, s.tokens...), failed
}

// values returns the values in the log's messages of a gateway, in order.
func values(t *testing.T, messages [][]byte) map[string][]int {
	t.Helper()
	got := map[string][]int{}
	for i, m := range messages {
		_, rows, err := batch.Decode(m, interner)
		if err != nil {
			t.Fatalf("message %d: %v", i+1, err)
		}
		collect(t, got, rows)
	}
	return got
}

func collect(t *testing.T, into map[string][]int, rows *batch.Rows) {
	t.Helper()
	for _, row := range rows.Rows {
		v := int(math.Float64frombits(rows.Bits[row.First]))
		if note := rows.Value(int(row.First)+1, schema.Text).Text(); note != fmt.Sprintf("note %d", v) || row.Time != int64(v) {
			t.Fatalf("row of %d at %d has the note %q", v, row.Time, note)
		}
		into[row.Shape.Gateway] = append(into[row.Shape.Gateway], v)
	}
}

func closeIt(t *testing.T, c *commit.Committer) {
	t.Helper()
	if err := c.Close(t.Context()); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func lastTotals(t *testing.T, messages [][]byte) batch.Totals {
	t.Helper()
	h, _, err := batch.Decode(messages[len(messages)-1], interner)
	if err != nil {
		t.Fatal(err)
	}
	return h.Totals
}

func TestNothingIsAnsweredBeforeTheLogConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, w := committest.New(), &sender{}
		log.Hold(true)
		c := commit.New(commit.Options{Writer: log, Logger: quiet})
		for i := range 3 {
			if err := c.Submit(t.Context(), submission("g", i, 1, w, uint64(i+1))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if tokens, _ := w.answered(); len(tokens) != 0 {
			t.Errorf("answered %v before anything was confirmed", tokens)
		}
		if _, inHand := c.Totals(); inHand != 3 {
			t.Errorf("%d frames in hand, want 3", inHand)
		}
		log.Hold(false)
		synctest.Wait()
		if tokens, failed := w.answered(); !cmp.Equal(tokens, []uint64{1, 2, 3}) || failed != 0 {
			t.Errorf("answered %v, %d failed", tokens, failed)
		}
		closeIt(t, c)
	})
}

func TestOneFlushCommitsWhatGatheredMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, w := committest.New(), &sender{}
		log.Delay = func() time.Duration { return time.Millisecond }
		c := commit.New(commit.Options{Writer: log, Logger: quiet})
		for i := range 1000 {
			if err := c.Submit(t.Context(), submission("g", i, 1, w, uint64(i+1))); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				synctest.Wait() // the first goes alone
			}
		}
		closeIt(t, c)
		messages := log.Messages()
		if len(messages) != 2 {
			t.Errorf("%d messages, want 2: the first frame and all others", len(messages))
		}
		if got := values(t, messages)["g"]; len(got) != 1000 || got[0] != 0 || got[999] != 999 {
			t.Errorf("%d values in the log, want 1000 in order", len(got))
		}
	})
}

func TestALargeFrameIsSplitAndAnsweredAfterItsLastPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, w := committest.New(), &sender{}
		log.Room(2)
		c := commit.New(commit.Options{Writer: log, Logger: quiet, MaxBatch: 4 << 10})
		if err := c.Submit(t.Context(), submission("g", 0, 500, w, 7)); err != nil {
			t.Fatal(err)
		}
		if err := c.Submit(t.Context(), submission("g", 500, 1, w, 8)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if tokens, _ := w.answered(); len(tokens) != 0 || len(log.Messages()) != 2 {
			t.Errorf("answered %v after %d pieces", tokens, len(log.Messages()))
		}
		log.Room(-1)
		c.Room()
		synctest.Wait()
		tokens, failed := w.answered()
		if !cmp.Equal(tokens, []uint64{7, 8}) || failed != 0 {
			t.Errorf("answered %v, %d failed", tokens, failed)
		}
		got := values(t, log.Messages())["g"]
		for i, v := range got {
			if v != i {
				t.Fatalf("value %d is %d", i, v)
			}
		}
		if len(got) != 501 {
			t.Errorf("%d values in the log, want 501", len(got))
		}
		for i, m := range log.Messages() {
			if len(m) > 5<<10 {
				t.Errorf("message %d has %d bytes", i+1, len(m))
			}
		}
		closeIt(t, c)
	})
}

func TestABatchThatNamesMakeTooLongIsCutInTwo(t *testing.T) {
	log, w := committest.New(), &sender{}
	c := commit.New(commit.Options{Writer: log, Logger: quiet})
	rows := commit.TakeRows()
	const gateways = 1500
	for i := range gateways {
		var attributes []batch.Attribute
		for j := range 8 {
			text := fmt.Sprintf("%d-%d-%0200d", i, j, i*j)
			attributes = append(attributes, batch.Attribute{Name: fmt.Sprint(j), Value: text})
		}
		shape := interner.Shape(fmt.Sprint(i), []string{"a"}, []schema.Kind{schema.Int}, attributes)
		rows.Rows = append(rows.Rows, batch.Row{Shape: shape, Time: int64(i), First: uint32(i), Arrival: i%3 == 0})
		rows.Bits = append(rows.Bits, uint64(i))
	}
	s := &commit.Submission{Rows: rows, Counts: commit.Counts{Frames: 1, Accepted: gateways}, Waiter: w, Token: 1}
	if err := c.Submit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	closeIt(t, c)
	next, written, timeless := 0, 0, uint64(0)
	for i, m := range log.Messages() {
		h, rows, err := batch.Decode(m, interner)
		if h.Totals.Bytes != uint64(written) {
			t.Errorf("message %d counts %d bytes before it, which are %d", i+1, h.Totals.Bytes, written)
		}
		written += len(m)
		if err != nil || len(m) > 1<<20 {
			t.Fatalf("message %d of %d bytes: %v", i+1, len(m), err)
		}
		if last := i == len(log.Messages())-1; h.Totals.FramesCommitted != 0 != last || h.Totals.Accepted != uint64(next+rows.Readings()) {
			t.Errorf("message %d carries %d frames and %d readings after %d", i+1, h.Totals.FramesCommitted, h.Totals.Accepted, next)
		}
		for _, row := range rows.Rows {
			if row.Time != int64(next) || rows.Bits[row.First] != uint64(next) {
				t.Fatalf("row %d is %d at %d", next, rows.Bits[row.First], row.Time)
			}
			if next++; row.Arrival {
				timeless++
			}
		}
		if h.Totals.Timeless != timeless {
			t.Errorf("message %d carries %d readings without a time, which are %d", i+1, h.Totals.Timeless, timeless)
		}
	}
	if totals, _ := c.Totals(); totals.Timeless != gateways/3 || timeless != gateways/3 {
		t.Errorf("%d readings without a time are counted, and %d in the log", totals.Timeless, timeless)
	}
	if tokens, failed := w.answered(); next != gateways || len(log.Messages()) < 2 || len(tokens) != 1 || failed != 0 {
		t.Errorf("%d rows in %d messages, %d answers", next, len(log.Messages()), len(tokens))
	}
}

func TestAFullQueueHoldsSubmittersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, w := committest.New(), &sender{}
		log.Room(0)
		c := commit.New(commit.Options{Writer: log, Logger: quiet, Queue: 10_000})
		sent, sending := 0, true
		go func() {
			for ; sent < 1000 && sending; sent++ {
				if err := c.Submit(t.Context(), submission("g", sent, 1, w, uint64(sent+1))); err != nil {
					t.Error(err)
				}
			}
		}()
		synctest.Wait()
		if sent > 100 || sent < 10 || !c.Slow() {
			t.Errorf("%d submissions went into a queue of 10 kB, slow %v", sent, c.Slow())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := c.Submit(ctx, submission("other", 1, 1, w, 1))
		if !schema.Is(err, schema.Unavailable) {
			t.Errorf("a submission that could not wait: %v, want Unavailable", err)
		}
		log.Room(-1)
		pass(2 * time.Second) // the retry comes
		synctest.Wait()
		if tokens, failed := w.answered(); sent != 1000 || len(tokens) != 1000 || failed != 0 || c.Slow() {
			t.Errorf("%d sent, %d answered, %d failed, slow %v", sent, len(tokens), failed, c.Slow())
		}
		totals, inHand := c.Totals()
		if totals.FramesReceived != 1001 || totals.FramesCommitted != 1000 || totals.FramesGivenUp != 1 || inHand != 0 {
			t.Errorf("totals %+v, %d in hand", totals, inHand)
		}
		closeIt(t, c)
		if last := lastTotals(t, log.Messages()); last.FramesReceived != 1001 || last.FramesCommitted != 1000 || last.FramesGivenUp != 1 {
			t.Errorf("the log ends with totals %+v, want %+v", last, totals)
		}
	})
}

// TestWhileItIsHeldNothingIsCut: frames wait, and so do totals; a stop writes them all the same.
func TestWhileItIsHeldNothingIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, w := committest.New(), &sender{}
		c := commit.New(commit.Options{Writer: log, Logger: quiet})
		c.Hold(true) // the log is nearly full
		if err := c.Submit(t.Context(), submission("g", 0, 1, w, 1)); err != nil {
			t.Fatal(err)
		}
		c.Count(commit.Counts{FramesRejected: 1})
		pass(time.Minute)
		if n := len(log.Messages()); n != 0 || !c.Slow() || c.Full() {
			t.Errorf("%d messages were written, slow %v, full %v", n, c.Slow(), c.Full())
		}
		c.Hold(false)
		synctest.Wait()
		if tokens, failed := w.answered(); !cmp.Equal(tokens, []uint64{1}) || failed != 0 || c.Slow() {
			t.Errorf("answered %v, %d failed, slow %v", tokens, failed, c.Slow())
		}
		c.Hold(true)
		if err := c.Submit(t.Context(), submission("g", 1, 1, w, 2)); err != nil {
			t.Fatal(err)
		}
		closeIt(t, c)
		if tokens, failed := w.answered(); !cmp.Equal(tokens, []uint64{1, 2}) || failed != 0 {
			t.Errorf("after the stop answered %v, %d failed", tokens, failed)
		}
	})
}

func TestATakeOverEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, w := committest.New(), &sender{}
		log.Hold(true)
		c := commit.New(commit.Options{Writer: log, Logger: quiet})
		for i := range 5 {
			if err := c.Submit(t.Context(), submission("g", i, 1, w, uint64(i+1))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		log.TakeOver()
		<-c.Done()
		synctest.Wait()
		if tokens, failed := w.answered(); !cmp.Equal(tokens, []uint64{1, 2, 3, 4, 5}) || failed != 5 {
			t.Errorf("answered %v, %d failed, want all", tokens, failed)
		}
		if !errors.Is(c.Err(), bus.ErrTakenOver) {
			t.Errorf("err %v, want %v", c.Err(), bus.ErrTakenOver)
		}
		if err := c.Submit(t.Context(), submission("g", 5, 1, w, 6)); !schema.Is(err, schema.Unavailable) {
			t.Errorf("a later submission: %v, want Unavailable", err)
		}
		if err := c.Close(t.Context()); !errors.Is(err, bus.ErrTakenOver) {
			t.Errorf("close: %v", err)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, w := committest.New(), &sender{}
		log.Room(0)
		c := commit.New(commit.Options{Writer: log, Logger: quiet})
		if err := c.Submit(t.Context(), submission("g", 0, 1, w, 1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := c.Close(ctx); !schema.Is(err, schema.Unavailable) {
			t.Errorf("close: %v, want Unavailable", err)
		}
		if _, failed := w.answered(); failed != 1 {
			t.Errorf("%d failed, want 1", failed)
		}
		select {
		case <-c.Done():
			t.Error("done, though it was closed")
		default:
		}
	})
}

func TestTotalsAreWrittenWithoutABatchToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := committest.New()
		begin := batch.Totals{FramesReceived: 9, FramesCommitted: 9, Accepted: 90, Reasons: map[string]uint64{"syntax": 3}}
		c := commit.New(commit.Options{Writer: log, Logger: quiet, Totals: begin, Claim: "c1"})
		c.Count(commit.Counts{Strangers: 1})
		pass(time.Minute)
		if n := len(log.Messages()); n != 0 {
			t.Errorf("strangers alone caused %d writes", n)
		}
		c.Count(commit.Counts{FramesRejected: 1, Reasons: map[string]int{"syntax": 1}})
		c.Count(commit.Counts{FramesGivenUp: 1})
		pass(time.Minute)
		if n := len(log.Messages()); n != 1 {
			t.Fatalf("%d writes, want 1", n)
		}
		want := batch.Totals{
			FramesReceived: 11, FramesCommitted: 9, FramesRejected: 1, FramesGivenUp: 1, Accepted: 90,
			Strangers: 1, Reasons: map[string]uint64{"syntax": 4},
		}
		if diff := cmp.Diff(want, lastTotals(t, log.Messages())); diff != "" {
			t.Error(diff)
		}
		c.Count(commit.Counts{Strangers: 2})
		closeIt(t, c)
		if got := lastTotals(t, log.Messages()); len(log.Messages()) != 2 || got.Strangers != 3 {
			t.Errorf("after close %d messages, totals %+v", len(log.Messages()), got)
		}
	})
}

// pass lets the bubble's clock advance.
func pass(d time.Duration) { <-time.After(d) }
