package bus

import (
	"context"
	"strconv"

	"berth/schema"
)

// The mark says up to where the log has been trimmed, or was about to be. nats-server removes a purge's messages file by
// file, and a power cut may keep a file that was removed and not one that was removed after it: then old messages are
// back, with a hole behind them. Nobody may read them, since what has overwritten their readings may be in the hole. The
// mark is put before the purge begins, so that the next reading begins behind it.
const (
	markBucket = "episodes" // the bucket that instances write; one of its own would cost each provider a stream
	markKey    = "log.trimmed"
)

// mark returns the mark, 0 when there is none.
func (l *Log) mark(ctx context.Context) (uint64, error) { return l.number(ctx, markKey) }

// number returns what is noted of the log under a key, 0 when there is nothing.
func (l *Log) number(ctx context.Context, key string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	bucket, err := l.marks(ctx)
	if err != nil {
		return 0, err
	}
	value, _, err := bucket.Get(ctx, key)
	if schema.Is(err, schema.NotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0, schema.Errorf(schema.Invalid, "what is noted of the log as %s, %q, is no number", key, value).WithCause(err)
	}
	return n, nil
}

// setMark puts the mark. One that cannot be put holds up no trim, which may be what makes room again: it is missed only
// if the power is cut during that very trim.
func (l *Log) setMark(ctx context.Context, upTo uint64) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	bucket, err := l.marks(ctx)
	if err == nil {
		_, err = bucket.Put(ctx, markKey, strconv.AppendUint(nil, upTo, 10))
	}
	if err != nil {
		l.conn.log.Warn("the log is trimmed without a mark up to where", "sequence", upTo, "error", err)
	}
}

func (l *Log) marks(ctx context.Context) (*Bucket, error) {
	if b := l.bucket.Load(); b != nil {
		return b, nil
	}
	b, err := l.conn.Bucket(ctx, BucketOptions{Name: markBucket})
	if err != nil {
		return nil, err
	}
	l.bucket.Store(b)
	return b, nil
}
