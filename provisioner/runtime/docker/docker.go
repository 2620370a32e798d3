// Package docker runs instances as containers of a Docker engine (API 1.41 and later): not as root, without capabilities,
// on a root file system that nobody writes, within limits, and restarted by the engine itself. Whatever it knows is in the
// engine, under labels: a provisioner that was killed finds all again.
//
// Its one invariant: it touches only containers and networks that bear its own installation's label. A container's name
// ends in the hash of its spec, so old and new never clash, and nothing is ever renamed.
//
// Secret files go into a volume of the container's own, by the engine's API before the start: so they are in no image and
// in no environment, which everybody reads who may inspect containers; they need no folder of this machine, so the engine
// may be another machine's; they are there again when the engine starts a container again, which files in memory are not;
// and the volume, which has no name of its own, goes with its container in one call.
package docker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"berth/provisioner/runtime"
	"berth/schema"
)

// Times.
const (
	// Steady is how long an instance must have run for its end not to count as a failure in a row.
	Steady = 5 * time.Second
	// compareEvery is how often everything is compared with the engine; between, events say what to look at.
	compareEvery = 30 * time.Second
	callLimit    = 20 * time.Second // bounds one call of the engine
	retireLimit  = 30 * time.Second // bounds the removal of a container
	execLimit    = 10 * time.Minute // bounds a command within an instance
)

// Options say which engine, and for whom.
type Options struct {
	Host    string            // of the engine: unix:///var/run/docker.sock, tcp://…; empty: the client's default
	Install string            // the installation's id
	Logs    string            // a folder for what instances wrote that are no more
	Network string            // the network that all instances are in; empty: one of the installation's own is made
	Env     map[string]string // every instance's environment, beside what its spec says
	User    string            // uid:gid that instances run as; empty: this process's own, and 65532 for root
	Image   func(role, version string) string
	LogSize int64         // of one log file, in bytes; default 4 MiB; one instance keeps three
	Grace   time.Duration // between asking an instance to end and forcing it; default 22 s, more than it takes to stop
	Logger  *slog.Logger
}

// Runtime runs containers. It implements [runtime.Runtime].
type Runtime struct {
	o       Options
	cli     *client.Client
	engine  engine
	control network // connects all instances, and this machine
	changes chan struct{}
	view    view
	untidy  atomic.Bool // networks may be left of which nothing is in use

	mu    sync.Mutex // guards locks
	locks map[string]*sync.Mutex

	stop func() // ends the watch of events; may be called twice
}

var _ runtime.Runtime = (*Runtime)(nil)

// engine is what is known of the engine itself.
type engine struct {
	host string // its machine's name; empty: this one
	cpus int
}

// New connects to the engine and makes sure of the network that all instances are in. Errors: Unavailable when the engine
// does not answer, or is too old; Forbidden when it may not be used.
func New(ctx context.Context, o Options) (*Runtime, error) {
	o.defaults()
	if err := os.MkdirAll(o.Logs, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	r := &Runtime{o: o, changes: make(chan struct{}, 1), locks: map[string]*sync.Mutex{}, view: newView()}
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	var err error
	if r.o.Network != "" {
		r.control, err = r.findNetwork(ctx, r.o.Network)
	} else {
		r.control, err = r.ensureNetwork(ctx, r.controlName(), "", true)
	}
	if errdefs.IsNotFound(err) {
		err = schema.Errorf(schema.NotFound, "the Docker engine has no network %s", r.o.Network).WithNext("make it: docker network create --internal %s", r.o.Network)
	}
	if err != nil {
		_ = r.cli.Close() // closes idle connections, and never fails
		return nil, err
	}
	r.sweep(ctx)
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.watch(watch)
	}()
	r.stop = func() {
		cancel()
		<-done
		_ = r.cli.Close() // closes idle connections, and never fails
	}
	return r, nil
}

func (o *Options) defaults() {
	if o.Grace == 0 {
		o.Grace = 22 * time.Second
	}
	if o.LogSize == 0 {
		o.LogSize = 4 << 20
	}
	if o.Image == nil {
		o.Image = func(role, version string) string { return "berth/" + role + ":" + version }
	}
	if o.User == "" {
		uid, gid := os.Getuid(), os.Getgid()
		if uid == 0 {
			uid, gid = 65532, 65532 // whom nobody else is; the folders that instances write are given to it
		}
		o.User = fmt.Sprintf("%d:%d", uid, gid)
	}
	o.Env = maps.Clone(o.Env)
}

// Inside returns how instances see what lies outside of them.
func (r *Runtime) Inside() runtime.Inside {
	return runtime.Inside{Listen: "0.0.0.0", Network: r.control.subnet, Gateway: r.control.gateway, Folders: foldersWithin}
}

// Bounds reports true: the kernel holds containers to their limits.
func (r *Runtime) Bounds() bool { return true }

// Outlives reports true: containers run on, and the engine starts them again.
func (r *Runtime) Outlives() bool { return true }

// Changes receives after an instance ended by itself, or its health changed.
func (r *Runtime) Changes() <-chan struct{} { return r.changes }

func (r *Runtime) changed() {
	select {
	case r.changes <- struct{}{}:
	default:
	}
}

// Close releases the engine. Instances run on.
func (r *Runtime) Close(context.Context) error {
	r.stop()
	return nil
}

// locked holds what is being done with a provider's network together, and returns how to let go.
func (r *Runtime) locked(provider string) (unlock func()) {
	r.mu.Lock()
	l := r.locks[provider]
	if l == nil {
		l = &sync.Mutex{}
		r.locks[provider] = l
	}
	r.mu.Unlock()
	l.Lock()
	return l.Unlock
}
