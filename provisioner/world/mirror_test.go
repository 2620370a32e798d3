package world

import (
	"strings"
	"testing"

	"berth/provisioner/plan"
)

// What was announced stays in the house, whatever a round of the loop does beside it: who adds a provider goes on then.
func TestAnAnnouncementStays(t *testing.T) {
	w, _, _ := newWorld(t)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = w.Mirror(t.Context())
			}
		}
	}()
	defer func() { close(stop); <-done }()
	for range 50 {
		for _, kind := range []plan.Kind{plan.Announce, plan.Withdraw} {
			if err := w.Apply(t.Context(), plan.Step{Provider: "acme", Kind: kind}); err != nil {
				t.Fatal(err)
			}
			all, err := w.o.House.Services().List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			there := false
			for key := range all {
				there = there || strings.HasPrefix(key, "acme.")
			}
			if there != (kind == plan.Announce) {
				t.Fatalf("after %s it is in the house: %v", kind, there)
			}
		}
	}
}
