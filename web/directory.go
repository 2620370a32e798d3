package web

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"berth/internal/bus"
	"berth/schema"
	"berth/schema/record"
)

// directory knows the providers and the running instances, kept current by watching the house's records.
type directory struct {
	log   *slog.Logger
	ready chan struct{} // closed when the providers have been read once
	once  sync.Once

	mu        sync.RWMutex // guards what follows; providers and services are replaced, never changed
	providers map[string]*record.Provider
	unheard   map[string]time.Time        // since when those are wanted of whom no reports instance was known since
	services  map[string][]record.Service // by provider
	changed   chan struct{}               // closed, and replaced, when the services change
}

// How long instances are waited for of a provider that was added so lately.
const (
	hearLimit = 2 * time.Second
	lately    = 2 * time.Minute
)

func newDirectory(log *slog.Logger) *directory {
	return &directory{log: log, ready: make(chan struct{}), changed: make(chan struct{})}
}

// watch keeps the directory current until ctx ends.
func (d *directory) watch(ctx context.Context, providers, services *bus.Bucket) {
	var wg sync.WaitGroup
	wg.Go(func() { _ = services.Watch(ctx, d.setServices) }) // ctx's error alone
	wg.Go(func() { _ = providers.Watch(ctx, d.setProviders) })
	wg.Wait()
}

func (d *directory) setProviders(all map[string]bus.Entry) {
	providers := map[string]*record.Provider{}
	for name, e := range all {
		p := &record.Provider{}
		if err := json.Unmarshal(e.Value, p); err != nil || p.Name != name {
			d.log.Error("a provider's record cannot be read", "provider", name, "error", err)
			continue
		}
		if p.Wanted != record.Removed {
			providers[name] = p
		}
	}
	d.mu.Lock()
	unheard := map[string]time.Time{}
	for name, p := range providers {
		since, waits := d.unheard[name]
		if was := d.providers[name]; was == nil || was.Wanted != p.Wanted {
			since, waits = time.Now(), !hasReports(d.services[name])
		}
		if waits && p.Wanted == record.Active {
			unheard[name] = since
		}
	}
	d.providers, d.unheard = providers, unheard
	d.mu.Unlock()
	d.once.Do(func() { close(d.ready) })
}

func (d *directory) setServices(all map[string]bus.Entry) {
	services := map[string][]record.Service{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		var s record.Service
		if err := json.Unmarshal(all[key].Value, &s); err != nil {
			d.log.Error("a service's record cannot be read", "entry", key, "error", err)
			continue
		}
		services[s.Provider] = append(services[s.Provider], s)
	}
	d.mu.Lock()
	d.services = services
	for name := range d.unheard {
		if hasReports(services[name]) {
			delete(d.unheard, name)
		}
	}
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
}

// provider returns the record of a provider that is not removed, or NotFound. The record is shared: it is not to be changed.
func (d *directory) provider(name string) (*record.Provider, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if p, ok := d.providers[name]; ok {
		return p, nil
	}
	return nil, noProvider()
}

// noProvider says the same of a provider that does not exist and of one that is none of the asker's business.
func noProvider() error { return schema.Errorf(schema.NotFound, "there is no such provider here") }

// all returns the providers that are not removed in order of their slots.
func (d *directory) all() []*record.Provider {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.SortedFunc(maps.Values(d.providers), func(a, b *record.Provider) int { return cmp.Compare(a.Slot, b.Slot) })
}

// instances returns a provider's running instances.
func (d *directory) instances(provider string) []record.Service {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.services[provider]
}

// hasReports reports whether there is a reports instance.
func hasReports(all []record.Service) bool {
	return slices.ContainsFunc(all, func(s record.Service) bool { return s.Role == record.RoleReports && s.Address != "" })
}

// hear waits until a reports instance is known of a provider that was added, or started again, lately: what was announced is
// heard a moment later.
func (d *directory) hear(ctx context.Context, provider string) {
	limit := time.NewTimer(hearLimit)
	defer limit.Stop()
	for {
		d.mu.RLock()
		since, unheard := d.unheard[provider]
		changed := d.changed
		d.mu.RUnlock()
		if !unheard || time.Since(since) > lately {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// reports returns the addresses of the provider's reports instances to be asked, best first: those that are ready in
// random order, then the others.
func (d *directory) reports(provider string) []string {
	var ready, others []string
	for _, s := range d.instances(provider) {
		switch {
		case s.Role != record.RoleReports || s.Address == "":
		case s.State == "ready":
			ready = append(ready, s.Address)
		default:
			others = append(others, s.Address)
		}
	}
	rand.Shuffle(len(ready), func(i, j int) { ready[i], ready[j] = ready[j], ready[i] }) //nolint:gosec // it spreads load, and guards nothing
	return append(ready, others...)
}
