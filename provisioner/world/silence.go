package world

import (
	"context"
	"time"

	"berth/internal/bus"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

const (
	// quiet is how long an instance need not renew its entry in the registry before the registry is asked for it.
	quiet = 10 * time.Second
	// asleep is a time between two looks which is so long that the provisioner itself, or the machine, stood still:
	// then nobody else can be blamed for silence.
	asleep = 15 * time.Second
	// askLimit bounds all questions of one look.
	askLimit = 2 * time.Second
)

// hearing is what was heard of a provider's instances, or of the house's.
type hearing struct {
	renewed map[string]renewal // by key in the registry
	deaf    time.Time          // when the registry could not be read for the last time
}

// renewal is when an entry was last seen to be new.
type renewal struct {
	revision uint64
	at       time.Time
}

// note takes note of an entry. World.mu is held.
func (h *hearing) note(key string, revision uint64, now time.Time) {
	if h.renewed == nil {
		h.renewed = map[string]renewal{}
	}
	if h.renewed[key].revision != revision {
		h.renewed[key] = renewal{revision, now}
	}
}

// question is an instance that has not been heard of for a while.
type question struct {
	instance runtime.Instance
	hearing  *hearing
	registry *bus.Bucket
}

func (q *question) key() string {
	return record.Service{Role: q.instance.Role, Instance: q.instance.ID}.Key()
}

// listen adds to the world which running instances say nothing. Only a registry that can be read says so.
func (w *World) listen(ctx context.Context, world *plan.World, instances []runtime.Instance) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	for _, q := range w.unheard(instances) {
		_, revision, err := q.registry.Get(ctx, q.key())
		s, silent := w.judge(&q, revision, err)
		if !silent {
			continue
		}
		state := world.House
		if q.instance.Provider != "" {
			state = world.Providers[q.instance.Provider]
		}
		if state.Silent == nil {
			state.Silent = map[string]plan.Silence{}
		}
		state.Silent[q.instance.Role] = s
		if q.instance.Provider == "" {
			world.House = state
		} else {
			world.Providers[q.instance.Provider] = state
		}
	}
}

// unheard returns the running instances that have not been heard of for a while, and forgets what was heard of those
// that are no more.
func (w *World) unheard(instances []runtime.Instance) []question {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Sub(w.looked) > asleep {
		w.awake = now
	}
	w.looked = now
	var unheard []question
	current := map[*hearing]map[string]renewal{&w.hearing: {}}
	for _, p := range w.providers {
		current[&p.hearing] = map[string]renewal{}
	}
	for _, i := range instances {
		q := question{instance: i, hearing: &w.hearing, registry: w.o.House.Services()}
		if i.Provider != "" {
			p := w.providers[i.Provider]
			if p == nil || p.registry == nil {
				continue // nothing can be heard of it yet
			}
			q.hearing, q.registry = &p.hearing, p.registry
		}
		if i.State != runtime.Running {
			continue
		}
		heard, ok := q.hearing.renewed[q.key()]
		if ok {
			current[q.hearing][q.key()] = heard
		}
		if now.Sub(latest(heard.at, i.Started)) > quiet {
			unheard = append(unheard, q)
		}
	}
	for h, renewed := range current {
		h.renewed = renewed
	}
	return unheard
}

// judge returns since when an instance has said nothing, by what the registry answered.
func (w *World) judge(q *question, revision uint64, err error) (plan.Silence, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		q.hearing.note(q.key(), revision, now)
		return plan.Silence{}, false
	case !schema.Is(err, schema.NotFound):
		q.hearing.deaf = now
		return plan.Silence{}, false
	}
	heard, ok := q.hearing.renewed[q.key()]
	return plan.Silence{Since: latest(heard.at, q.instance.Started, q.hearing.deaf, w.awake), Never: !ok}, true
}

func latest(times ...time.Time) (last time.Time) {
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}
