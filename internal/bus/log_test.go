package bus

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"berth/schema"
)

// openLog opens the log of a new provider as its pipeline.
func openLog(h *house, o LogOptions) *Log {
	h.t.Helper()
	_, pipeline := h.provider("acme", o)
	return must(pipeline.OpenLog(h.t.Context()))(h.t)
}

// claim claims a log until the test ends.
func claim(t testing.TB, l *Log, id string, above uint64) (*Writer, uint64) {
	t.Helper()
	w, seq, err := l.Claim(t.Context(), id, above, func([]byte) ([]byte, error) { return []byte("claim " + id), nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w, seq
}

// contents reads a whole log.
func contents(t testing.TB, l *Log) (first uint64, data []string) {
	t.Helper()
	s := must(l.State(t.Context()))(t)
	if err := l.Read(t.Context(), 0, s.Last, func(seq uint64, d []byte) error {
		if first == 0 {
			first = seq
		}
		data = append(data, string(d))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return first, data
}

func TestAppendAndRead(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	w, end := claim(t, l, "one", 0)
	if end != 1 {
		t.Errorf("the claim is message %d", end)
	}
	const n = 300
	go func() {
		for i := range n {
			if err := w.Append(fmt.Appendf(nil, "batch %d %s", i, strings.Repeat("x", 20_000))); err != nil {
				t.Errorf("append %d: %v", i, err)
			}
		}
	}()
	for i := range n {
		if c, err := w.Next(t.Context()); err != nil || c.Sequence != uint64(i)+2 {
			t.Fatalf("batch %d: %+v, %v", i, c, err)
		}
	}
	var got int
	if err := l.Read(t.Context(), 2, n+1, func(seq uint64, data []byte) error {
		if want := fmt.Sprintf("batch %d ", got); !strings.HasPrefix(string(data), want) || seq != uint64(got)+2 {
			return fmt.Errorf("message %d is %.20q, want %q", seq, data, want)
		}
		got++
		return nil
	}); err != nil || got != n {
		t.Errorf("read %d, %v", got, err)
	}
	broken := errors.New("broken")
	if err := l.Read(t.Context(), 0, n+1, func(seq uint64, _ []byte) error {
		if seq == 5 {
			return broken
		}
		return nil
	}); !errors.Is(err, broken) {
		t.Errorf("the function's error came back as %v", err)
	}
	if err := l.Read(t.Context(), 1, n+2, func(uint64, []byte) error { return nil }); !schema.Is(err, schema.Conflict) {
		t.Errorf("read beyond the end: %v", err)
	}
	if err := w.Append(make([]byte, MaxBatch+1)); !schema.Is(err, schema.TooLarge) {
		t.Errorf("an overlong batch: %v", err)
	}
	if err := w.Append(make([]byte, MaxBatch)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(t.Context()); err != nil {
		t.Errorf("the longest batch: %v", err)
	}
	w.Close()
	if err := w.Append(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

// put appends a batch, waits until it is confirmed, and returns its sequence.
func put(t *testing.T, w *Writer, text string) uint64 {
	t.Helper()
	if err := w.Append([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return must(w.Next(t.Context()))(t).Sequence
}

// TestOldestKnowsWhatWasTrimmed looks at the age of what is not stored: the last message stays in the log, and is not
// mistaken for work that is left.
func TestOldestKnowsWhatWasTrimmed(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	w, _ := claim(t, l, "one", 0)
	put := func(text string) uint64 { t.Helper(); return put(t, w, text) }
	oldest := func() time.Time { return must(l.Oldest(t.Context()))(t) }
	begun := oldest()
	if begun.IsZero() {
		t.Error("the claim has no age")
	}
	last := put("a")
	if !oldest().Equal(begun) {
		t.Error("the oldest message is no longer the claim")
	}
	if err := l.Trim(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if at := oldest(); !at.IsZero() {
		t.Errorf("everything is stored, and the oldest that is not came at %v", at)
	}
	put("b")
	if at := oldest(); !at.After(begun) {
		t.Errorf("the oldest that is not stored came at %v, before what is stored", at)
	}
	put("c")
	if err := l.Trim(t.Context(), last+1); err != nil {
		t.Fatal(err)
	}
	if at := oldest(); at.IsZero() || !at.After(begun) {
		t.Errorf("one message is left, and the oldest came at %v", at)
	}
}

// TestReadBeginsBehindATrimThatWasCutShort puts the mark of a trim that leaves everything, as a power cut may: what was to be
// trimmed is not read, and the next trim removes it.
func TestReadBeginsBehindATrimThatWasCutShort(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	w, _ := claim(t, l, "one", 0)
	var last uint64
	for i := range 9 {
		if err := w.Append([]byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		last = must(w.Next(t.Context()))(t).Sequence
	}
	l.setMark(t.Context(), last-4)
	l = must(l.conn.OpenLog(t.Context()))(t)
	if first, data := contents(t, l); first != last-3 || len(data) != 4 {
		t.Errorf("the log is read from %d on, %d messages; want from %d on, 4", first, len(data), last-3)
	}
	if err := l.Trim(t.Context(), last-4); err != nil {
		t.Fatal(err)
	}
	if s := must(l.State(t.Context()))(t); s.First != last-3 {
		t.Errorf("the next trim leaves the log beginning at %d, want %d", s.First, last-3)
	}
}

func TestTrimKeepsTheLast(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	w, _ := claim(t, l, "one", 0)
	put := func(text string) uint64 { t.Helper(); return put(t, w, text) }
	put("a")
	put("b")
	last := put("c")
	for _, upTo := range []uint64{0, 1, 2, last, last + 100} {
		if err := l.Trim(t.Context(), upTo); err != nil {
			t.Fatal(err)
		}
		want := min(upTo+1, last)
		if s := must(l.State(t.Context()))(t); s.First != max(want, 1) || s.Last != last {
			t.Errorf("trimmed up to %d: %+v", upTo, s)
		}
	}
	h.restart()
	soon(t, "the log is there", func() bool { _, err := l.State(t.Context()); return err == nil })
	if seq := put("d"); seq != last+1 {
		t.Errorf("after a trim and a restart the next message is %d", seq)
	}
	if first, data := contents(t, l); first != last || len(data) != 2 {
		t.Errorf("the log begins at %d with %q", first, data)
	}
}

func TestLogBeginsAboveTheKeyspace(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	w, seq := claim(t, l, "one", 500)
	if seq != 501 {
		t.Errorf("an empty log's claim is %d, want 501", seq)
	}
	if err := w.Append([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if c := must(w.Next(t.Context()))(t); c.Sequence != 502 {
		t.Errorf("the first batch is %d", c.Sequence)
	}
	h.restart()
	w, seq = claim(t, l, "two", 502)
	if seq != 503 {
		t.Errorf("a log as far as the keyspace: the claim is %d", seq)
	}
	w.Close()
}

// TestALogBeginsAnewAboveFewMessages has a keyspace that knows so little that looking back for totals comes to the
// beginning of time.
func TestALogBeginsAnewAboveFewMessages(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, seq, err := l.Claim(ctx, "one", 9, func(prev []byte) ([]byte, error) {
		if prev != nil {
			t.Errorf("there is a message before: %q", prev)
		}
		return []byte("one"), nil
	})
	if err != nil || seq != 10 {
		t.Fatalf("the claim is %d, %v", seq, err)
	}
	w.Close()
}

// TestOlderLogIsRefusedUntilItIsAbandoned has a log hold messages and yet end before what the keyspace knows.
func TestOlderLogIsRefusedUntilItIsAbandoned(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	w, _ := claim(t, l, "one", 500)
	w.Close()
	older := func() *OlderLogError {
		t.Helper()
		_, _, err := l.Claim(t.Context(), "two", 10_000, func([]byte) ([]byte, error) { return []byte("two"), nil })
		e, ok := errors.AsType[*OlderLogError](err)
		if !ok {
			t.Fatalf("a log behind the keyspace: %v", err)
		}
		return e
	}
	if e := older(); e.Messages != 1 || e.Last != 501 || e.Above != 10_000 {
		t.Errorf("the refusal says %+v", e)
	}
	if err := l.Abandon(t.Context(), 500); err != nil {
		t.Fatal(err)
	}
	older() // another log was meant
	if first, data := contents(t, l); first != 501 || len(data) != 1 {
		t.Errorf("the refused log begins at %d with %q", first, data)
	}
	if err := l.Abandon(t.Context(), 501); err != nil {
		t.Fatal(err)
	}
	if _, seq := claim(t, l, "three", 10_000); seq != 10_001 {
		t.Errorf("after it was abandoned the log begins at %d", seq)
	}
	if err := l.Abandon(t.Context(), 501); err != nil { // the order stands, the log is another
		t.Fatal(err)
	}
	if first, data := contents(t, l); first != 10_001 || len(data) != 1 {
		t.Errorf("the log begins at %d with %q", first, data)
	}
}

func TestClaimGetsTheLastMessage(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	var prev []string
	for i := range 3 {
		w, _, err := l.Claim(t.Context(), fmt.Sprint("c", i), 0, func(p []byte) ([]byte, error) {
			prev = append(prev, string(p))
			return fmt.Appendf(nil, "totals %d", i), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if err := w.Append([]byte("a batch")); err != nil {
				t.Fatal(err)
			}
			must(w.Next(t.Context()))(t)
		}
		w.Close()
	}
	if got := strings.Join(prev, ","); got != ",totals 0,a batch" {
		t.Errorf("claims were given %q", got)
	}
	broken := errors.New("broken")
	if _, _, err := l.Claim(t.Context(), "x", 0, func([]byte) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("the payload's error came back as %v", err)
	}
}

// TestTakeOver claims a log many times while its writer has batches in flight: what was confirmed stands before the
// claim, nothing of the old writer behind it, and the old writer learns of it.
func TestTakeOver(t *testing.T) {
	h := newHouse(t)
	takeOvers(t, openLog(h, LogOptions{}), 40, func(int) {})
}

// takeOvers has a log taken over again and again; disturb is called while the old writer writes, before each claim.
func takeOvers(t *testing.T, l *Log, rounds int, disturb func(round int)) {
	t.Helper()
	w, _ := claim(t, l, "c0", 0)
	for round := 1; round <= rounds; round++ {
		old, confirmed := w, make(chan uint64, 1)
		started := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				if err := old.Append(fmt.Appendf(nil, "%d/%d", round, i)); err != nil {
					if !errors.Is(err, ErrTakenOver) {
						t.Errorf("round %d: append: %v", round, err)
					}
					return
				}
			}
		}()
		go func() {
			var last uint64
			for n := 0; ; n++ {
				c, err := old.Next(t.Context())
				if err != nil {
					if !errors.Is(err, ErrTakenOver) {
						t.Errorf("round %d: next: %v", round, err)
					}
					confirmed <- last
					return
				}
				if last = c.Sequence; n == round%7 {
					close(started)
				}
			}
		}()
		<-started
		disturb(round)
		var end uint64
		w, end = claim(t, l, fmt.Sprint("c", round), 0)
		if last := <-confirmed; last >= end {
			t.Fatalf("round %d: batch %d was confirmed behind the claim %d", round, last, end)
		}
		old.Close()
		s, _, err := l.extent(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Last != end {
			t.Fatalf("round %d: the log ends at %d, behind the claim %d", round, s.Last, end)
		}
	}
}

// TestABatchThatIsLateIsRefused sends what an old writer had under way, after another has claimed the log.
func TestABatchThatIsLateIsRefused(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	old, _ := claim(t, l, "old", 0)
	if old.chain.serial {
		t.Error("a single server is taken for a cluster: batches go one at a time")
	}
	_, end := claim(t, l, "new", 0)
	late := &nats.Msg{Subject: logSubject, Header: old.expecting(old.chain.id(1), old.chain.id(0)), Data: []byte("late")}
	answer, err := l.conn.nc.RequestMsgWithContext(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil || ack.Error == nil || verdictOf(ack.Error.ErrorCode) != refused {
		t.Errorf("it is answered %s, %v", answer.Data, err)
	}
	if s := must(l.State(t.Context()))(t); s.Last != end {
		t.Errorf("the log ends at %d, behind the claim %d", s.Last, end)
	}
}

// TestIdleWriterLearnsOfTakeOver has an old writer that sends nothing.
func TestIdleWriterLearnsOfTakeOver(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	old, _ := claim(t, l, "old", 0)
	claim(t, l, "new", 0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := old.Next(ctx); !errors.Is(err, ErrTakenOver) {
		t.Errorf("the idle writer says %v", err)
	}
}

func TestQuota(t *testing.T) {
	h := newHouse(t)
	const quota, size = 1 << 20, 50_000
	l := openLog(h, LogOptions{Quota: quota})
	first, _ := claim(t, l, "one", 0)
	w := first
	const n = 100
	go func() {
		for i := range n {
			data := make([]byte, size)
			binary.BigEndian.PutUint64(data, uint64(i))
			if err := first.Append(data); err != nil {
				if !errors.Is(err, ErrTakenOver) {
					t.Errorf("append %d: %v", i, err)
				}
				return
			}
		}
	}()
	next, fulls := uint64(0), 0
	for next < n {
		c, err := w.Next(t.Context())
		switch {
		case errors.Is(err, ErrLogFull):
			if fulls++; fulls%2 == 0 { // else: try again without room
				s := must(l.State(t.Context()))(t)
				if s.Bytes > quota || s.Bytes < quota-3*size {
					t.Errorf("the log was full with %d of %d bytes", s.Bytes, quota)
				}
				if fulls == 2 { // a start must be possible although the log is full
					second, _ := claim(t, l, "two", 0)
					w.Retry()
					if _, err := w.Next(t.Context()); !errors.Is(err, ErrTakenOver) {
						t.Errorf("the old writer says %v", err)
					}
					w = second
					go func(from uint64) {
						for i := from; i < n; i++ {
							data := make([]byte, size)
							binary.BigEndian.PutUint64(data, i)
							if err := second.Append(data); err != nil {
								t.Errorf("append %d: %v", i, err)
								return
							}
						}
					}(next)
				}
				last := s.Last
				if err := l.Trim(t.Context(), last-3); err != nil {
					t.Fatal(err)
				}
			}
			w.Retry()
		case err != nil:
			t.Fatal(err)
		default:
			if err := l.Read(t.Context(), c.Sequence, c.Sequence, func(_ uint64, data []byte) error {
				if got := binary.BigEndian.Uint64(data); got != next {
					return fmt.Errorf("batch %d is stored as %d", next, got)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			next++
		}
	}
	if fulls < 4 {
		t.Errorf("the log was full %d times", fulls)
	}
}

// TestClaimWaitsForNATS claims while the server is away.
func TestClaimWaitsForNATS(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	h.server.Stop()
	type result struct {
		seq uint64
		err error
	}
	claimed := make(chan result, 1)
	go func() {
		w, seq, err := l.Claim(t.Context(), "one", 0, func([]byte) ([]byte, error) { return []byte("c"), nil })
		if err == nil {
			w.Close()
		}
		claimed <- result{seq, err}
	}()
	h.start()
	if r := <-claimed; r.err != nil || r.seq == 0 {
		t.Errorf("claim over a restart: %+v", r)
	}
	h.server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := l.Claim(ctx, "two", 0, nil); !schema.Is(err, schema.Unavailable) {
		t.Errorf("claim without a server: %v", err)
	}
	h.start()
}
