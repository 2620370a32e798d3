package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// PutReject keeps what was refused. The oldest rejects make room for the newest. It returns when the reject is on disk.
func (c *Conn) PutReject(ctx context.Context, data []byte) error {
	_, err := c.js.Publish(ctx, rejectsSubject, data, jetstream.WithRetryAttempts(0))
	return failed("keep a reject", err)
}

// RejectsState returns how many rejects are kept, their bytes, and how many bytes may be.
func (c *Conn) RejectsState(ctx context.Context) (kept, bytes, quota uint64, err error) {
	stream, err := c.js.Stream(ctx, rejectsStream)
	if err != nil {
		return 0, 0, 0, failed("look at the rejects", err)
	}
	info := stream.CachedInfo()
	return info.State.Msgs, info.State.Bytes, uint64(max(info.Config.MaxBytes, 0)), nil
}

// Rejects returns the newest rejects, at most limit, newest first, and how many are kept.
func (c *Conn) Rejects(ctx context.Context, limit int) (newest [][]byte, kept uint64, err error) {
	stream, err := c.js.Stream(ctx, rejectsStream)
	if err != nil {
		return nil, 0, failed("read rejects", err)
	}
	state := stream.CachedInfo().State
	for seq := state.LastSeq; seq >= max(state.FirstSeq, 1) && len(newest) < limit; seq-- {
		msg, err := stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break // it made room meanwhile, and all before it
		}
		if err != nil {
			return nil, 0, failed("read rejects", err)
		}
		newest = append(newest, msg.Data)
	}
	return newest, state.Msgs, nil
}
