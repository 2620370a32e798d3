package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"berth/ingest"
	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/batch"
)

// takeAway makes the keyspaces' folder one that cannot be opened, until the returned function.
func (h *house) takeAway() (bringBack func()) {
	h.t.Helper()
	dir := strings.TrimPrefix(h.options.Keyspaces, "sqlite:")
	h.check(os.Rename(dir, dir+".away"))
	h.check(os.WriteFile(dir, nil, 0o600))
	return func() {
		h.t.Helper()
		h.check(errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)))
	}
}

// send sends so many frames of a reading each, numbered from first.
func (h *house) send(i *ingest.Ingest, first, count int) {
	h.t.Helper()
	g := h.dial(i)
	for n := range count {
		if got := g.put(fmt.Sprintf("hoist load=%d %d\n", n, time.Now().Truncate(24*time.Hour).Add(time.Duration(first+n)).UnixNano())); !strings.HasPrefix(got, "ACK") {
			h.t.Fatalf("frame %d is answered by %q", n, got)
		}
	}
}

// stopAway stops an instance whose keyspace is away, and which says so.
func stopAway(t *testing.T, i *ingest.Ingest) {
	t.Helper()
	if err := i.Stop(context.Background()); err != nil && !schema.Is(err, schema.Unavailable) {
		t.Fatal(err)
	}
}

// startFails starts an instance that cannot start, and returns why.
func (h *house) startFails() error {
	h.t.Helper()
	i, err := ingest.New(h.options)
	h.check(err)
	if err = i.Start(h.t.Context()); err == nil {
		h.stop(i)
		h.t.Fatal("it starts")
	}
	return err
}

// An instance that starts while its keyspace is away accepts, acknowledges and says since when it is away; what it took is
// stored when it is back, and so is what was in the log before.
func TestIngestStartsWhileItsKeyspaceIsAway(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	i := h.start()
	h.send(i, 0, 5)
	h.stop(i)
	bringBack := h.takeAway()
	began := time.Now()
	i = h.start()
	h.send(i, 5, 5)
	h.until("it says that the keyspace is away, and since when", func() bool {
		b := h.books()
		return len(b.Episodes) > 0 && b.Episodes[0].State == headapi.StateSlow && b.Episodes[0].To == nil &&
			strings.Contains(b.Episodes[0].Detail, "cannot be opened yet") && !b.Episodes[0].From.Before(began)
	})
	stopAway(t, i) // once more: what it took is in the log alone
	i = h.start()
	h.send(i, 10, 5)
	bringBack()
	h.until("the keyspace is open", func() bool {
		b := h.books()
		return len(b.Episodes) > 0 && b.Episodes[0].To != nil
	})
	if got := h.readings(true); got != 15 {
		t.Errorf("%d readings are found, want 15", got)
	}
	h.stop(i)
	if got := h.readings(false); got != 15 {
		t.Errorf("%d readings are in the keyspace after the stop, want 15", got)
	}
}

// A log that holds nothing begins above what the keyspace knows, so it waits for the keyspace.
func TestANewLogWaitsForItsKeyspace(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	bringBack := h.takeAway()
	if err := h.startFails(); !schema.Is(err, schema.Unavailable) || !strings.Contains(err.Error(), "the log holds nothing") {
		t.Errorf("the start ends by %v", err)
	}
	bringBack()
	i := h.start()
	h.send(i, 0, 5)
	h.stop(i)
	bringBack = h.takeAway()
	h.check(h.provisioner.Remove(t.Context())) // made anew behind the keyspace's back
	h.check(h.provisioner.Prepare(t.Context(), bus.LogOptions{}))
	h.put()
	if err := h.startFails(); !schema.Is(err, schema.Unavailable) || !strings.Contains(err.Error(), "the log holds nothing") {
		t.Errorf("with a log made anew the start ends by %v", err)
	}
	bringBack()
	i = h.start()
	h.send(i, 5, 5)
	h.stop(i)
	if got := h.readings(false); got != 10 {
		t.Errorf("%d readings are in the keyspace, want 10", got)
	}
}

// A log that was restored from an older copy while the keyspace is away is found out when that is back, also when it has
// grown beyond what the keyspace knows by then: it is refused, and what it took is set aside when it is dropped.
func TestAnOlderLogIsFoundOutWhenTheKeyspaceIsBack(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	i := h.start()
	h.send(i, 0, 5)
	h.stop(i)
	bringBack := h.takeAway()
	h.check(h.provisioner.Remove(t.Context()))
	h.check(h.provisioner.Prepare(t.Context(), bus.LogOptions{}))
	h.put()
	log, err := h.pipeline.OpenLog(t.Context())
	h.check(err)
	writer, last, err := log.Claim(t.Context(), "a year ago", 0, func([]byte) ([]byte, error) {
		var e batch.Encoder
		return e.Encode(nil, &batch.Header{Kind: batch.Claim, Claim: "a year ago"}), nil
	})
	h.check(err)
	writer.Close()
	for n := range 2 {
		i = h.start()
		h.send(i, 100+10*n, 10)
		if n == 0 {
			stopAway(t, i)
		}
	}
	bringBack()
	select {
	case <-i.Done():
	case <-time.After(time.Minute):
		t.Fatal("the instance goes on with an older log")
	}
	hint := "provisioner set harbor --drop-log"
	if err := i.Err(); !schema.Is(err, schema.Conflict) || !strings.Contains(err.Error(), hint) {
		t.Errorf("it ends by %v", err)
	}
	h.stop(i)
	if got := h.readings(false); got != 5 {
		t.Errorf("%d readings are in the keyspace, want the 5 from before", got)
	}
	if err := h.startFails(); !schema.Is(err, schema.Conflict) || !strings.Contains(err.Error(), hint) {
		t.Errorf("the next start ends by %v", err)
	}
	state, err := log.State(t.Context())
	h.check(err)
	if state.Last <= last+20 {
		t.Fatalf("the log ends at %d: the test shows nothing", state.Last)
	}
	h.record.Settings.DropLog = state.Last
	h.put()
	i = h.start()
	defer h.stop(i)
	h.send(i, 200, 5)
	if got := h.readings(true); got != 10 {
		t.Errorf("%d readings are found, want 10", got)
	}
	for _, kept := range h.aside() {
		if fed, err := h.feed(headapi.FeedRequest{Aside: true, ID: kept.ID}); err != nil || !fed.Removed {
			t.Fatalf("fed: %+v, %v", fed, err)
		}
	}
	if got := h.readings(true); got != 30 {
		t.Errorf("%d readings are found after the feeding, want 30", got)
	}
}
