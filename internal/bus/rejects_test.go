package bus

import (
	"fmt"
	"testing"

	"berth/schema"
)

func TestRejects(t *testing.T) {
	h := newHouse(t)
	_, c := h.provider("acme", LogOptions{RejectsQuota: 1 << 20})
	for i := range 30 {
		if err := c.PutReject(t.Context(), fmt.Appendf(nil, "%d %s", i, make([]byte, 50_000))); err != nil {
			t.Fatal(err)
		}
	}
	all, kept, err := c.Rejects(t.Context(), 1_000)
	if err != nil || kept < 15 || kept > 21 || uint64(len(all)) != kept {
		t.Fatalf("kept %d, got %d, %v", kept, len(all), err)
	}
	for i, r := range all[:3] {
		if want := fmt.Sprint(29-i, " "); string(r[:3]) != want {
			t.Errorf("reject %d begins with %q, want %q", i, r[:3], want)
		}
	}
	if some, _, err := c.Rejects(t.Context(), 2); err != nil || len(some) != 2 {
		t.Errorf("asked for two: %d, %v", len(some), err)
	}
	if err := c.PutReject(t.Context(), make([]byte, maxPayload+1)); !schema.Is(err, schema.TooLarge) {
		t.Errorf("an overlong reject: %v", err)
	}
}
