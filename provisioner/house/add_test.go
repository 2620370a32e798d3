package house

import (
	"testing"

	"berth/internal/bus/bustest"
	"berth/provisioner/plan"
	"berth/schema"
	"berth/schema/record"
)

// TestAPurgedNameIsItsNextOwners adds a provider whose data were purged once they are gone, and not before; to forget
// the old one then does nothing to the new one.
func TestAPurgedNameIsItsNextOwners(t *testing.T) {
	b := bustest.New(t)
	h, err := Open(t.Context(), b.Connect(b.Authority.House()), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	slots := plan.Slots{PortBase: 6000, Holder: func(int) string { return "" }}
	first, err := h.Add(t.Context(), "acme", slots, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Forget(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Active(t.Context(), "acme"); err != nil {
		t.Errorf("an active provider was forgotten: %v", err)
	}
	removed, _, err := h.Remove(t.Context(), "acme", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Add(t.Context(), "acme", slots, false); !schema.Is(err, schema.Conflict) {
		t.Errorf("added while its data are there: %v, want Conflict", err)
	}
	again, err := h.Add(t.Context(), "acme", slots, true)
	if err != nil || !again.Changed || again.Restored || again.Provider.Purge || again.Provider.ReportsToken == first.Provider.ReportsToken {
		t.Errorf("added again: %+v, %v", again, err)
	}
	if f := again.Provider.Freed; len(f) != 1 || f[0] != (record.Freed{Slot: 1, At: removed.Removed}) || again.Provider.Slot != 2 {
		t.Errorf("added again with slot %d, freed are %v; want slot 2, and slot 1 since %v", again.Provider.Slot, f, removed.Removed)
	}
	if err := h.Forget(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Active(t.Context(), "acme"); err != nil {
		t.Errorf("the new one was forgotten with the old one: %v", err)
	}
	if _, _, err := h.Remove(t.Context(), "acme", true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Forget(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Provider(t.Context(), "acme"); !schema.Is(err, schema.NotFound) {
		t.Errorf("a purged provider is not forgotten: %v", err)
	}
}
