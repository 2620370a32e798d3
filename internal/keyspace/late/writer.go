package late

import (
	"context"

	"berth/internal/keyspace"
)

// Write is the keyspace's.
func (w *Writer) Write(ctx context.Context, c *keyspace.Changes) (keyspace.Receipt, error) {
	k, err := w.get()
	if err != nil {
		return 0, err
	}
	return k.Write(ctx, c)
}

// Durable is the keyspace's.
func (w *Writer) Durable(ctx context.Context) (keyspace.Receipt, error) {
	k, err := w.get()
	if err != nil {
		return 0, err
	}
	return k.Durable(ctx)
}

// Unrolled is the keyspace's.
func (w *Writer) Unrolled(ctx context.Context, endBefore int64, yield func(keyspace.RollupKey) bool) error {
	k, err := w.get()
	if err != nil {
		return err
	}
	return k.Unrolled(ctx, endBefore, yield)
}

// Expire is the keyspace's.
func (w *Writer) Expire(ctx context.Context, blocksBefore, rollupsBefore int64) error {
	k, err := w.get()
	if err != nil {
		return err
	}
	return k.Expire(ctx, blocksBefore, rollupsBefore)
}

// Stats is the keyspace's.
func (w *Writer) Stats(ctx context.Context) (keyspace.Stats, error) {
	k, err := w.get()
	if err != nil {
		return keyspace.Stats{}, err
	}
	return k.Stats(ctx)
}

// Size is the keyspace's.
func (w *Writer) Size(ctx context.Context) (int64, error) {
	k, err := w.get()
	if err != nil {
		return 0, err
	}
	return k.Size(ctx)
}
