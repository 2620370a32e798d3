package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/signal.loop"))
}

func TestStackStopsLastInFirstOutAndOnce(t *testing.T) {
	s := New(slog.New(slog.DiscardHandler))
	var order []string
	bad := errors.New("stuck valve")
	s.Push("first", time.Second, func(context.Context) error { order = append(order, "first"); return nil })
	s.Push("second", time.Second, func(context.Context) error { order = append(order, "second"); return bad })
	s.Push("third", time.Second, func(context.Context) error { order = append(order, "third"); return nil })
	for range 2 {
		if err := s.Stop(t.Context()); !errors.Is(err, bad) {
			t.Errorf("Stop = %v, want the second step's error", err)
		}
	}
	if d := cmp.Diff([]string{"third", "second", "first"}, order); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
}

func TestStackLeavesBehindAStepThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(slog.New(slog.DiscardHandler))
		hang := make(chan struct{})
		stopped := false
		s.Push("below", time.Second, func(context.Context) error { stopped = true; return nil })
		s.Push("hangs", 3*time.Second, func(context.Context) error { <-hang; return nil })
		begun := time.Now()
		err := s.Stop(t.Context())
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop = %v, want a deadline exceeded", err)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("Stop took %v, want the step's 3s", took)
		}
		if !stopped {
			t.Error("the step below the hanging one was not stopped")
		}
		close(hang)
	})
}

func TestPushAfterStopRunsAtOnce(t *testing.T) {
	s := New(slog.New(slog.DiscardHandler))
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	ran := false
	s.Push("late", time.Second, func(context.Context) error { ran = true; return nil })
	if !ran {
		t.Error("a step pushed after Stop was not run")
	}
}

func TestRunEndsBySignal(t *testing.T) {
	ctx, cancel := Run(t.Context(), 0)
	defer cancel()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	var sig *Signaled
	if !errors.As(context.Cause(ctx), &sig) || sig.Signal != syscall.SIGTERM {
		t.Errorf("cause = %v, want SIGTERM", context.Cause(ctx))
	}
}

func TestRunEndsWhenTheParentsPipeCloses(t *testing.T) {
	r, w := pipe(t)
	ctx, cancel := Run(t.Context(), r)
	defer cancel()
	if ctx.Err() != nil {
		t.Fatal("ended while the pipe was open")
	}
	if err := syscall.Close(w); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, ErrParentGone) {
		t.Errorf("cause = %v, want ErrParentGone", cause)
	}
}

func TestRunGivesBackThePipe(t *testing.T) {
	r, w := pipe(t)
	ctx, cancel := Run(t.Context(), r)
	cancel()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		t.Errorf("cause = %v, want Canceled", cause)
	}
	if err := syscall.Close(w); err != nil {
		t.Fatal(err)
	}
}

// pipe returns raw descriptors, as a child inherits them.
func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return p[0], p[1]
}
