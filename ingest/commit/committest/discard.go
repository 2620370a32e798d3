package committest

import (
	"context"

	"berth/internal/bus"
)

// Discard is a commit.Writer that confirms everything and keeps nothing.
type Discard struct {
	appended chan struct{}
	sequence uint64
}

// NewDiscard returns a commit.Writer that confirms everything and keeps nothing, for benchmarks.
func NewDiscard() *Discard {
	return &Discard{appended: make(chan struct{}, 64)}
}

// Append forgets the data.
func (n *Discard) Append([]byte) error {
	n.appended <- struct{}{}
	return nil
}

// Next confirms the oldest message in flight.
func (n *Discard) Next(ctx context.Context) (bus.Confirmed, error) {
	select {
	case <-n.appended:
		n.sequence++
		return bus.Confirmed{Sequence: n.sequence}, nil
	case <-ctx.Done():
		return bus.Confirmed{}, ctx.Err()
	}
}

// Retry has nothing to do.
func (n *Discard) Retry() {}
