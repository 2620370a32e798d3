package ingest

import (
	"context"
	"time"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/record"
)

// limitsEvery is how often the size of the keyspace is looked at.
const limitsEvery = time.Second

// watchLimits keeps the limits that no frame can be counted against: the bytes of the keyspace, and those of the log, whose
// stream has its quota from the provisioner before this instance is told.
func (i *Ingest) watchLimits(ctx context.Context) {
	i.background(ctx, "limits", otherStop, func(ctx context.Context) {
		tick := time.NewTicker(limitsEvery)
		defer tick.Stop()
		for {
			i.watchKeyspace(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			case <-i.limits:
				i.journal.Limit(i.settings.pipeline().Settings.Limits.LogBytes)
				if _, err := i.journal.State(ctx); err == nil { // it knows its new quota
					i.committer.Room()
				}
			}
		}
	})
}

// limitsChanged has the limits looked at soon.
func (i *Ingest) limitsChanged() {
	select {
	case i.limits <- struct{}{}:
	default:
	}
}

// watchKeyspace refuses what comes while the keyspace holds as much as it may. What was acknowledged is stored all the
// same.
func (i *Ingest) watchKeyspace(ctx context.Context) {
	limit := i.settings.pipeline().Settings.Limits.KeyspaceBytes
	var full *schema.Error
	size := int64(0)
	if limit > 0 {
		var err error
		if size, err = i.keyspace.Size(ctx); err != nil {
			return // the sealer says what is wrong with it
		}
	}
	if limit > 0 && size >= limit {
		full = schema.Errorf(schema.Limited, "the provider's keyspace holds %d bytes, its limit is %d", size, limit).
			WithNext("wait until readings beyond the retention are removed, shorten it, or have the limit raised")
	}
	before := i.full.Swap(full)
	i.gate.SetFull(full)
	switch {
	case before == nil && full != nil:
		i.log.Warn("the keyspace is full: frames are refused until it has room", "bytes", size, "limit", limit)
	case before != nil && full == nil:
		i.log.Info("the keyspace has room again", "bytes", size, "limit", limit)
	}
}

// limitUse returns each limit and how much of it is used.
func (i *Ingest) limitUse(ctx context.Context, logBytes uint64) []api.Limit {
	var used record.Limits
	if use := i.use.Load(); use != nil {
		used = (*use)()
	}
	used.LogBytes = int64(logBytes)
	if size, err := i.keyspace.Size(ctx); err == nil {
		used.KeyspaceBytes = size
	}
	limits := i.settings.pipeline().Settings.Limits
	out := make([]api.Limit, 0, len(record.EachLimit()))
	for _, each := range record.EachLimit() {
		out = append(out, api.Limit{Name: each.Name, Used: *each.Field(&used), Limit: *each.Field(&limits)})
	}
	return out
}
