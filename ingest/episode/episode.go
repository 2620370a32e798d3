// Package episode keeps what is out of the ordinary with an instance, since when, and what was before.
//
// It is told, again and again, all that holds now; what is no longer said has ended. It leaves finding out to its caller,
// and keeping its [Keeper.Encode] where a restart finds it. Its one invariant: an episode that is told again after a
// restart, or soon after it ended, is the same one, so that its beginning is when the trouble began.
package episode

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"berth/schema"
	"berth/schema/record"
)

const (
	// Again is how soon after its end an episode that begins again is the same one: what is held by thresholds comes
	// and goes.
	Again = time.Minute
	// most is how many episodes are kept.
	most = 20
)

// Condition is something out of the ordinary that holds now.
type Condition struct {
	State  string // one word; of each state there is one episode at a time
	Detail string
	Brief  time.Duration // an episode that ends within it was nothing to be kept
}

// Keeper keeps episodes. It is safe for concurrent use.
type Keeper struct {
	mu      sync.Mutex // guards what follows
	order   []string   // states in the order in which they were told last, the gravest first
	all     []lasting  // in the order in which they began
	changed bool       // since Encode
}

// lasting is an episode, also one that has ended.
type lasting struct {
	record.Episode
	brief time.Duration
}

// Tell takes all conditions that hold now, the gravest first.
func (k *Keeper) Tell(now time.Time, conditions []Condition) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now = now.UTC().Round(0)
	k.order = k.order[:0]
	for _, c := range conditions {
		k.order = append(k.order, c.State)
		e := k.of(c.State, now)
		if e == nil {
			k.all = append(k.all, lasting{Episode: record.Episode{State: c.State, From: now}})
			e = &k.all[len(k.all)-1]
			k.changed = true
		}
		if !e.To.IsZero() {
			e.To = time.Time{}
			e.Times++
			k.changed = true
		}
		e.Detail, e.brief = c.Detail, c.Brief
	}
	k.end(now)
}

// of returns the episode that a condition belongs to, nil when it begins one.
func (k *Keeper) of(state string, now time.Time) *lasting {
	for i := len(k.all) - 1; i >= 0; i-- {
		if e := &k.all[i]; e.State == state && (e.To.IsZero() || now.Sub(e.To) < Again) {
			return e
		}
	}
	return nil
}

// end ends what was not told, and forgets what is too old or was too short.
func (k *Keeper) end(now time.Time) {
	for i := range k.all {
		if e := &k.all[i]; e.To.IsZero() && !slices.Contains(k.order, e.State) {
			e.To = now
			k.changed = true
		}
	}
	k.all = slices.DeleteFunc(k.all, func(e lasting) bool {
		return !e.To.IsZero() && e.To.Sub(e.From) < e.brief
	})
	for i := 0; len(k.all) > most && i < len(k.all); {
		if k.all[i].To.IsZero() {
			i++
			continue
		}
		k.all = slices.Delete(k.all, i, i+1)
	}
}

// Lasting returns the episodes that last, the gravest first.
func (k *Keeper) Lasting() []record.Episode {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lasting()
}

func (k *Keeper) lasting() []record.Episode {
	var now []record.Episode
	for _, e := range k.all {
		if e.To.IsZero() {
			now = append(now, e.Episode)
		}
	}
	slices.SortStableFunc(now, func(a, b record.Episode) int {
		return cmp.Compare(slices.Index(k.order, a.State), slices.Index(k.order, b.State))
	})
	return now
}

// All returns the episodes that last, the gravest first, then those that have ended, the newest first.
func (k *Keeper) All() []record.Episode {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.episodes()
}

func (k *Keeper) episodes() []record.Episode {
	all := k.lasting()
	var ended []record.Episode
	for _, e := range k.all {
		if !e.To.IsZero() {
			ended = append(ended, e.Episode)
		}
	}
	slices.SortStableFunc(ended, func(a, b record.Episode) int { return b.To.Compare(a.To) })
	return append(all, ended...)
}

// Encode returns what is to be kept; changed is whether anything began or ended since the last time. When it could not
// be kept, say so by Unkept.
func (k *Keeper) Encode() (data []byte, changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.changed {
		return nil, false, nil
	}
	if data, err = json.Marshal(record.Episodes{Version: record.Version, Episodes: k.episodes()}); err != nil {
		return nil, true, fmt.Errorf("write episodes: %w", err)
	}
	k.changed = false
	return data, true, nil
}

// Unkept says that what Encode returned was not kept.
func (k *Keeper) Unkept() {
	k.mu.Lock()
	k.changed = true
	k.mu.Unlock()
}

// Load takes what an instance before this one kept. What lasted then lasts until the next Tell says otherwise; what has
// been told already begins when it did then.
func (k *Keeper) Load(data []byte) error {
	var kept record.Episodes
	if err := json.Unmarshal(data, &kept); err != nil {
		return fmt.Errorf("read episodes: %w", err)
	}
	if kept.Version > record.Version {
		return schema.Errorf(schema.Conflict, "the episodes are of version %d", kept.Version)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	told := k.all
	k.all = nil
	for _, e := range slices.Backward(kept.Episodes) {
		k.all = append(k.all, lasting{Episode: e})
	}
	slices.SortStableFunc(k.all, func(a, b lasting) int { return a.From.Compare(b.From) })
	for _, t := range told {
		if e := k.of(t.State, t.From); e != nil && t.To.IsZero() {
			e.To, e.Detail, e.brief = time.Time{}, t.Detail, t.brief
		} else {
			k.all = append(k.all, t)
		}
	}
	k.changed = true
	return nil
}
