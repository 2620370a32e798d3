package ingest_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/ingest"
	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/record"
)

// refusing is a keyspace that can never take anything of crane-1, as a fault of a release would have it.
type refusing struct{ keyspace.Writer }

func (r refusing) Write(ctx context.Context, c *keyspace.Changes) (keyspace.Receipt, error) {
	for i := range c.Gateways {
		if c.Gateways[i].Name == "crane-1" {
			return 0, schema.Errorf(schema.Invalid, "this row cannot be stored")
		}
	}
	for i := range c.Blocks {
		if c.Blocks[i].Gateway == "crane-1" {
			return 0, schema.Errorf(schema.Invalid, "this block cannot be stored")
		}
	}
	return r.Writer.Write(ctx, c)
}

func (h *house) startRefusing() *ingest.Ingest {
	h.t.Helper()
	i, err := ingest.New(h.options)
	h.check(err)
	i.Wrap(func(w keyspace.Writer) keyspace.Writer { return refusing{w} })
	h.check(i.Start(h.t.Context()))
	return i
}

func (h *house) aside() []bus.Kept {
	h.t.Helper()
	all, _, err := h.pipeline.List(h.t.Context(), bus.Aside, 0, 100, 64<<20)
	h.check(err)
	return all
}

func (h *house) feed(q headapi.FeedRequest) (fed api.Fed, err error) {
	h.t.Helper()
	request, err := json.Marshal(q)
	h.check(err)
	return fed, h.pipeline.Ask(h.t.Context(), headapi.Feed, request, func(data []byte) error { return json.Unmarshal(data, &fed) })
}

// What was acknowledged and can never be stored is set aside once, shown in the instance's state and its books, and
// stored when it is fed to a release that can.
func TestWhatCannotBeStoredIsSetAsideAndFedAgain(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	i := h.startRefusing()
	g := h.dial(i)
	for n := range 5 {
		g.put(fmt.Sprintf("hoist load=%d,state=\"up\"\n", n))
	}
	h.stop(i)
	if kept := h.aside(); len(kept) != 1 {
		t.Fatalf("%d are set aside", len(kept))
	}

	i = h.start()
	defer h.stop(i)
	h.soon("the state says so", func() bool {
		b := h.books()
		return len(b.Episodes) > 0 && b.Episodes[0].State == headapi.StateAside
	})
	if b := h.books(); b.Aside != 1 || h.readings(true) > 2 { // the log never gives up its last message
		t.Errorf("%d are set aside, %d readings are found", b.Aside, h.readings(true))
	}
	id := h.aside()[0].ID
	if fed, err := h.feed(headapi.FeedRequest{Aside: true, ID: id}); err != nil || !fed.Removed || fed.Accepted != 10 {
		t.Fatalf("fed: %+v, %v", fed, err)
	}
	if got := h.readings(true); got != 10 || len(h.aside()) != 0 {
		t.Errorf("%d readings are found, %d are set aside", got, len(h.aside()))
	}
	if _, err := h.feed(headapi.FeedRequest{Aside: true, ID: id}); !schema.Is(err, schema.NotFound) {
		t.Errorf("fed once more: %v", err)
	}
}

// When nothing more can be set aside, sealing waits and the log keeps what it has, until there is room.
func TestAFullShelfLosesNothing(t *testing.T) {
	h := newHouse(t, bus.LogOptions{AsideQuota: 64 << 10})
	about, err := json.Marshal(record.Aside{Version: record.Version, What: "log", Form: record.FormMessage})
	h.check(err)
	if _, err := h.provisioner.Keep(t.Context(), bus.Aside, "filler", about, make([]byte, 63<<10)); err != nil {
		t.Fatal(err)
	}
	i := h.startRefusing()
	g := h.dial(i)
	for n := range 5 {
		text := ""
		for len(text) < 10_000 { // nothing that a block makes shorter
			text += rand.Text()
		}
		if got := g.put(fmt.Sprintf("hoist note=%q\n", text)); !strings.HasPrefix(got, "ACK") {
			t.Fatalf("frame %d is answered by %q", n+1, got)
		}
	}
	if err := i.Stop(context.Background()); err == nil || !strings.Contains(err.Error(), "reached its quota") {
		t.Errorf("a stop that could not seal says %v", err)
	}
	i = h.startRefusing()
	if got := h.readings(true); got != 5 {
		t.Errorf("%d readings are found after a start", got)
	}
	filler := h.aside()[0].ID
	if fed, err := h.feed(headapi.FeedRequest{Aside: true, ID: filler}); !schema.Is(err, schema.Invalid) {
		t.Errorf("what cannot be read was fed: %+v, %v", fed, err)
	}
	if fed, err := h.feed(headapi.FeedRequest{Aside: true, ID: filler, Remove: true}); err != nil || !fed.Removed {
		t.Fatalf("removed: %+v, %v", fed, err)
	}
	h.stop(i)
	if kept := h.aside(); len(kept) != 1 || kept[0].ID == filler {
		t.Errorf("%d are set aside", len(kept))
	}
}

// soon waits until a condition holds.
func (h *house) soon(what string, condition func() bool) {
	h.t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-limit:
			h.t.Fatalf("in vain: %s", what)
		}
	}
}
