package ingest

import (
	"context"
	"time"

	"berth/ingest/episode"
	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/record"
)

const (
	observeEvery = time.Second
	// brief is how long what comes with every restart lasts without being kept.
	brief = 5 * time.Second
	// keepLimit bounds one attempt to keep the episodes.
	keepLimit = 2 * time.Second
	// keepAgain is how soon episodes that could not be kept are tried again: the disk may be full.
	keepAgain = 15 * time.Second
)

// conditions returns what is out of the ordinary now, the gravest first.
func (i *Ingest) conditions() []episode.Condition {
	var all []episode.Condition
	pressed := i.pressure.get()
	if pressed.disk != "" {
		all = append(all, episode.Condition{State: headapi.StateDisk, Detail: "gateways wait until there is room: " + pressed.disk})
	}
	if full := i.full.Load(); full != nil {
		all = append(all, episode.Condition{State: headapi.StateQuota, Detail: full.Text + ": frames are refused until there is room"})
	}
	if pressed.log || i.committer.Full() {
		all = append(all, episode.Condition{State: headapi.StateFull, Detail: "the log is full: gateways wait until it is trimmed"})
	}
	if err := i.writer.Trouble(); err != nil {
		all = append(all, episode.Condition{
			State: headapi.StateStalled, Detail: "the log does not confirm what comes: " + schema.Show(err), Brief: brief,
		})
	}
	if away, ok := i.lateCondition(); ok {
		all = append(all, away)
	} else if state, detail := i.sealer.State(); state != "" {
		all = append(all, episode.Condition{State: state, Detail: detail})
	}
	if f := i.head.Figures(); f.State != headapi.StateReady {
		all = append(all, episode.Condition{State: f.State, Detail: f.Detail, Brief: brief})
	}
	if detail := i.aside.detail(i.o.Provider); detail != "" {
		all = append(all, episode.Condition{State: headapi.StateAside, Detail: detail})
	}
	if detail := i.sources.Load().Trouble(); detail != "" {
		all = append(all, episode.Condition{State: headapi.StateSource, Detail: detail, Brief: brief})
	}
	return all
}

// observe returns what is out of the ordinary now, since when, the gravest first.
func (i *Ingest) observe() []record.Episode {
	i.episodes.Tell(time.Now(), i.conditions())
	return i.episodes.Lasting()
}

// watchConditions notes what is out of the ordinary, and keeps it in the provider's account, so that a restart goes on
// with it.
func (i *Ingest) watchConditions(ctx context.Context) {
	i.background(ctx, "episodes", otherStop, func(ctx context.Context) {
		tick := time.NewTicker(observeEvery)
		defer tick.Stop()
		var bucket *bus.Bucket
		var again time.Time
		for {
			i.lookAside(ctx)
			i.observe()
			if bucket == nil {
				bucket = i.openEpisodes(ctx)
			}
			if bucket != nil && time.Now().After(again) && !i.keepEpisodes(ctx, bucket) {
				again = time.Now().Add(keepAgain)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// openEpisodes opens the bucket and reads what is in it; nil when that is not possible yet.
func (i *Ingest) openEpisodes(ctx context.Context) *bus.Bucket {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	bucket, err := i.conn.Bucket(ctx, bus.BucketOptions{Name: "episodes"})
	if err != nil {
		return nil // it is tried again
	}
	data, _, err := bucket.Get(ctx, record.RoleIngest)
	switch {
	case schema.Is(err, schema.NotFound):
	case err != nil:
		return nil
	default:
		if err := i.episodes.Load(data); err != nil {
			i.log.Warn("what was out of the ordinary before cannot be read and is forgotten", "error", err)
		}
	}
	return bucket
}

// keepEpisodes puts the episodes into the bucket when one has begun or ended, and reports whether none is left to be put.
func (i *Ingest) keepEpisodes(ctx context.Context, bucket *bus.Bucket) bool {
	data, changed, err := i.episodes.Encode()
	if err != nil || !changed {
		return err == nil
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	if _, err := bucket.Put(ctx, record.RoleIngest, data); err != nil {
		i.episodes.Unkept()
		return false
	}
	return true
}

// episodesOf returns episodes as the API shows them.
func episodesOf(all []record.Episode) []api.Episode {
	shown := make([]api.Episode, 0, len(all))
	for _, e := range all {
		s := api.Episode{State: e.State, Detail: e.Detail, From: e.From, Times: e.Times}
		if !e.To.IsZero() {
			s.To = &e.To
		}
		shown = append(shown, s)
	}
	return shown
}
