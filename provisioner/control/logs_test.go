package control

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"berth/internal/houseapi"
	"berth/provisioner/runtime"
	"berth/schema"
)

// endless is a runtime whose logs are followed until nobody asks any more.
type endless struct {
	runtime.Runtime
	followed chan struct{}
}

func (e endless) Logs(ctx context.Context, _ string, _ runtime.LogOptions, w io.Writer) error {
	if _, err := w.Write(nil); err != nil {
		return err
	}
	select {
	case e.followed <- struct{}{}:
	case <-ctx.Done():
	}
	<-ctx.Done()
	return nil
}

// TestSoManyFollowLogsAndNoMore: and when one has gone another may.
func TestSoManyFollowLogsAndNoMore(t *testing.T) {
	e := endless{followed: make(chan struct{})}
	s := NewServer(Options{Runtime: e})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	follow := func(ctx context.Context) error {
		return s.AnswerLogs(ctx, []byte(`{"role":"web","lines":5,"follow":true}`), func([]byte) error { return nil })
	}
	one, end := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if err := follow(one); err != nil {
			t.Error(err)
		}
	}()
	<-e.followed
	for range houseapi.LogFollowers - 1 {
		all.Go(func() {
			if err := follow(ctx); err != nil {
				t.Error(err)
			}
		})
		<-e.followed
	}
	within, over := context.WithTimeout(ctx, 10*time.Second)
	defer over()
	if err := follow(within); !schema.Is(err, schema.Limited) {
		t.Errorf("one more: %v", err)
	}
	end()
	<-gone
	all.Go(func() {
		if err := follow(ctx); err != nil {
			t.Error(err)
		}
	})
	<-e.followed
	cancel()
	all.Wait()
}
