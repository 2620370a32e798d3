package bus

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// watchPause is the least time between two calls of Watch's function.
const watchPause = 100 * time.Millisecond

var errWatchEnded = errors.New("the watcher ended")

// Watch calls set with the whole bucket at first and after each change, changes that come fast together (at most ten
// calls a second). After the server was away the bucket is read anew; meanwhile, and while there is no bucket, nothing
// is called. The map is the callee's. Watch returns ctx's error when ctx ends.
func (b *Bucket) Watch(ctx context.Context, set func(all map[string]Entry)) error {
	back := make(chan struct{}, 1)
	remove := b.conn.watchState(func(up bool) {
		if up {
			select {
			case back <- struct{}{}:
			default:
			}
		}
	})
	defer remove()
	quiet := false
	for attempt := 0; ; attempt++ {
		seen, err := b.watchOnce(ctx, back, set)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if seen {
			attempt, quiet = 0, false
		}
		if err != nil && !quiet {
			b.conn.log.Warn("watching a bucket was interrupted", "bucket", b.name, "error", err)
			quiet = true
		}
		if err != nil && wait(ctx, reconnectDelay(attempt)) != nil {
			return ctx.Err()
		}
	}
}

// watchOnce watches until the server comes back (nil), ctx ends, or something fails. It reports whether it saw the
// whole bucket.
func (b *Bucket) watchOnce(ctx context.Context, back <-chan struct{}, set func(map[string]Entry)) (seen bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := b.kv.WatchAll(ctx)
	if err != nil {
		return false, failed("watch "+b.name, err)
	}
	defer b.conn.stopWatcher(w)
	var (
		all   = map[string]Entry{}
		due   <-chan time.Time // set while a change waits to be told
		pause = time.NewTimer(0)
		limit = time.NewTimer(10 * time.Second) // for the whole bucket to come
	)
	defer pause.Stop()
	defer limit.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return seen, errWatchEnded
			case e == nil:
				seen = true
				limit.Stop()
				set(maps.Clone(all))
				pause.Reset(watchPause)
			default:
				apply(all, e)
				if seen {
					due = pause.C
				}
			}
		case <-due:
			due = nil
			set(maps.Clone(all))
			pause.Reset(watchPause)
		case <-back:
			return seen, nil
		case <-limit.C:
			if !seen {
				return false, failed("watch "+b.name, context.DeadlineExceeded)
			}
		case <-ctx.Done():
			return seen, ctx.Err()
		}
	}
}

// stopWatcher ends a watcher; what it still hands over is thrown away, so that it does not block on it. A connection that
// is closed at the same time may never say that the watcher has ended.
func (c *Conn) stopWatcher(w jetstream.KeyWatcher) {
	go func() {
		for {
			select {
			case _, ok := <-w.Updates():
				if !ok {
					return
				}
			case <-c.closed:
				return
			}
		}
	}()
	_ = w.Stop() // without a server there is nothing to stop
}
