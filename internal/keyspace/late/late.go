// Package late gives a keyspace to those who begin their work while it cannot be opened yet: until it can, whatever is
// asked of it is answered as by a backend that is away. It leaves trying to its user, who has more to look at before a
// keyspace may be written.
//
// Its one invariant: what is open stays open, until Close.
package late

import (
	"context"
	"sync"

	"berth/internal/keyspace"
	"berth/schema"
)

// held is what is opened late.
type held[T keyspace.Reader] struct {
	mu     sync.Mutex // guards what follows
	it     T
	open   bool
	closed bool
	why    error // why it is not open
}

// Set gives what has been opened. Closed meanwhile, it is closed at once.
func (h *held[T]) Set(it T) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.open {
		return it.Close()
	}
	h.it, h.open, h.why = it, true, nil
	return nil
}

// Fail notes why it cannot be opened yet.
func (h *held[T]) Fail(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.why = why
}

// Why returns the error that everything is answered with, nil once it is open.
func (h *held[T]) Why() error {
	_, err := h.get()
	return err
}

// Close closes what is open. It may be called twice.
func (h *held[T]) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if !h.open {
		return nil
	}
	return h.it.Close()
}

func (h *held[T]) get() (T, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.open:
		return h.it, nil // it says itself when it is closed
	case h.closed:
		return h.it, schema.Errorf(schema.Unavailable, "the keyspace is closed")
	}
	why := ""
	if h.why != nil {
		why = ": " + schema.Show(h.why)
	}
	return h.it, schema.Errorf(schema.Unavailable, "the keyspace cannot be opened yet%s", why).WithCause(h.why)
}

// Reader is a keyspace to read. Its zero value is ready for use.
type Reader struct{ held[keyspace.Reader] }

// Writer is a keyspace to write. Its zero value is ready for use.
type Writer struct{ held[keyspace.Writer] }

var (
	_ keyspace.Reader = (*Reader)(nil)
	_ keyspace.Writer = (*Writer)(nil)
)

// Blocks is the keyspace's.
func (h *held[T]) Blocks(ctx context.Context, gateway string, from, to int64, yield func(keyspace.Block) error) error {
	k, err := h.get()
	if err != nil {
		return err
	}
	return k.Blocks(ctx, gateway, from, to, yield)
}

// Gateway is the keyspace's.
func (h *held[T]) Gateway(ctx context.Context, name string) (keyspace.Gateway, error) {
	k, err := h.get()
	if err != nil {
		return keyspace.Gateway{}, err
	}
	return k.Gateway(ctx, name)
}

// Gateways is the keyspace's.
func (h *held[T]) Gateways(ctx context.Context, after string, limit int) ([]keyspace.Gateway, error) {
	k, err := h.get()
	if err != nil {
		return nil, err
	}
	return k.Gateways(ctx, after, limit)
}

// Rollups is the keyspace's.
func (h *held[T]) Rollups(
	ctx context.Context, gateway string, span keyspace.Span, from, to int64, yield func(keyspace.Rollup) error,
) error {
	k, err := h.get()
	if err != nil {
		return err
	}
	return k.Rollups(ctx, gateway, span, from, to, yield)
}

// FleetRows is the keyspace's.
func (h *held[T]) FleetRows(ctx context.Context, names []string) ([]keyspace.Gateway, error) {
	k, err := h.get()
	if err != nil {
		return nil, err
	}
	return k.FleetRows(ctx, names)
}

// FleetRollups is the keyspace's.
func (h *held[T]) FleetRollups(
	ctx context.Context, names []string, span keyspace.Span, from, to int64, yield func(keyspace.RollupKey, []byte) error,
) error {
	k, err := h.get()
	if err != nil {
		return err
	}
	return k.FleetRollups(ctx, names, span, from, to, yield)
}

// Position is the keyspace's.
func (h *held[T]) Position(ctx context.Context) (schema.Position, error) {
	k, err := h.get()
	if err != nil {
		return schema.Position{}, err
	}
	return k.Position(ctx)
}
