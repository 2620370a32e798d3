package bus

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// TestStreamsThatAreMadeAreNotBroken: while streams are made, one after the other, the server never counts as unwell.
func TestStreamsThatAreMadeAreNotBroken(t *testing.T) {
	h := newHouse(t)
	provisioner, _ := h.provider("acme", LogOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	looking.Go(func() {
		for ctx.Err() == nil {
			if err := h.server.Healthy(); err != nil {
				t.Errorf("while streams are made: %v", err)
				return
			}
		}
	})
	for n := range 20 {
		if _, err := provisioner.Bucket(t.Context(), BucketOptions{Name: fmt.Sprintf("made%d", n)}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	looking.Wait()
}

// TestUnwell: a stream that stays missing is trouble after a while, another trouble at once, and each look counts.
func TestUnwell(t *testing.T) {
	missing := func(name string) server.HealthzError {
		return server.HealthzError{Type: server.HealthzErrorStream, Error: fmt.Sprintf("JetStream stream '%s' could not be recovered", name)}
	}
	broken := server.HealthzError{Type: server.HealthzErrorStream, Error: "JetStream stream 'b' write error: no space left on device"}
	hurried := server.HealthzError{Type: server.HealthzErrorConn, Error: "failed to be ready for connections after 1ms"}
	now := time.Now()
	var u unwell
	for _, look := range []struct {
		after time.Duration
		said  []server.HealthzError
		want  string
	}{
		{0, nil, ""},
		{0, []server.HealthzError{hurried}, ""},
		{0, []server.HealthzError{missing("a")}, ""},
		{makingLimit / 2, []server.HealthzError{missing("a"), missing("c")}, ""},
		{makingLimit / 2, []server.HealthzError{missing("c"), broken}, broken.Error},
		{makingLimit / 2, []server.HealthzError{missing("a"), missing("c")}, missing("c").Error},
		{0, nil, ""},
		{makingLimit, []server.HealthzError{missing("a"), missing("c")}, ""},
	} {
		now = now.Add(look.after)
		if got := u.trouble(look.said, now); got != look.want {
			t.Errorf("%v: %q, want %q", look.said, got, look.want)
		}
	}
}
