// Package world is the provisioner's eyes and hands: it observes what is, and does the steps of a plan, one by one.
// Every decision is in provisioner/plan; when to look and to act is in provisioner/loop.
//
// Its one invariant: each step may be done again, and may be cut off anywhere.
package world

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"berth/internal/bus"
	"berth/internal/houseapi"
	"berth/internal/keyspace"
	"berth/provisioner/house"
	"berth/provisioner/plan"
	"berth/provisioner/ports"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// stepLimit bounds one step.
const stepLimit = 45 * time.Second

// Options are what a World observes and acts with. All but Certificates and Disk are needed.
type Options struct {
	Site         plan.Site    // Certificate and Front are filled in
	Certificates Certificates // of the ports; nil: they have none
	Front        Front        // of web
	NATS         string       // its URL
	Reached      string       // the URL by which instances reach it; empty: the same
	Replicas     int          // of the streams and buckets of providers; 0: one
	Trust        bus.Trust    // of NATS by TLS, for the instances too
	Authority    *bus.Authority
	House        *house.House
	Backend      keyspace.Backend
	Keyspaces    string // the backend's URL, for the instances
	Secret       []byte // of the house, for web
	Mail         []byte // the settings of the mail server, for web; empty: there is none
	Runtime      runtime.Runtime
	Inside       runtime.Inside          // how its instances see what lies outside
	Seen         func(url string) string // what a URL of keyspaces is for them; nil: the same
	Folder       string                  // in which keyspaces are that are folders; empty: they are none, or are seen where they are
	Disk         func() houseapi.Disk    // whether there is room on the disks; nil: nobody knows
	Logger       *slog.Logger
}

// World observes and acts. Its methods may be called concurrently, Apply not for one provider.
type World struct {
	o       Options
	changes chan struct{}

	mirroring sync.Mutex // held while services are put into the house, so that none is put there after it was withdrawn; taken before mu

	mu        sync.Mutex // guards what follows, and what the providers hold
	providers map[string]*provider
	hearing   hearing           // of the house's own instances
	looked    time.Time         // last
	awake     time.Time         // when the provisioner looked again after a pause that was too long
	known     map[string]*known // of instances, by name
}

// known is what is known of an instance by its name, from the provisioner's own start on.
type known struct {
	starts, again int    // of all starts, how many were after it had ended, or hung, by itself
	seen          string // ID of what was seen last
	own, before   int    // how often its runtime has started it again, and those before it
	id            string // of what was last told what it may use
	told          record.Resources
	halted        *plan.Halted // nil: it is not in a crash loop
}

// provider is what is known of a provider; a new provisioner knows nothing.
type provider struct {
	keyspace, log plan.Knowledge
	access        string    // fingerprint of the secret that was granted last
	pipeline      string    // fingerprint of the pipeline record that was written last
	written       uint64    // its revision
	certificate   string    // what its port's certificate was made of
	renew         time.Time // when that is to be replaced
	announced     bool
	doubted       string // ID of the instance whose repeated ends made what is known doubtful
	conn          *bus.Conn
	services      map[string]record.Service // all of its bucket "services", by key
	registry      *bus.Bucket               // "services"
	hearing       hearing
	mirrored      map[string]mirrored // what was put into the house, by key there
	stop          func()              // ends the watch of services and closes conn
}

// New returns a world of which nothing is known.
func New(o Options) *World {
	return &World{o: o, changes: make(chan struct{}, 1), providers: map[string]*provider{}, known: map[string]*known{}}
}

// Changes receives when an instance has said something new of itself.
func (w *World) Changes() <-chan struct{} { return w.changes }

func (w *World) changed() {
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

// Observe returns what is.
func (w *World) Observe(ctx context.Context, desired []record.Provider) (plan.World, error) {
	instances, err := w.o.Runtime.Instances(ctx)
	if err != nil {
		return plan.World{}, fmt.Errorf("list instances: %w", err)
	}
	site := w.o.Site
	if w.o.Certificates != nil {
		site.Certificate = w.o.Certificates.Wanted()
	}
	site.Front = w.o.Front.fingerprint()
	world := plan.World{Site: site, Providers: map[string]plan.State{}, House: plan.State{Instances: map[string]runtime.Instance{}}}
	byProvider := map[string]map[string]runtime.Instance{}
	for _, i := range instances {
		if i.Provider == "" {
			world.House.Instances[i.Role] = i
			continue
		}
		if byProvider[i.Provider] == nil {
			byProvider[i.Provider] = map[string]runtime.Instance{}
		}
		byProvider[i.Provider][i.Role] = i
	}
	w.mu.Lock()
	for name, p := range w.providers {
		state := p.state(byProvider[name])
		w.remember(name, &state)
		world.Providers[name] = state
	}
	w.remember("", &world.House)
	w.mu.Unlock()
	for name, roles := range byProvider {
		if _, ok := world.Providers[name]; !ok {
			world.Providers[name] = plan.State{Instances: roles}
		}
	}
	for i := range desired {
		state := world.Providers[desired[i].Name]
		if desired[i].Wanted == record.Active && state.Instances[record.RoleIngest].State != runtime.Running {
			state.Held = ports.Holder(ctx, w.o.Site.Host, desired[i].Slot.Port(w.o.Site.PortBase))
			world.Providers[desired[i].Name] = state
		}
	}
	w.listen(ctx, &world, instances)
	return world, nil
}

// Doubt forgets what is known of keyspaces, logs and settings: all are made sure of again.
func (w *World) Doubt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.providers {
		p.doubt()
	}
}

// doubt forgets what is known of what the provider's instances stand on. World.mu is held.
func (p *provider) doubt() {
	p.keyspace, p.log, p.pipeline, p.certificate = plan.Unknown, plan.Unknown, "", ""
}

// state returns what is of one provider. World.mu is held.
func (p *provider) state(instances map[string]runtime.Instance) plan.State {
	for _, i := range instances {
		// What keeps ending may stand on something that is gone: make sure of it again, once for each instance.
		if (i.State == runtime.Ended || i.Restarts > 0) && i.Failures > 1 && p.doubted != i.ID {
			p.doubted = i.ID
			p.doubt()
		}
	}
	state := plan.State{
		Keyspace: p.keyspace, Access: p.access, Log: p.log, Pipeline: p.pipeline, Announced: p.announced, Instances: instances,
		Certificate: p.certificate, Renew: p.renew,
		Services: map[string]record.Service{},
	}
	for role, i := range instances {
		if s, ok := p.services[record.Service{Role: role, Instance: i.ID}.Key()]; ok && i.State == runtime.Running {
			state.Services[role] = s
		}
	}
	return state
}

// Apply does one step of a plan.
func (w *World) Apply(ctx context.Context, s plan.Step) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	p := &s.Record
	switch s.Kind {
	case plan.CreateKeyspace:
		access := plan.Access(p)
		return w.know(s.Provider, func(p *provider) { p.keyspace, p.access = plan.Present, access }, w.createKeyspace(ctx, p))
	case plan.DropKeyspace:
		return w.know(s.Provider, func(p *provider) { p.keyspace = plan.Absent }, w.o.Backend.Drop(ctx, p.Keyspace))
	case plan.CreateLog:
		return w.createLog(ctx, p)
	case plan.RemoveLog:
		return w.removeLog(ctx, p)
	case plan.WritePipeline:
		return w.writePipeline(ctx, p)
	case plan.WriteCertificate:
		return w.writeCertificate(ctx, p.Name)
	case plan.Start:
		return w.start(ctx, s)
	case plan.Stop:
		if s.Unit != nil { // what comes after it: what cannot be started must not cost what runs
			if err := w.o.Runtime.Check(ctx, runtime.Spec{Role: s.Unit.Role, Version: s.Unit.Version, Image: s.Unit.Image}); err != nil {
				return err
			}
		}
		return w.o.Runtime.Stop(ctx, plan.Unit{Provider: s.Provider, Role: s.Role}.Name(), runtime.StopOptions{})
	case plan.Halt:
		return w.halt(ctx, plan.Unit{Provider: s.Provider, Role: s.Role}.Name())
	case plan.Update:
		return w.update(ctx, s.Unit)
	case plan.Keep:
		return w.o.House.Keep(ctx, p, s.Role)
	case plan.Revert:
		return w.o.House.Revert(ctx, p, s.Role, s.Why.String())
	case plan.Announce:
		return w.announce(ctx, s.Provider)
	case plan.Withdraw:
		w.set(s.Provider, func(p *provider) { p.announced = false })
		return w.Mirror(ctx)
	case plan.Forget:
		if err := w.o.House.Forget(ctx, s.Provider); err != nil {
			return err
		}
		w.mu.Lock()
		delete(w.providers, s.Provider)
		for _, role := range plan.Roles() {
			delete(w.known, plan.Unit{Provider: s.Provider, Role: role}.Name())
		}
		w.mu.Unlock()
		return nil
	case plan.Wait:
		return nil
	default:
		return fmt.Errorf("do %s: no such kind of step", s)
	}
}

// know takes note of what a step has made true, unless it went wrong.
func (w *World) know(name string, note func(*provider), err error) error {
	if err == nil {
		w.set(name, note)
	}
	return err
}

func (w *World) set(name string, note func(*provider)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.providers[name]
	if p == nil {
		p = &provider{}
		w.providers[name] = p
	}
	note(p)
}

// Ask puts a question on the provider's account and returns the last chunk of the answer. Errors: Unavailable when
// nobody answers before ctx ends.
func (w *World) Ask(ctx context.Context, provider, subject string) (data []byte, err error) {
	conn, err := w.connected(provider)
	if err != nil {
		return nil, err
	}
	err = conn.Ask(ctx, subject, nil, func(chunk []byte) error { data = chunk; return nil })
	return data, err
}

// Close disconnects from all providers' accounts.
func (w *World) Close() {
	w.mu.Lock()
	var stops []func()
	for _, p := range w.providers {
		if p.stop != nil {
			stops = append(stops, p.stop)
			p.stop, p.conn, p.registry = nil, nil, nil
		}
	}
	w.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// Bucket returns the bucket of a provider's own records.
func (w *World) Bucket(ctx context.Context, name string) (*bus.Bucket, error) {
	conn, err := w.connected(name)
	if err != nil {
		return nil, err
	}
	return conn.Bucket(ctx, bus.BucketOptions{Name: "pipeline"})
}

// Seen returns the bucket of what a provider's instances keep of what they have seen.
func (w *World) Seen(ctx context.Context, name string) (*bus.Bucket, error) {
	conn, err := w.connected(name)
	if err != nil {
		return nil, err
	}
	return conn.Bucket(ctx, bus.BucketOptions{Name: "episodes"})
}

// errNotYet is of a provider whose log has not been made.
var errNotYet = errors.New("not connected")

func (w *World) connected(name string) (*bus.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.providers[name]; p != nil && p.conn != nil {
		return p.conn, nil
	}
	return nil, schema.Errorf(schema.Unavailable, "the log of %s is not ready", name).
		WithNext("see what it waits for: provisioner show %s", name).WithCause(errNotYet)
}
