package head

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/schema"
	"berth/schema/batch"
)

// backOff is how long CatchUp waits after an error, doubled up to maxBackOff.
const (
	backOff    = 100 * time.Millisecond
	maxBackOff = 5 * time.Second
)

// ReadLog reads the log's messages from a sequence up to another, in order; nil is one that the log has lost. It is
// bus.Log's Read.
type ReadLog func(ctx context.Context, from, upTo uint64, fn func(seq uint64, data []byte) error) error

// SetAside keeps, durably, a message of the log that cannot be read. Its error means that it could not be kept yet.
type SetAside func(ctx context.Context, seq uint64, data []byte, why error) error

// CatchUp reads from the log whenever the head is behind, until the context ends. Without room in memory it waits. It
// joins the live batches without gap or overlap: both count sequences under one lock.
func (h *Head) CatchUp(ctx context.Context, read ReadLog, shapes *batch.Interner, aside SetAside) {
	wait := backOff
	for h.awaitRoom(ctx, h.soft(), true) == nil {
		err := h.Replay(ctx, read, shapes, aside)
		if err == nil {
			wait = backOff
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if wait == backOff {
			h.log.Error("reading the log", "error", err)
		}
		h.mu.Lock()
		h.reason = "the log cannot be read on: " + schema.Show(err)
		h.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			wait = min(2*wait, maxBackOff)
		}
	}
}

// Replay reads from the log what was committed when it began and not followed.
func (h *Head) Replay(ctx context.Context, read ReadLog, shapes *batch.Interner, aside SetAside) error {
	h.mu.Lock()
	from, upTo := h.followed+1, h.committed
	h.mu.Unlock()
	if from <= upTo {
		err := read(ctx, from, upTo, func(seq uint64, data []byte) error {
			header, rows, err := batch.Decode(data, shapes)
			if data == nil {
				err = schema.Errorf(schema.Internal, "the log has lost message %d: its bytes have rotted on the disk", seq)
			}
			if err != nil {
				if err := aside(ctx, seq, data, err); err != nil {
					return fmt.Errorf("set aside message %d: %w", seq, err)
				}
				h.log.Error("a message of the log cannot be read and was set aside", "sequence", seq, "error", err)
				rows = &batch.Rows{}
			}
			return h.enter(ctx, seq, header.Created, rows)
		})
		if err != nil {
			return fmt.Errorf("read log from %d to %d: %w", from, upTo, err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.followed < upTo {
		return schema.Errorf(schema.Internal, "the log ended at %d before %d", h.followed, upTo)
	}
	h.join()
	return nil
}

// enter applies a batch that was read from the log, when there is room for it.
func (h *Head) enter(ctx context.Context, seq uint64, created int64, rows *batch.Rows) error {
	if err := h.awaitRoom(ctx, h.budget, false); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq <= h.followed {
		return nil
	}
	h.apply(seq, created, rows)
	h.join()
	return nil
}

// join makes the head live if it has followed everything committed, but for batches that it was given meanwhile.
func (h *Head) join() {
	for !h.live && len(h.ahead) > 0 && h.ahead[0].seq <= h.followed+1 && h.bytes <= h.budget {
		if b := h.ahead[0]; b.seq == h.followed+1 {
			h.apply(b.seq, b.created, b.rows)
		}
		h.ahead = slices.Delete(h.ahead, 0, 1)
	}
	if !h.live && h.followed == h.committed {
		h.live, h.reason, h.ahead = true, "", nil
		h.log.Info("the head follows the log", "followed", h.followed)
	}
}

// awaitRoom waits until the head takes no more than limit bytes, and is behind if that is asked for.
func (h *Head) awaitRoom(ctx context.Context, limit int64, behind bool) error {
	for {
		h.mu.Lock()
		ok := h.bytes <= limit && (!behind || !h.live)
		h.mu.Unlock()
		if ok {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.stir:
		}
	}
}
