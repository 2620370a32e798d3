package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/schema/record"
)

// Announce keeps an instance listed in the bucket "services": it puts what service returns, every so often, until ctx
// ends, and then deletes it. A put that fails is tried again soon. An instance that is not heard of for fifteen seconds
// is no longer listed, so every should be a few seconds. It returns ctx's error.
func (c *Conn) Announce(ctx context.Context, service func() record.Service, every time.Duration) error {
	var (
		bucket *Bucket
		key    string
		failed bool
	)
	for attempt := 0; ; attempt++ {
		pause := every
		s := service()
		err := c.announce(ctx, &bucket, s)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			if failed {
				c.log.Info("announced again", "entry", s.Key())
			}
			key, failed, attempt = s.Key(), false, 0
		default:
			if !failed {
				c.log.Warn("cannot be announced", "entry", s.Key(), "error", err)
			}
			failed, pause = true, min(every, reconnectDelay(attempt))
		}
		if wait(ctx, pause) != nil {
			break
		}
	}
	if bucket != nil && key != "" {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := bucket.Delete(last, key); err != nil {
			c.log.Info("stays listed until it expires", "entry", key, "error", err)
		}
	}
	return ctx.Err()
}

func (c *Conn) announce(ctx context.Context, bucket **Bucket, s record.Service) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if *bucket == nil {
		b, err := c.Bucket(ctx, BucketOptions{Name: "services", TTL: serviceLife, Memory: true})
		if err != nil {
			return err
		}
		*bucket = b
	}
	value, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write service %s: %w", s.Key(), err)
	}
	_, err = (*bucket).Put(ctx, s.Key(), value)
	return err
}
