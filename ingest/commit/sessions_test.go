package commit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"berth/ingest/commit"
	"berth/ingest/commit/committest"
	"berth/internal/figures"
	"berth/schema"
	"berth/schema/batch"
)

// saying returns a submission of rows that says in its session how many rows the gateway has sent with it.
func saying(gateway string, first, rows int, w commit.Waiter) *commit.Submission {
	s := submission(gateway, first, rows, w, 0)
	n := first + rows
	s.Session = &batch.Session{Key: gateway, Expiry: 60, Received: []uint16{uint16(n)}}
	return s
}

// found returns the sessions that are found in the log's messages, read as a start reads them.
func found(t *testing.T, messages [][]byte) map[string]batch.Session {
	t.Helper()
	last, err := batch.DecodeHeader(messages[len(messages)-1])
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]batch.Session{}
	for i := last.SessionsFrom; i > 0 && i <= uint64(len(messages)); i++ {
		h, err := batch.DecodeHeader(messages[i-1])
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range h.Sessions {
			if delete(all, s.Key); s.Expiry > 0 {
				all[s.Key] = s
			}
		}
	}
	return all
}

// TestWhereverTheLogEndsItsSessionsAreThoseOfItsReadings: whatever was cut off, of each sender the log knows the session
// that came with the last readings that are whole, found in what no trim removes.
func TestWhereverTheLogEndsItsSessionsAreThoseOfItsReadings(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		senders, frames := rapid.IntRange(1, 5).Draw(rt, "senders"), rapid.IntRange(1, 40).Draw(rt, "frames")
		maxRows := rapid.SampledFrom([]int{1, 3, 300}).Draw(rt, "maxRows")
		behind := rapid.SampledFrom([]int64{1, 300, 5000, 1 << 20}).Draw(rt, "behind")
		synctest.Test(t, func(t *testing.T) {
			log := committest.New()
			delay := rand.New(rand.NewPCG(seed, 0))
			log.Delay = func() time.Duration { return time.Duration(delay.IntN(500)) * time.Microsecond }
			c := commit.New(commit.Options{
				Writer: log, Logger: quiet, MaxBatch: 2000, MinBatch: 500, Behind: behind,
				Follow: func(_ uint64, _ *batch.Header, rows *batch.Rows) { commit.GiveRows(rows) },
			})
			ends := make([][]int, senders) // how many rows each had sent after each of its submissions
			var wg sync.WaitGroup
			for i := range senders {
				random := rand.New(rand.NewPCG(seed, uint64(i+1)))
				wg.Go(func() {
					n := 0
					for j := range frames {
						rows := 1 + random.IntN(maxRows)
						if j%7 == 3 {
							rows = 0 // its session alone changes, to what it is
						}
						if err := c.Submit(t.Context(), saying(fmt.Sprintf("g%d", i), n, rows, &sender{})); err != nil {
							t.Error(err)
						}
						n += rows
						ends[i] = append(ends[i], n)
						if random.IntN(4) == 0 {
							pass(time.Duration(random.IntN(1000)) * time.Microsecond)
						}
					}
				})
			}
			wg.Wait()
			closeIt(t, c)
			messages := log.Messages()
			rows := map[string]int{}
			for end := 1; end <= len(messages); end++ {
				for gateway, v := range values(t, messages[end-1:end]) {
					rows[gateway] += len(v)
				}
				sessions := found(t, messages[:end])
				for i := range senders {
					gateway, want := fmt.Sprintf("g%d", i), 0
					for _, n := range ends[i] {
						if n <= rows[gateway] {
							want = n
						}
					}
					got := sessions[gateway]
					if want > 0 && (len(got.Received) != 1 || int(got.Received[0]) != want) {
						t.Errorf("after message %d of %d: %d rows of %s, and its session says %v, want %d", end, len(messages), rows[gateway], gateway, got.Received, want)
					}
				}
			}
			last, err := batch.DecodeHeader(messages[len(messages)-1])
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Trimmable(math.MaxUint64); got != last.SessionsFrom-1 {
				t.Errorf("the log may be trimmed up to %d, and needs its sessions from %d on", got, last.SessionsFrom)
			}
			if far := uint64(len(messages)) - last.SessionsFrom; behind == 1 && far > 12 {
				t.Errorf("sessions are %d messages behind, though each is written again at once", far)
			}
		})
	})
}

// TestSessionsEnd: what ended, or is out of time, needs nothing of the log any more; and sessions take no more than their
// share.
func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := committest.New()
		c := commit.New(commit.Options{Writer: log, Logger: quiet})
		put := func(s batch.Session) {
			t.Helper()
			if err := c.PutSession(t.Context(), &s); err != nil {
				t.Fatal(err)
			}
		}
		knows := func(key string, want bool) {
			t.Helper()
			if got := c.KnowsSession(key); got != want {
				t.Errorf("session %s is known: %v", key, got)
			}
		}
		put(batch.Session{Key: "a", Expiry: 60})
		put(batch.Session{Key: "b", Expiry: 60, Left: time.Now().UnixNano()})
		if got := c.Trimmable(9); got != 0 {
			t.Errorf("the log may be trimmed up to %d", got)
		}
		put(batch.Session{Key: "a"})
		knows("a", false)
		knows("b", true)
		pass(59 * time.Second)
		put(batch.Session{Key: "c"})
		knows("b", true)
		pass(2 * time.Second)
		put(batch.Session{Key: "c"})
		knows("b", false)
		if got := c.Trimmable(9); got != 9 {
			t.Errorf("without sessions the log may be trimmed up to %d of 9", got)
		}
		long := batch.Filter{Name: strings.Repeat("f", 1000)}
		for i := range 500 {
			put(batch.Session{Key: fmt.Sprint("s", i), Expiry: 60, Filters: []batch.Filter{long, long, long, long, long, long, long, long, long, long}})
		}
		put(batch.Session{Key: "last", Expiry: 60})
		knows("s0", false)
		knows("s499", true)
		closeIt(t, c)
		if got := found(t, log.Messages()); got["s0"].Key != "" || got["s499"].Key == "" || len(got) > 420 || len(got) < 400 {
			t.Errorf("%d sessions are found", len(got))
		}
	})
}

// TestASessionEndsThoughTheQueueIsFull: what is still in the queue of it comes before its end, and it is gone after a restart.
func TestASessionEndsThoughTheQueueIsFull(t *testing.T) {
	log := committest.New()
	c := commit.New(commit.Options{Writer: log, Logger: quiet, Queue: 1})
	if err := c.PutSession(t.Context(), &batch.Session{Key: "a", Expiry: 60}); err != nil {
		t.Fatal(err)
	}
	c.Hold(true) // the log is nearly full
	if err := c.Submit(t.Context(), saying("a", 0, 1, &sender{})); err != nil {
		t.Fatal(err)
	}
	c.TryPutSession(&batch.Session{Key: "b", Expiry: 60})
	c.TryPutSession(&batch.Session{Key: "a"})
	closeIt(t, c)
	if got := found(t, log.Messages()); len(got) > 0 {
		t.Errorf("the log knows %v", got)
	}
}

// TestSessionsThatEndWhileTheLogIsFullTakeNoMore: however many clients come and go while the log takes nothing, the queue has an
// end only of those sessions that are to be there after a restart without it, once.
func TestSessionsThatEndWhileTheLogIsFullTakeNoMore(t *testing.T) {
	log := committest.New()
	c := commit.New(commit.Options{Writer: log, Logger: quiet, Queue: 16 << 10})
	ended := func(from, to int) {
		for i := from; i < to; i++ {
			c.TryPutSession(&batch.Session{Key: fmt.Sprint("client-", i)})
		}
	}
	for i := range 10 {
		if err := c.PutSession(t.Context(), &batch.Session{Key: fmt.Sprint("client-", i), Expiry: 60}); err != nil {
			t.Fatal(err)
		}
	}
	c.Hold(true) // the log is nearly full
	if err := c.Submit(t.Context(), saying("client-5", 0, 1, &sender{})); err != nil {
		t.Fatal(err)
	}
	before := figures.Heap()
	ended(0, 50_000)
	for range 50_000 {
		ended(5, 6)
	}
	if more := figures.Heap() - before; more > 1<<20 {
		t.Errorf("the ends of 50,000 sessions that the log does not know take %d bytes", more)
	}
	again := saying("client-5", 1, 1, &sender{}) // it begins anew
	if done, err := c.TrySubmit(again); !done || err != nil {
		t.Fatalf("there is no room for a submission: %v", err)
	}
	c.TryPutSession(&batch.Session{Key: "client-5"}) // and ends again
	closeIt(t, c)
	if got := found(t, log.Messages()); len(got) > 0 {
		t.Errorf("the log knows %v", got)
	}
	ends := 0
	for _, m := range log.Messages() {
		h, err := batch.DecodeHeader(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range h.Sessions {
			if s.Expiry == 0 {
				ends++
			}
		}
	}
	if ends != 10 {
		t.Errorf("%d ends of 10 sessions are in the log", ends)
	}
}

// TestABatchInTwoHasItsSessionsInTheLast: names that are many make a batch too long for a message. Until its last piece is
// there, sessions are as before, and found where they were.
func TestABatchInTwoHasItsSessionsInTheLast(t *testing.T) {
	log := committest.New()
	c := commit.New(commit.Options{Writer: log, Logger: quiet, Behind: 1})
	if err := c.PutSession(t.Context(), &batch.Session{Key: "a", Expiry: 1}); err != nil {
		t.Fatal(err)
	}
	kinds, names := make([]schema.Kind, 10), make([]string, 10)
	sub := &commit.Submission{Rows: commit.TakeRows(), Session: &batch.Session{Key: "a", Expiry: 2}}
	for i := range 1200 {
		for j := range names {
			kinds[j], names[j] = schema.Float, strings.Repeat(fmt.Sprint(i, j), 25)
		}
		shape := interner.Shape(fmt.Sprint("g", i), names, kinds, nil)
		sub.Rows.Rows = append(sub.Rows.Rows, batch.Row{Shape: shape, First: uint32(len(sub.Rows.Bits))})
		sub.Rows.Bits = append(sub.Rows.Bits, make([]uint64, len(names))...)
	}
	sub.Waiter = &sender{}
	if err := c.Submit(t.Context(), sub); err != nil {
		t.Fatal(err)
	}
	closeIt(t, c)
	messages := log.Messages()
	if len(messages) < 3 {
		t.Fatalf("%d messages: nothing was cut in two", len(messages))
	}
	for end := 1; end <= len(messages); end++ {
		want := uint32(1)
		if end == len(messages) {
			want = 2
		}
		if got := found(t, messages[:end])["a"].Expiry; got != want {
			t.Errorf("after message %d of %d the session is the one of %d s, want %d", end, len(messages), got, want)
		}
	}
}
