package seal_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"berth/ingest/head"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/schema"
)

// frame returns n rows of a gateway, one a second from a time on.
func frame(gateway string, from time.Time, n int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{gateway: gateway, time: from.Add(time.Duration(i) * time.Second).UnixNano()}
		for s := range 5 {
			rows[i].sensors = append(rows[i].sensors, fmt.Sprintf("axle%d.load", s))
			rows[i].values = append(rows[i].values, schema.FloatValue(float64(i*s)))
		}
	}
	return rows
}

var errAway = errors.New("the keyspace is away")

func (w *world) away() { w.store.fail = func(*keyspace.Changes) error { return errAway } }

func TestHeadStopsFollowingWithoutMemoryAndCatchesUp(t *testing.T) {
	w := newWorld(t)
	w.budget = 256 << 10
	w.begin()
	w.replay()
	w.away()
	batches := 0
	for ; w.head.Figures().State == headapi.StateReady; batches++ {
		w.send(frame(fmt.Sprintf("truck-%d", batches%7), w.clock.Add(time.Duration(batches)*time.Minute), 60)...)
		w.round()
		if batches > 1000 {
			t.Fatal("the head never stops following")
		}
	}
	held := w.head.Figures().Bytes
	for range 50 { // acceptance goes on
		w.send(frame("truck-1", w.clock.Add(time.Duration(batches)*time.Minute), 60)...)
		batches++
		w.round()
	}
	f := w.head.Figures()
	if f.Bytes != held || f.Bytes > uint64(w.budget)+64<<10 {
		t.Errorf("the head takes %d bytes of a budget of %d, %d when it stopped following", f.Bytes, w.budget, held)
	}
	if f.Committed-f.Followed < 50 {
		t.Errorf("the head followed up to %d of %d without memory", f.Followed, f.Committed)
	}
	header, _ := w.ask(headapi.Parts, headapi.PartsRequest{Gateway: "truck-1", From: 0, To: w.clock.Add(time.Hour).UnixNano()})
	if header.Complete || header.Reason == "" || header.Committed != f.Committed || header.UpTo == 0 {
		t.Errorf("a head that is behind answers with %+v", header)
	}
	w.store.fail = nil
	w.replay()
	if f := w.head.Figures(); f.State != headapi.StateReady || f.Followed != f.Committed || f.Bytes > uint64(w.budget)+64<<10 {
		t.Errorf("after catching up the head is %+v", f)
	}
	w.compare(true)
	w.settle()
	w.compare(false)
	if first, last := w.log.bounds(); first != last {
		t.Errorf("the log still holds %d to %d", first, last)
	}
}

// TestCatchUpJoinsLiveBatches has batches come in while the head reads the log and its keyspace comes and goes: nothing
// may be missed or taken twice where the two meet.
func TestCatchUpJoinsLiveBatches(t *testing.T) {
	w := newWorld(t)
	w.budget = 32 << 10
	w.begin()
	ctx, cancel := context.WithCancel(t.Context())
	caught := make(chan struct{})
	h := w.head
	go func() {
		defer close(caught)
		h.CatchUp(ctx, w.log.read, w.shapes, func(context.Context, uint64, []byte, error) error { return nil })
	}()
	joins, before := 0, false
	for i := range 400 {
		w.send(frame(fmt.Sprintf("truck-%d", i%3), w.clock.Add(time.Duration(i)*20*time.Second), 20)...)
		w.round()
		live := h.Figures().State == headapi.StateReady
		if live && !before {
			joins++
		}
		before = live
		switch i % 50 {
		case 10:
			w.away()
		case 30:
			w.store.fail = nil
		case 49:
			for h.Figures().State != headapi.StateReady {
				w.round()
			}
		}
	}
	w.store.fail = nil
	for h.Figures().State != headapi.StateReady {
		w.round()
	}
	cancel()
	<-caught
	if joins < 2 {
		t.Errorf("the head joined %d times: the test does not test", joins)
	}
	if f := h.Figures(); f.Followed != f.Committed {
		t.Errorf("followed %d of %d", f.Followed, f.Committed)
	}
	w.compare(true)
	w.settle()
	w.compare(false)
	w.compareLatest()
}

func TestPressedHeadKeepsWithinItsBudget(t *testing.T) {
	w := newWorld(t)
	w.budget = 512 << 10
	w.begin()
	w.replay()
	most := uint64(0)
	for minute := range 60 {
		for g := range 150 { // far more gateways than there is room for full parts
			w.send(row{
				gateway: fmt.Sprintf("buoy-%03d", g), time: w.clock.UnixNano(),
				sensors: []string{"wave.height", "wind.speed"}, values: []schema.Value{schema.FloatValue(float64(minute)), schema.IntValue(int64(g))},
			})
			w.round()
			most = max(most, w.head.Figures().Bytes)
		}
		w.pass(time.Minute)
	}
	if most > uint64(w.budget) {
		t.Errorf("the head took %d bytes of a budget of %d", most, w.budget)
	}
	if f := w.head.Figures(); f.State != headapi.StateReady {
		t.Errorf("the head is %s (%s), though the keyspace took everything", f.State, f.Detail)
	}
	if n := len(w.store.blocks); n > 150*4 {
		t.Errorf("%d blocks for 150 gateways of 60 readings: parts were closed where tails would have made room", n)
	}
	w.compare(true)
	w.compareLatest()
}

func TestSweepLetsIdleGatewaysGo(t *testing.T) {
	w := newWorld(t)
	for g := range 20 {
		w.send(frame(fmt.Sprintf("truck-%d", g), w.clock, 5)...)
	}
	w.pass(2 * time.Hour)
	if f := w.head.Figures(); f.Parts != 0 || f.Bytes != 0 || f.Readings != 0 {
		t.Errorf("after two hours of silence the head holds %+v", f)
	}
	w.compare(true)
	w.send(frame("truck-3", w.clock, 5)...)
	w.pass(2 * time.Minute)
	w.compare(true)
	w.compareLatest()
}

func TestLogWithoutReadingsIsTrimmed(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.send() // totals alone
	}
	w.pass(2 * time.Minute)
	if first, last := w.log.bounds(); first != last {
		t.Errorf("the log still holds %d to %d", first, last)
	}
}

func TestPartsOfEndedDaysBecomeBlocks(t *testing.T) {
	w := newWorld(t)
	w.clock = w.clock.Truncate(24 * time.Hour).Add(24*time.Hour - 10*time.Minute)
	for range 40 {
		w.send(frame("truck-1", w.clock, 1)...)
		w.pass(time.Minute)
	}
	if n := len(w.store.blocks); n != 1 {
		t.Errorf("half an hour after midnight there are %d blocks, want that of the day before", n)
	}
	w.compare(true)
	w.pass(2 * time.Minute)
	w.compareRollups(true)
}

func TestAnswersSinceAPosition(t *testing.T) {
	w := newWorld(t)
	begin, chunks := w.ask(headapi.Since, headapi.SinceRequest{Gateway: "truck-1"})
	if begin.Position == "" || len(chunks) != 0 {
		t.Fatalf("a question without a position is answered by %+v and %d blocks", begin, len(chunks))
	}
	w.send(frame("truck-1", w.clock, 3)...)
	first, chunks := w.ask(headapi.Since, headapi.SinceRequest{Gateway: "truck-1", After: begin.Position})
	if n := w.count(chunks); n != 15 || first.Missed {
		t.Errorf("the first 15 readings are answered by %d, missed %v", n, first.Missed)
	}
	w.send(frame("truck-1", w.clock.Add(time.Minute), 2)...)
	second, chunks := w.ask(headapi.Since, headapi.SinceRequest{Gateway: "truck-1", After: first.Position, Sensors: []string{"axle1.load", "none"}})
	if n := w.count(chunks); n != 2 || second.Missed {
		t.Errorf("2 readings of one sensor are answered by %d, missed %v", n, second.Missed)
	}
	if _, chunks := w.ask(headapi.Since, headapi.SinceRequest{Gateway: "truck-1", After: second.Position}); len(chunks) != 0 {
		t.Errorf("nothing new is answered by %d blocks", len(chunks))
	}
	w.send(frame("truck-1", w.clock.Add(time.Hour), 300)...)
	for range 5 {
		w.round()
	}
	if last, _ := w.ask(headapi.Since, headapi.SinceRequest{Gateway: "truck-1", After: second.Position}); !last.Missed {
		t.Errorf("readings that left the head are not said to be missed: %+v", last)
	}
}

// count returns how many readings encoded blocks hold.
func (w *world) count(chunks [][]byte) int {
	w.t.Helper()
	n := 0
	for _, data := range chunks {
		c, err := w.open(data).Content()
		w.check(err)
		n += c.Readings()
	}
	return n
}

func TestAnswersGatewaysInOrder(t *testing.T) {
	w := newWorld(t)
	for g := range 5 {
		w.send(frame(fmt.Sprintf("truck-%d", g), w.clock, 1)...)
	}
	if _, chunks := w.ask(headapi.Gateways, headapi.GatewaysRequest{After: "truck-1", Limit: 2}); len(chunks) != 2 {
		t.Errorf("2 gateways are answered by %d entries", len(chunks))
	}
	w.pass(2 * time.Minute)
	if _, chunks := w.ask(headapi.Gateways, headapi.GatewaysRequest{Limit: 10}); len(chunks) != 0 {
		t.Errorf("%d gateways are answered whose rows are up to date", len(chunks))
	}
}

func TestAnswerWaitsForWhatWasCommitted(t *testing.T) {
	w := newWorld(t)
	claim, _ := w.log.bounds()
	h := head.New(head.Options{Committed: func() uint64 { return claim + 1 }}, claim+1, claim)
	w.head = h
	answered := make(chan headapi.Header)
	go func() {
		header, _ := w.ask(headapi.Latest, headapi.LatestRequest{Gateway: "truck-1"})
		answered <- header
	}()
	w.send(frame("truck-1", w.clock, 1)...)
	if header := <-answered; !header.Complete || header.Followed != claim+1 {
		t.Errorf("the answer is %+v, want one with the batch that was committed", header)
	}
}

// TestTrimKeepsWhatCameDuringARoundOfTails has readings come after a round of tails began and before what it wrote is
// durable: they are in no row, so the log must keep them.
func TestTrimKeepsWhatCameDuringARoundOfTails(t *testing.T) {
	w := newWorld(t)
	w.store.lag = true
	w.send(frame("truck-1", w.clock, 5)...)
	w.pass(2 * time.Minute)
	next := w.send(frame("truck-2", w.clock, 5)...)
	w.send(frame("truck-3", w.clock, 5)...)
	w.store.sync(-1)
	w.round()
	if first, _ := w.log.bounds(); first != next {
		t.Errorf("the log begins at %d, and not at the first message that is not stored, %d", first, next)
	}
	w.crash(func() int { return 0 })
	w.replay()
	w.compare(true)
}

// TestAStopWaitsForNoSync stops while a node has not synced what it was given: that is no failure, and the log has all of it.
func TestAStopWaitsForNoSync(t *testing.T) {
	w := newWorld(t)
	w.store.lag = true
	sent := w.send(frame("truck-1", w.clock, 5)...)
	w.check(w.sealer.Finish(t.Context()))
	if first, _ := w.log.bounds(); first > sent {
		t.Errorf("the log begins at %d: %d, which may not be on the node's disk, is trimmed", first, sent)
	}
	w.crash(func() int { return 0 })
	w.replay()
	w.compare(true)
}

// TestCatchUpEndsWhileBatchesKeepComing commits a batch in the time of every reading of the log, as a provider at full
// speed does: the head must become live nevertheless.
func TestCatchUpEndsWhileBatchesKeepComing(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.send(frame("truck-1", w.clock.Add(time.Duration(i)*time.Minute), 5)...)
	}
	w.begin() // as after a kill: it has all of the log to read
	sent := 3
	read := func(ctx context.Context, from, upTo uint64, fn func(uint64, []byte) error) error {
		w.send(frame("truck-1", w.clock.Add(time.Duration(sent)*time.Minute), 5)...)
		sent++
		return w.log.read(ctx, from, upTo, fn)
	}
	for range 3 {
		if err := w.head.Replay(t.Context(), read, w.shapes, nil); err != nil {
			t.Fatal(err)
		}
	}
	if f := w.head.Figures(); f.State != headapi.StateReady || f.Followed != f.Committed {
		t.Errorf("after three readings the head has followed %d of %d and is %s", f.Followed, f.Committed, f.State)
	}
	w.compare(true)
}
