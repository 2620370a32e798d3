package house

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"berth/internal/bus/bustest"
	"berth/provisioner/plan"
	"berth/schema"
	"berth/schema/record"
)

// TestASourceKeepsItsSession: a source that is changed stays the same client of its broker, and knows what that may still have
// subscribed to for it; another broker, or client, has nothing of it.
func TestASourceKeepsItsSession(t *testing.T) {
	b := bustest.New(t)
	h, err := Open(t.Context(), b.Connect(b.Authority.House()), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Add(t.Context(), "acme", plan.Slots{PortBase: 6000, Holder: func(int) string { return "" }}, false); err != nil {
		t.Fatal(err)
	}
	put := func(url, password string, changed bool, topics ...string) record.Source {
		t.Helper()
		s := record.Source{Name: "plant", Kind: record.SourceMQTT, URL: url, User: "u"}
		for _, topic := range topics {
			s.Topics = append(s.Topics, record.TopicRule{Pattern: topic})
		}
		p, is, err := h.PutSource(t.Context(), "acme", s, password)
		if err != nil || is != changed || len(p.Sources) != 1 {
			t.Fatalf("%v, changed %v, %d sources", err, is, len(p.Sources))
		}
		if got, err := h.SourcePassword(&p.Sources[0]); err != nil || got != password {
			t.Errorf("its password is %q, %v, want %q", got, err, password)
		}
		return p.Sources[0]
	}
	first := put("tcp://b:1883", "one", true, "a/#", "b/{gateway}")
	if len(first.ClientID) > 23 || len(first.Left) > 0 || !first.Changed.IsZero() || bytes.Contains(first.Sealed, []byte("one")) {
		t.Errorf("%+v", first)
	}
	if same := put("tcp://b:1883", "one", false, "a/#", "b/{gateway}"); !bytes.Equal(same.Sealed, first.Sealed) {
		t.Error("the same password was sealed anew")
	}
	second := put("tcp://b:1883", "two", true, "a/#", "c/+")
	if second.ClientID != first.ClientID || !slices.Equal(second.Left, []string{"b/+"}) || second.Changed.IsZero() || !second.Created.Equal(first.Created) {
		t.Errorf("%+v", second)
	}
	third := put("tcp://b:1883", "two", true, "b/+")
	if !slices.Equal(third.Left, []string{"a/#", "c/+"}) {
		t.Errorf("it left %q", third.Left)
	}
	if moved := put("tcp://other:1883", "", true, "b/+"); len(moved.Left) > 0 || len(moved.Sealed) > 0 {
		t.Errorf("%+v", moved)
	}
	for i := range record.MaxSources - 1 {
		s := record.Source{Name: fmt.Sprint("s", i), Kind: record.SourceMQTT, URL: "tcp://b:1", Topics: []record.TopicRule{{Pattern: "#"}}}
		if _, _, err := h.PutSource(t.Context(), "acme", s, ""); err != nil {
			t.Fatal(err)
		}
	}
	more := record.Source{Name: "more", Kind: record.SourceMQTT, URL: "tcp://b:1", Topics: []record.TopicRule{{Pattern: "#"}}}
	if _, _, err := h.PutSource(t.Context(), "acme", more, ""); !schema.Is(err, schema.Limited) {
		t.Errorf("one too many: %v", err)
	}
	p, err := h.RemoveSource(t.Context(), "acme", "plant")
	if err != nil || len(p.Sources) != record.MaxSources-1 {
		t.Errorf("%d sources, %v", len(p.Sources), err)
	}
	if _, err := h.RemoveSource(t.Context(), "acme", "plant"); !schema.Is(err, schema.NotFound) {
		t.Errorf("removed twice: %v", err)
	}
}
