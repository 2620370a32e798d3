package cassandra

import (
	"context"
	"math"
	"time"

	"berth/internal/keyspace"
	"berth/schema/cql"
)

// Bounds of what Cassandra takes as a time to live, in seconds.
const (
	leastTTL = 86400              // what comes after its time has expired stays for a day
	mostTTL  = 20 * 365 * 86400   // Cassandra's own bound; what should live longer lives for ever
	lastTTL  = int64(2147385600)  // 2038-01-18: nodes that keep expiry in 32 bits take none after it
	ever     = int64(0)           // a retention that does not end
	atOnce   = int64(time.Second) // one that has ended
)

// retention is how long blocks and rollups are kept after their end, in nanoseconds.
type retention struct{ blocks, rollups int64 }

func (r retention) rollupTTL(key *keyspace.RollupKey) int {
	end := key.Start + key.Span.Length()
	if end < key.Start {
		end = math.MaxInt64
	}
	return ttl(end, r.rollups)
}

// ttl returns the time to live, in seconds, of what ends at a time and is kept for so long after; 0 is for ever.
func ttl(end, keep int64) int {
	if keep == ever {
		return 0
	}
	now := time.Now().Unix()
	expires := end/1e9 + keep/1e9 + 1
	left := max(expires-now, leastTTL)
	if left > mostTTL || now+left > lastTTL {
		return 0
	}
	return int(left)
}

// keptSince returns the retention of what is dropped before a time.
func keptSince(before, now int64) int64 {
	switch {
	case before >= now:
		return atOnce
	case before < 0 && now > math.MaxInt64+before:
		return ever
	}
	return now - before
}

func (w *writer) retention() retention {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.keep
}

// Expire keeps in mind how long blocks and rollups are to be kept, also for the next writer: what is written from now on
// drops by itself when its time is over. What was written before goes when it was to go then.
func (w *writer) Expire(ctx context.Context, blocksBefore, rollupsBefore int64) error {
	if err := w.act(ctx); err != nil {
		return err
	}
	defer w.writing.RUnlock()
	now := time.Now().UnixNano()
	keep := retention{blocks: keptSince(blocksBefore, now), rollups: keptSince(rollupsBefore, now)}
	if err := w.query(ctx, w.updateRetention, keep.blocks, keep.rollups, w.key, cql.OwnBucket).Exec(); err != nil {
		return w.failed(ctx, "expire", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep = keep
	return nil
}
