package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/provisioner/runtime"
	"berth/schema/record"
)

// MirrorEvery is how often services are put into the house again, so that they do not expire there.
const MirrorEvery = 5 * time.Second

// mirrored is a service as it was last put into the house.
type mirrored struct {
	value string
	at    time.Time
}

// Mirror puts what announced providers' running instances say of themselves into the house's services, and takes out
// what no longer runs or is no longer announced. Web finds instances there.
func (w *World) Mirror(ctx context.Context) error {
	w.mirroring.Lock()
	defer w.mirroring.Unlock()
	return w.mirror(ctx, "")
}

// announce announces a provider. It is not before it is true: who waits for it goes on then.
func (w *World) announce(ctx context.Context, name string) error {
	w.mirroring.Lock()
	defer w.mirroring.Unlock()
	return w.know(name, func(p *provider) { p.announced = true }, w.mirror(ctx, name))
}

// mirror is Mirror, which also announces one provider. World.mirroring is held.
func (w *World) mirror(ctx context.Context, announce string) error {
	instances, err := w.o.Runtime.Instances(ctx)
	if err != nil {
		return fmt.Errorf("list instances: %w", err)
	}
	running := map[string]bool{} // by key in the house
	for _, i := range instances {
		if i.State == runtime.Running {
			running[i.Provider+"."+i.Role+"."+i.ID] = true
		}
	}
	w.mu.Lock()
	puts, deletes := map[string]string{}, []string{}
	for name, p := range w.providers {
		current := map[string]bool{}
		for key, s := range p.services {
			if key = name + "." + key; !p.announced && name != announce || !running[key] {
				continue
			}
			current[key] = true
			value, err := json.Marshal(s)
			if err != nil {
				continue // a service that was read can be written
			}
			if was, ok := p.mirrored[key]; !ok || was.value != string(value) || time.Since(was.at) >= MirrorEvery {
				puts[key] = string(value)
				p.note(key, string(value))
			}
		}
		for key := range p.mirrored {
			if !current[key] {
				deletes = append(deletes, key)
				delete(p.mirrored, key)
			}
		}
	}
	w.mu.Unlock()
	slices.Sort(deletes)
	return w.put(ctx, puts, deletes)
}

// note takes note of what is put into the house. World.mu is held.
func (p *provider) note(key, value string) {
	if p.mirrored == nil {
		p.mirrored = map[string]mirrored{}
	}
	p.mirrored[key] = mirrored{value: value, at: time.Now()}
}

// unnote forgets what was noted of a service that could not be put.
func (w *World) unnote(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.providers {
		delete(p.mirrored, key)
	}
}

func (w *World) put(ctx context.Context, puts map[string]string, deletes []string) error {
	services := w.o.House.Services()
	var errs []error
	for key, value := range puts {
		if _, err := services.Put(ctx, key, []byte(value)); err != nil {
			w.unnote(key)
			errs = append(errs, fmt.Errorf("announce %s: %w", key, err))
		}
	}
	for _, key := range deletes {
		if err := services.Delete(ctx, key); err != nil {
			errs = append(errs, fmt.Errorf("withdraw %s: %w", key, err))
		}
	}
	return errors.Join(errs...)
}

// Services returns what a provider's running instances say of themselves, by role.
func (w *World) Services(ctx context.Context, name string) (map[string]record.Service, error) {
	world, err := w.Observe(ctx, nil)
	if err != nil {
		return nil, err
	}
	return world.Providers[name].Services, nil
}
