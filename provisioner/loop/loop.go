// Package loop repeats: look, plan, act. It adds, changes, heals, upgrades and removes by nothing else. What to do is
// decided by provisioner/plan, how by provisioner/world.
//
// Its one invariant: of one provider one step is done at a time, and no provider waits for another's.
package loop

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"berth/provisioner/plan"
	"berth/schema"
	"berth/schema/record"
)

// Times of the loop.
const (
	pause = 20 * time.Millisecond // between two rounds, at least
	idle  = 5 * time.Second       // between two rounds, at most
	many  = 8                     // providers worked on at once

	patience = 2 * time.Second // for the loop to be told of a change
)

// World is what the loop looks at and acts on.
type World interface {
	// Observe returns what is, without the house's and the providers' Trouble.
	Observe(ctx context.Context, desired []record.Provider) (plan.World, error)
	// Apply does one step; doing it again is safe.
	Apply(ctx context.Context, s plan.Step) error
	// Mirror brings what the house is told of services up to date; it is called in every round.
	Mirror(ctx context.Context) error
}

// Options are what a Loop works with. All are needed but Now.
type Options struct {
	World  World
	Logger *slog.Logger
	Now    func() time.Time
}

// Loop repeats. Its methods may be called concurrently.
type Loop struct {
	o    Options
	kick chan struct{}

	mu      sync.Mutex // guards what follows
	desired []record.Provider
	known   bool                    // desired has been told
	trouble map[string]plan.Trouble // by provider, "" for the house
	busy    map[string]bool
}

// New returns a loop that begins when Want has been called and Run runs.
func New(o Options) *Loop {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Loop{o: o, kick: make(chan struct{}, 1), trouble: map[string]plan.Trouble{}, busy: map[string]bool{}}
}

// Want tells what is wanted from now on.
func (l *Loop) Want(desired []record.Provider) {
	l.mu.Lock()
	l.desired, l.known = desired, true
	l.mu.Unlock()
	l.Kick()
}

// Heard waits until the loop has been told of the provider's record as it is given, a second or so at most: what it
// plans then is planned by it.
func (l *Loop) Heard(ctx context.Context, p *record.Provider) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	want, err := json.Marshal(p)
	if err != nil {
		return // plain records of ours
	}
	for !l.knows(p.Name, want) && wait(ctx, pause, nil) {
	}
}

func (l *Loop) knows(name string, want []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.desired {
		if l.desired[i].Name == name {
			have, err := json.Marshal(l.desired[i])
			return err == nil && bytes.Equal(have, want)
		}
	}
	return false
}

// Kick asks for another round soon.
func (l *Loop) Kick() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Plan returns what the loop would do now, and the world by which it judges. It does nothing.
func (l *Loop) Plan(ctx context.Context) ([]plan.Step, plan.World, error) {
	return l.planWith(ctx, nil)
}

// PlanFor returns what the loop would do for a provider if its record were the given one, which may be new, and nothing had
// gone wrong before. It does nothing.
func (l *Loop) PlanFor(ctx context.Context, p *record.Provider) ([]plan.Step, error) {
	steps, _, err := l.planWith(ctx, p)
	return slices.DeleteFunc(steps, func(s plan.Step) bool { return s.Provider != p.Name }), err
}

// planWith plans with a record in the place of its provider's, if one is given.
func (l *Loop) planWith(ctx context.Context, p *record.Provider) ([]plan.Step, plan.World, error) {
	l.mu.Lock()
	desired, busy := slices.Clone(l.desired), maps.Clone(l.busy)
	l.mu.Unlock()
	if p != nil {
		desired = append(slices.DeleteFunc(desired, func(d record.Provider) bool { return d.Name == p.Name }), *p)
	}
	world, err := l.o.World.Observe(ctx, desired)
	if err != nil {
		return nil, world, err
	}
	l.mu.Lock()
	for name, t := range l.trouble {
		if name == "" {
			world.House.Trouble = t
			continue
		}
		if p != nil && name == p.Name {
			continue // it is tried anew
		}
		state := world.Providers[name]
		state.Trouble = t
		world.Providers[name] = state
	}
	maps.Copy(busy, l.busy)
	for name := range busy { // a Docker engine opens a port before it says that the container runs
		if state, ok := world.Providers[name]; ok {
			state.Held = ""
			world.Providers[name] = state
		}
	}
	l.mu.Unlock()
	return plan.Plan(desired, world, l.o.Now()), world, nil
}

// Run repeats until ctx ends, and returns when no step is being done any more.
func (l *Loop) Run(ctx context.Context) {
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, many)
		quiet bool // the last look went wrong, and that was said
	)
	defer wg.Wait()
	for {
		next := idle
		if steps, ok := l.look(ctx, &quiet); ok {
			next = l.act(ctx, steps, slots, &wg)
		}
		if !wait(ctx, pause, nil) || !wait(ctx, max(next-pause, 0), l.kick) {
			return
		}
	}
}

func (l *Loop) look(ctx context.Context, quiet *bool) ([]plan.Step, bool) {
	l.mu.Lock()
	known := l.known
	l.mu.Unlock()
	if !known {
		return nil, false
	}
	steps, _, err := l.Plan(ctx)
	if err == nil {
		err = l.o.World.Mirror(ctx)
	}
	if err != nil && ctx.Err() == nil && !*quiet {
		l.o.Logger.Warn("the world cannot be seen or told", "error", err)
	}
	*quiet = err != nil
	return steps, true
}

// act begins what can be done for each provider that nothing is being done for, and returns when to look again.
func (l *Loop) act(ctx context.Context, steps []plan.Step, slots chan struct{}, wg *sync.WaitGroup) time.Duration {
	next := idle
	for len(steps) > 0 {
		name := steps[0].Provider
		n := slices.IndexFunc(steps, func(s plan.Step) bool { return s.Provider != name })
		if n < 0 {
			n = len(steps)
		}
		group := steps[:n:n]
		steps = steps[n:]
		for _, s := range group {
			if s.Kind == plan.Wait && !s.Until.IsZero() {
				next = min(next, max(s.Until.Sub(l.o.Now()), 0))
			}
		}
		group = slices.DeleteFunc(group, func(s plan.Step) bool { return s.Kind == plan.Wait })
		if len(group) == 0 || !l.take(name) {
			continue
		}
		wg.Go(func() {
			defer l.Kick()
			defer l.release(name)
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				l.work(ctx, group)
			case <-ctx.Done():
			}
		})
	}
	return next
}

// Do does a step that is no part of the plan, once nothing else is being done for its provider.
func (l *Loop) Do(ctx context.Context, s plan.Step) error {
	for !l.take(s.Provider) {
		if !wait(ctx, pause, nil) {
			return context.Cause(ctx)
		}
	}
	defer l.Kick()
	defer l.release(s.Provider)
	if err := l.o.World.Apply(ctx, s); err != nil {
		return err
	}
	l.o.Logger.Info("step done", "provider", s.Provider, "step", string(s.Kind), "role", s.Role, "reason", s.Why.String())
	return nil
}

func (l *Loop) take(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[name] {
		return false
	}
	l.busy[name] = true
	return true
}

func (l *Loop) release(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, name)
}

// work does the steps of one provider until one fails.
func (l *Loop) work(ctx context.Context, steps []plan.Step) {
	for _, s := range steps {
		if ctx.Err() != nil {
			return
		}
		begun := l.o.Now()
		err := l.o.World.Apply(ctx, s)
		if ctx.Err() != nil {
			return // cut off: the next start goes on from here
		}
		if err != nil {
			l.failed(s, err)
			return
		}
		l.done(s)
		l.o.Logger.Info("step done", "provider", s.Provider, "step", string(s.Kind), "role", s.Role, "reason", s.Why.String(), "took", l.o.Now().Sub(begun).Round(time.Millisecond))
	}
}

// failed takes note of a step that went wrong, and says so when it is something new.
func (l *Loop) failed(s plan.Step, err error) {
	l.mu.Lock()
	t := l.trouble[s.Provider]
	news := t.Step != s.Key() || t.Text != schema.Show(err)
	if t.Step != s.Key() {
		t = plan.Trouble{Step: s.Key()}
	}
	t.Text, t.At = schema.Show(err), l.o.Now()
	t.Times++
	l.trouble[s.Provider] = t
	l.mu.Unlock()
	if news {
		l.o.Logger.Warn("step went wrong, it is tried again", "provider", s.Provider, "step", string(s.Kind), "role", s.Role, "error", err)
	}
}

func (l *Loop) done(s plan.Step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trouble[s.Provider].Step == s.Key() {
		delete(l.trouble, s.Provider)
	}
}

// wait waits for d or for early, and reports whether ctx goes on.
func wait(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-early:
	case <-ctx.Done():
		return false
	}
	return ctx.Err() == nil
}
