package mqtt

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/ingest/commit"
	"berth/ingest/commit/committest"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/internal/figures"
	"berth/schema/batch"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEndsAreBounded: what 5,000 connections leave while the log takes nothing takes no more memory than may be. What is
// beyond that is counted under its reason, and the rest is stored when there is room.
func TestEndsAreBounded(t *testing.T) {
	const clients, most = 5000, maxEnds / 8
	quiet := slog.New(slog.DiscardHandler)
	committer := commit.New(commit.Options{Writer: committest.NewDiscard(), Logger: quiet, Queue: 64 << 10, Follow: func(_ uint64, _ *batch.Header, rows *batch.Rows) {
		commit.GiveRows(rows)
	}})
	in := intake.New(intake.Options{
		Committer: committer, Logger: quiet, Decoders: format.New(format.NewTable(format.TableOptions{Interner: batch.NewInterner(1000)})),
		Keys: intake.NewKeys(&record.Pipeline{Settings: record.DefaultSettings()}, nil, intake.Around{Now: time.Now}, nil),
	})
	e := ends{in: in, most: most}
	leaves := func(gateway string) farewell {
		f := farewell{rows: commit.TakeRows()}
		for _, p := range []intake.Payload{{Format: "json", Data: []byte(away)}, {Format: "json", Data: []byte(`{"status":"offline"}`)}} {
			if _, err := in.Decode(in.Keys(), intake.Identity{Gateway: gateway}, &p, f.rows); err != nil {
				t.Error(err)
			}
			f.counts.Frames++
		}
		return f
	}
	put := func(gateway string) {
		f := leaves(gateway)
		e.put(&f)
	}
	for i := range clients { // the decoders know them
		f := leaves(fmt.Sprint("gateway-", i))
		commit.GiveRows(f.rows)
	}
	committer.Hold(true)
	for full := false; !full; { // the committer's queue
		sub := commit.Submission{Rows: commit.TakeRows(), Session: &batch.Session{Key: "k", Expiry: 1}, Waiter: commit.Nobody{}}
		done, err := committer.TrySubmit(&sub)
		if full = !done; err != nil {
			t.Fatal(err)
		}
	}
	handing := make(chan struct{})
	go func() {
		defer close(handing)
		put("first") // it hands over for all
	}()
	for !e.busy() {
		runtime.Gosched()
	}
	before := figures.Heap()
	for i := range clients {
		put(fmt.Sprint("gateway-", i))
	}
	took := figures.Heap() - before
	totals, inHand := committer.Totals()
	given := totals.Reasons[intake.ReasonEnds]
	t.Logf("of %d frames %d wait or are in hand, in %d KB; %d were given up", 2*clients, 2*clients-given, took>>10, given)
	if took > 2*most {
		t.Errorf("they take %d bytes, the bound is %d", took, most)
	}
	if given == 0 || given != totals.FramesGivenUp || inHand == 0 {
		t.Errorf("%d given up, %d of them as ends; %d in hand", totals.FramesGivenUp, given, inHand)
	}
	committer.Hold(false)
	<-handing
	if err := committer.Close(t.Context()); err != nil {
		t.Error(err)
	}
	in.Stop()
	if totals, inHand = committer.Totals(); inHand != 0 || totals.FramesGivenUp != given || totals.FramesCommitted < 2*clients-given {
		t.Errorf("%d given up, %d committed, %d in hand", totals.FramesGivenUp, totals.FramesCommitted, inHand)
	}
}

// busy reports whether somebody hands over.
func (e *ends) busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.handing
}
