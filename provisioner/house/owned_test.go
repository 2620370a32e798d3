package house

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/bus"
	"berth/internal/bus/bustest"
	"berth/provisioner/plan"
	"berth/schema/record"
)

// Nothing that the house keeps of a provider is its next namesake's; one that comes back with its data finds all of it, and a
// neighbour loses nothing.
func TestANamesakeFindsNothing(t *testing.T) {
	b := bustest.New(t)
	conn := b.Connect(b.Authority.House())
	h, err := Open(t.Context(), conn, make([]byte, 32))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(err)
	slots := plan.Slots{PortBase: 6000, Holder: func(int) string { return "" }}
	add := func(name string, gone bool) record.Provider {
		t.Helper()
		added, err := h.Add(t.Context(), name, slots, gone)
		check(err)
		return added.Provider
	}
	names := []string{"acme", "acme2"}
	for _, name := range names {
		p := add(name, false)
		_, err := h.Book.NewToken(t.Context(), record.Token{Provider: name, Name: "one", Scope: record.ScopeRead})
		check(err)
		_, err = h.AdminLink(t.Context(), name)
		check(err)
		check(h.Book.Add(t.Context(), record.Person{Name: "of " + name, Provider: name, Of: p.Created, Role: record.Admin}))
		_, err = h.NewShare(t.Context(), &record.Share{Provider: name, Of: p.Created, Name: "one", From: time.Unix(0, 0), To: time.Unix(1, 0), Expires: time.Now().Add(time.Hour)})
		check(err)
		for bucket, key := range map[*bus.Bucket]string{h.reports[0]: ".a", h.reports[1]: ".a.1.0", h.reports[2]: ".a.1.0.0.0"} {
			value, err := json.Marshal(map[string]string{"provider": name})
			check(err)
			_, err = bucket.Put(t.Context(), name+key, value)
			check(err)
		}
	}
	buckets := []string{"links", "people", "runfiles", "runs", "schedules", "shares", "tokens"}
	of := func(name string) (found []string) {
		t.Helper()
		for _, bucket := range buckets {
			at, err := conn.Bucket(t.Context(), bus.BucketOptions{Name: bucket})
			check(err)
			all, err := at.List(t.Context())
			check(err)
			if slices.ContainsFunc(slices.Collect(maps.Values(all)), func(e bus.Entry) bool { return strings.Contains(string(e.Value), `"provider":"`+name+`"`) }) {
				found = append(found, bucket)
			}
		}
		return found
	}
	_, _, err = h.Remove(t.Context(), "acme", false)
	check(err)
	add("acme", false)
	for _, name := range names {
		if d := cmp.Diff(buckets, of(name)); d != "" {
			t.Errorf("what is kept of %s (-want +got):\n%s", name, d)
		}
	}
	_, _, err = h.Remove(t.Context(), "acme", true)
	check(err)
	add("acme", true)
	if found := of("acme"); len(found) > 0 {
		t.Errorf("the next provider of the name finds the %v of the one before", found)
	}
	if d := cmp.Diff(buckets, of("acme2")); d != "" {
		t.Errorf("what is kept of its neighbour (-want +got):\n%s", d)
	}
}
