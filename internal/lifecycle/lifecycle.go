// Package lifecycle gives every program the same way of ending: a stack of named stop steps, and a context that ends by
// a signal or when the parent process is gone. What is stopped, and in what order it was started, is the program's own
// affair.
//
// Its one invariant: what was pushed is stopped exactly once, last in first out, and no step can hold up the others
// beyond its limit.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Stack holds what has been started and how to stop it. Its methods may be called concurrently. The zero Stack is not
// usable; see [New].
type Stack struct {
	log *slog.Logger

	mu    sync.Mutex // guards steps and late
	steps []step
	late  context.Context // of Stop, without its end; nil before: steps that come late run in it

	once sync.Once
	err  error // of Stop; written once
}

type step struct {
	name  string
	limit time.Duration
	stop  func(ctx context.Context) error
}

// New returns an empty stack.
func New(log *slog.Logger) *Stack { return &Stack{log: log} }

// Push adds a step that stops what has just been started. The step has limit to finish; its context ends then, and a
// step that goes on regardless is left behind. After Stop began, the step runs at once.
func (s *Stack) Push(name string, limit time.Duration, stop func(ctx context.Context) error) {
	st := step{name: name, limit: limit, stop: stop}
	s.mu.Lock()
	late := s.late
	if late == nil {
		s.steps = append(s.steps, st)
	}
	s.mu.Unlock()
	if late == nil {
		return
	}
	if err := s.run(late, st); err != nil {
		s.log.Error("stopping a late step", "step", name, "error", err)
	}
}

// Stop runs the steps, last in first out, and returns what went wrong. It does not end early when a step fails. Later
// and concurrent calls wait for the first one and return the same. The context bounds all steps together; give one that
// has not ended already.
func (s *Stack) Stop(ctx context.Context) error {
	s.once.Do(func() {
		s.mu.Lock()
		steps := s.steps
		s.steps, s.late = nil, context.WithoutCancel(ctx)
		s.mu.Unlock()
		var errs []error
		for _, st := range slices.Backward(steps) {
			errs = append(errs, s.run(ctx, st))
		}
		s.err = errors.Join(errs...)
	})
	return s.err
}

// run stops one step within its limit.
func (s *Stack) run(ctx context.Context, st step) error {
	ctx, cancel := context.WithTimeout(ctx, st.limit)
	defer cancel()
	begun := time.Now()
	done := make(chan error, 1)
	go func() { done <- st.stop(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done: // both were ready
		default:
			err = ctx.Err()
		}
	}
	s.log.Debug("stopped", "step", st.name, "took", time.Since(begun))
	if err != nil {
		return fmt.Errorf("stop %s: %w", st.name, err)
	}
	return nil
}
