package ingest

import (
	"context"
	"time"

	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/schema"
)

const (
	// witnessEvery is how often what is seen of senders is kept.
	witnessEvery = time.Second
	// witnessMost is how many records are written at once: a thousand gateways that come together are no load.
	witnessMost = 64
)

// watchSenders keeps what is seen of senders in the provider's account, so that the provider can look at it and a restart
// goes on with it.
func (i *Ingest) watchSenders(ctx context.Context) {
	i.background(ctx, "senders", otherStop, func(ctx context.Context) {
		tick := time.NewTicker(witnessEvery)
		defer tick.Stop()
		var bucket *bus.Bucket
		said := false
		for {
			if bucket == nil {
				bucket = i.loadSenders(ctx)
			}
			if bucket != nil {
				within, cancel := context.WithTimeout(ctx, keepLimit)
				err := i.witness.Flush(within, bucket, witnessMost)
				cancel()
				if err != nil && !said && ctx.Err() == nil {
					i.log.Warn("what is seen of senders cannot be kept yet", "error", err)
				}
				said = err != nil
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// loadSenders opens the bucket and reads what an instance before this one has seen; nil when that is not possible yet.
func (i *Ingest) loadSenders(ctx context.Context) *bus.Bucket {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	bucket, err := i.conn.Bucket(ctx, bus.BucketOptions{Name: "episodes"})
	if err != nil {
		return nil // it is tried again
	}
	all, err := bucket.List(ctx)
	if err != nil {
		return nil
	}
	for key, e := range all {
		i.witness.Load(key, e.Value)
	}
	return bucket
}

// loadLimit bounds reading what an instance before this one has seen.
const loadLimit = 10 * time.Second

// introduced says whether the provider has a gateway already, as far as that can be told: while the head is not live, or the
// keyspace away, a gateway may be known there alone.
func (i *Ingest) introduced(gateway string) (known, sure bool) {
	if i.table.Has(gateway) {
		return true, true
	}
	live := i.head.Figures().State == headapi.StateReady // asked first: what the head reads now may be missed below
	if sensors, all := i.head.Sensors(gateway); all || len(sensors) > 0 {
		return true, true
	}
	_, err := i.row(gateway)
	switch {
	case err == nil:
		return true, true
	case schema.Is(err, schema.NotFound):
		return false, live
	default:
		return false, false
	}
}
