package house

import (
	"strings"
	"testing"

	"berth/internal/bus/bustest"
	"berth/internal/keyspace"
	"berth/provisioner/plan"
	"berth/schema"
	"berth/schema/record"
)

// TestAPlacementIsChosenOnce adds a provider to the shared keyspace, and one with its own, and asks for the other placement
// of each; one whose data were purged is another in the shared keyspace.
func TestAPlacementIsChosenOnce(t *testing.T) {
	b := bustest.New(t)
	h, err := Open(t.Context(), b.Connect(b.Authority.House()), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	slots := plan.Slots{PortBase: 6000, Holder: func(int) string { return "" }}
	add := func(name string, placement record.Placement, gone bool) Added {
		t.Helper()
		added, err := h.AddPlaced(t.Context(), name, placement, slots, gone)
		if err != nil {
			t.Fatal(err)
		}
		return added
	}
	first := add("acme", record.Shared, false).Provider
	if provider, _, shared := keyspace.CutShared(first.Keyspace); !shared || provider != "acme" || first.Placement != record.Shared {
		t.Errorf("the record says keyspace %q, placement %q", first.Keyspace, first.Placement)
	}
	if again := add("acme", record.Own, false); again.Changed || again.Provider.Keyspace != first.Keyspace {
		t.Errorf("added once more without a placement: %+v", again)
	}
	if own := add("harbor", record.Own, false).Provider; own.Keyspace != "harbor" || own.Placement != record.Own {
		t.Errorf("the record says keyspace %q, placement %q", own.Keyspace, own.Placement)
	}
	_, err = h.AddPlaced(t.Context(), "harbor", record.Shared, slots, false)
	if !schema.Is(err, schema.Conflict) || !strings.Contains(err.Error(), "chosen once") {
		t.Errorf("another placement of one that is there: %v", err)
	}
	if _, _, err := h.Remove(t.Context(), "acme", true); err != nil {
		t.Fatal(err)
	}
	next := add("acme", record.Shared, true).Provider
	if _, _, shared := keyspace.CutShared(next.Keyspace); !shared || next.Keyspace == first.Keyspace {
		t.Errorf("made anew it has keyspace %q, before it had %q", next.Keyspace, first.Keyspace)
	}
}
