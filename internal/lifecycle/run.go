package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// ErrParentGone is the cause of a context that ended because the parent process is gone.
var ErrParentGone = errors.New("the parent process is gone")

// Signaled is the cause of a context that ended by a signal.
type Signaled struct{ Signal os.Signal }

// Error names the signal.
func (s *Signaled) Error() string { return fmt.Sprintf("signal %v", s.Signal) }

// Run returns a context that ends when ctx does, by SIGINT or SIGTERM, or when the pipe whose reading end is parentFD
// closes, as it does when the parent ends in whatever way. A parentFD below 3 means that there is no such pipe.
// context.Cause tells which it was. After the first signal the second one ends the process in the system's own way. The
// returned function ends the context and gives back what Run holds.
func Run(ctx context.Context, parentFD int) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		defer signal.Stop(signals)
		select {
		case s := <-signals:
			cancel(&Signaled{Signal: s})
		case <-ctx.Done():
		}
	}()
	if parentFD >= 3 {
		watchParent(ctx, cancel, parentFD)
	}
	return ctx, func() { cancel(context.Canceled) }
}

// watchParent ends the context when the pipe closes, and closes the pipe when the context ends.
func watchParent(ctx context.Context, cancel context.CancelCauseFunc, fd int) {
	if err := syscall.SetNonblock(fd, true); err != nil { // so that Close ends a Read
		cancel(fmt.Errorf("watch the parent's pipe %d: %w", fd, err))
		return
	}
	syscall.CloseOnExec(fd)
	pipe := os.NewFile(uintptr(fd), "parent")
	stop := context.AfterFunc(ctx, func() { _ = pipe.Close() })
	go func() {
		_, _ = io.Copy(io.Discard, pipe)
		if stop() {
			_ = pipe.Close()
		}
		cancel(ErrParentGone)
	}()
}
