package ingest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/schema/record"
)

func limitOf(b *api.Books, name string) (found api.Limit) {
	for _, l := range b.Limits {
		if l.Name == name {
			found = l
		}
	}
	return found
}

func TestBooksShowEveryLimit(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	i := h.start()
	defer h.stop(i)
	g := h.dial(i)
	if got := g.put("hoist load=1,height=2\n"); got != "ACK 1" {
		t.Fatal(got)
	}
	b := h.books()
	for _, each := range record.EachLimit() {
		if l := limitOf(&b, each.Name); l.Limit != each.Default {
			t.Errorf("%s is shown as %+v", each.Name, l)
		}
	}
	for name, least := range map[string]int64{
		"connections": 1, "connections_per_address": 1, "connections_per_gateway": 1, "gateways": 1, "sensors_per_gateway": 2,
		"log_bytes": 100, "keyspace_bytes": 4096,
	} {
		if l := limitOf(&b, name); l.Used < least {
			t.Errorf("of %s %d are used, at least %d are", name, l.Used, least)
		}
	}
}

func TestAFullKeyspaceRefusesAndSaysSo(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	i := h.start()
	defer h.stop(i)
	size := limitOf(new(h.books()), "keyspace_bytes").Used
	g := h.dial(i)
	answered := func(want string) func() bool {
		return func() bool { return strings.HasPrefix(g.put("hoist load=1\n"), want) }
	}
	h.record.Settings.Limits.KeyspaceBytes = max(size/2, 1<<20)
	if size < 1<<20 {
		t.Logf("the empty keyspace takes %d bytes", size)
		h.fill(g, 1<<20)
	}
	h.put()
	h.until("frames are refused", answered("NAK"))
	if got := g.put("hoist load=1\n"); !strings.Contains(got, "limited the provider's keyspace holds") {
		t.Errorf("answered by %q", got)
	}
	if b := h.books(); b.State != headapi.StateQuota || b.Reasons["keyspace_bytes"] == 0 {
		t.Errorf("the books say %s, %v", b.State, b.Reasons)
	}
	h.record.Settings.Limits.KeyspaceBytes = 1 << 30
	h.put()
	h.until("frames are taken again", answered("ACK"))
	if b := h.books(); b.State == headapi.StateQuota {
		t.Error("it is still full")
	}
}

// fill sends readings until the keyspace has so many bytes.
func (h *house) fill(g *gateway, bytes int64) {
	h.t.Helper()
	at := time.Now().Add(-20 * 24 * time.Hour).UnixNano()
	h.until("the keyspace is filled", func() bool {
		var lines strings.Builder
		for range 5000 {
			at += int64(time.Minute)
			fmt.Fprintf(&lines, "hoist load=%d.%d %d\n", at/7%1000, at/11%1_000_000, at)
			if at > time.Now().UnixNano() {
				at -= int64(20*24*time.Hour) - 12345
			}
		}
		if got := g.put(lines.String()); !strings.HasPrefix(got, "ACK") {
			h.t.Fatalf("answered by %q", got)
		}
		return limitOf(new(h.books()), "keyspace_bytes").Used > bytes
	})
}

// TestTheLogsQuotaIsLive: a lower limit holds at once, though the stream's own quota cannot be lowered below what it
// holds; a higher one as soon as the stream has it.
func TestTheLogsQuotaIsLive(t *testing.T) {
	h := newHouse(t, bus.LogOptions{Quota: 64 << 20})
	i := h.start()
	defer h.stop(i)
	quota := func(want uint64) func() bool { return func() bool { return h.books().Log.Quota == want } }
	h.until("the stream's quota holds", quota(64<<20))
	h.record.Settings.Limits.LogBytes = 16 << 20
	h.put()
	h.until("the lower limit holds", quota(16<<20))
	h.record.Settings.Limits.LogBytes = 128 << 20
	h.check(h.provisioner.Prepare(t.Context(), bus.LogOptions{Quota: 128 << 20}))
	h.put()
	h.until("the higher limit holds", quota(128<<20))
}
