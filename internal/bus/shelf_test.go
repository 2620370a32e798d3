package bus

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"berth/schema"
)

func TestRejectsDropTheOldest(t *testing.T) {
	h := newHouse(t)
	_, c := h.provider("acme", LogOptions{RejectsQuota: 1 << 20})
	for i := range 30 {
		if _, err := c.Keep(t.Context(), Rejects, "", fmt.Appendf(nil, `{"n":%d}`, i), make([]byte, 50_000)); err != nil {
			t.Fatal(err)
		}
	}
	all, kept, err := c.List(t.Context(), Rejects, 0, 1_000, 64<<20)
	if err != nil || kept < 15 || kept > 21 || uint64(len(all)) != kept {
		t.Fatalf("kept %d, got %d, %v", kept, len(all), err)
	}
	for i, r := range all[:3] {
		if want := fmt.Sprintf(`{"n":%d}`, 29-i); string(r.About) != want || r.ID != uint64(30-i) || len(r.Raw) != 50_000 {
			t.Errorf("reject %d is %d, %s of %d bytes, want %s", i, r.ID, r.About, len(r.Raw), want)
		}
	}
	if some, _, err := c.List(t.Context(), Rejects, 29, 2, 1<<20); err != nil || len(some) != 2 || some[0].ID != 28 {
		t.Errorf("asked for two before 29: %d, %v", len(some), err)
	}
	if some, _, err := c.List(t.Context(), Rejects, 0, 100, 60_000); err != nil || len(some) != 2 {
		t.Errorf("asked for about 60000 bytes: %d entries, %v", len(some), err)
	}
	if _, err := c.Keep(t.Context(), Rejects, "", []byte("{}"), make([]byte, maxPayload+1)); !schema.Is(err, schema.TooLarge) {
		t.Errorf("an overlong reject: %v", err)
	}
}

func TestRejectsAreReadAndRemovedOneByOne(t *testing.T) {
	h := newHouse(t)
	_, c := h.provider("acme", LogOptions{})
	for i := range 3 {
		if _, err := c.Keep(t.Context(), Rejects, "", []byte("{}"), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time it is gone
		if err := c.Drop(t.Context(), Rejects, 2); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Get(t.Context(), Rejects, 2); !schema.Is(err, schema.NotFound) {
		t.Errorf("what was removed: %v", err)
	}
	if one, err := c.Get(t.Context(), Rejects, 3); err != nil || string(one.Raw) != "2" {
		t.Errorf("the third is %q, %v", one.Raw, err)
	}
	if all, kept, err := c.List(t.Context(), Rejects, 0, 10, 1<<20); err != nil || len(all) != 2 || kept != 2 {
		t.Errorf("%d listed of %d, %v", len(all), kept, err)
	}
}

func TestRejectsAreCountedBySender(t *testing.T) {
	h := newHouse(t)
	_, c := h.provider("acme", LogOptions{RejectsQuota: 1 << 20})
	for i, sender := range []string{"a.b >*", "水", "", "水", "水"} {
		if _, err := c.Keep(t.Context(), Rejects, sender, []byte("{}"), make([]byte, 100_000+i)); err != nil {
			t.Fatal(err)
		}
	}
	count := func(want ...uint64) {
		t.Helper()
		of, err := c.CountKept(t.Context(), Rejects)
		if err != nil {
			t.Fatal(err)
		}
		if got := []uint64{of("a.b >*"), of("水"), of("another")}; !slices.Equal(got, want) {
			t.Errorf("%d are kept of each, want %d", got, want)
		}
	}
	count(1, 3, 0)
	if err := c.Drop(t.Context(), Rejects, 4); err != nil { // removed, or fed
		t.Fatal(err)
	}
	count(1, 2, 0)
	for range 8 { // the oldest make room
		if _, err := c.Keep(t.Context(), Rejects, "another", []byte("{}"), make([]byte, 110_000)); err != nil {
			t.Fatal(err)
		}
	}
	of, err := c.CountKept(t.Context(), Rejects)
	if _, kept, listErr := c.List(t.Context(), Rejects, 0, 1, 1); err != nil || listErr != nil || of("a.b >*") != 0 || of("another")+of("水") != kept {
		t.Errorf("%d and %d of %d, %v, %v", of("another"), of("水"), kept, err, listErr)
	}
}

// What is set aside is kept once, and refused when there is no room; nothing that is there goes.
func TestWhatIsSetAsideStays(t *testing.T) {
	h := newHouse(t)
	_, c := h.provider("acme", LogOptions{AsideQuota: 1 << 20})
	raw := bytes.Repeat([]byte("a"), 300_000)
	for i := range 2 {
		if kept, err := c.Keep(t.Context(), Aside, string(raw[:1]), []byte("{}"), raw); err != nil || kept != (i == 0) {
			t.Errorf("the same for the %d. time: kept %v, %v", i+1, kept, err)
		}
	}
	var full error
	for i := 0; full == nil && i < 10; i++ {
		raw[0]++
		_, full = c.Keep(t.Context(), Aside, string(raw[:1]), []byte("{}"), raw)
	}
	if !schema.Is(full, schema.Limited) {
		t.Fatalf("a full shelf: %v", full)
	}
	all, _, err := c.List(t.Context(), Aside, 0, 10, 64<<20)
	if err != nil || len(all) != 3 || all[2].Raw[0] != 'a' {
		t.Fatalf("%d are kept, %v", len(all), err)
	}
	state, err := c.ShelfState(t.Context(), Aside)
	if err != nil || state.Entries != 3 || state.Quota != 1<<20 || state.Bytes < 900_000 {
		t.Errorf("%+v, %v", state, err)
	}
	if err := c.Drop(t.Context(), Aside, all[0].ID); err != nil {
		t.Fatal(err)
	}
	if kept, err := c.Keep(t.Context(), Aside, string(raw[:1]), []byte("{}"), raw); err != nil || !kept {
		t.Errorf("with room again: kept %v, %v", kept, err)
	}
}
