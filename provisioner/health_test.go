package provisioner

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
)

func TestNATSIsRevivedOnceItsDiskHasRoom(t *testing.T) {
	sick, room, revived, prepared := errors.New("stream is broken"), false, 0, 0
	h := &healer{
		renewed: new(atomic.Bool),
		healthy: func() error { return sick },
		room:    func() bool { return room },
		revive:  func() error { revived++; sick = nil; return nil },
		after: func(context.Context) error {
			if prepared++; prepared == 1 {
				return errors.New("not yet")
			}
			return nil
		},
		log: slog.New(slog.DiscardHandler),
	}
	for range 3 {
		h.look(t.Context())
	}
	if revived != 0 {
		t.Fatal("revived while the disk is full")
	}
	room = true
	h.look(t.Context())
	if revived != 1 || prepared != 1 {
		t.Errorf("revived %d times, prepared %d times, want once", revived, prepared)
	}
	for range 2 {
		h.look(t.Context())
	}
	if h.sick || revived != 1 || prepared != 2 {
		t.Errorf("after it is well: sick %v, revived %d times, prepared %d times, want until it is", h.sick, revived, prepared)
	}
	sick = errors.New("a hiccup")
	h.look(t.Context())
	if revived != 1 {
		t.Error("revived at the first bad look")
	}
}
