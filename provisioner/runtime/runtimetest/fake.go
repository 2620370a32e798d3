// Package runtimetest gives a runtime for tests: its instances are goroutines that announce themselves as ready, so
// that everything but the programs is real.
package runtimetest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// Fake is a runtime whose instances announce themselves and do nothing else.
type Fake struct {
	// Fail is asked before each start; an error is the start's. It is set before the first use.
	Fail func(s runtime.Spec) error

	changes chan struct{}

	mu        sync.Mutex // guards what follows
	instances map[string]*instance
	specs     []runtime.Spec
	purged    []string
	refuses   error // what ingests answer records with
}

var _ runtime.Runtime = (*Fake)(nil)

type instance struct {
	runtime.Instance
	cancel context.CancelFunc
	conn   *bus.Conn // nil: not connected yet
	done   chan struct{}
}

// New returns a runtime in which nothing runs.
func New() *Fake {
	return &Fake{changes: make(chan struct{}, 1), instances: map[string]*instance{}}
}

// Instances implements runtime.Runtime.
func (f *Fake) Instances(context.Context) ([]runtime.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []runtime.Instance
	for _, name := range slices.Sorted(maps.Keys(f.instances)) {
		all = append(all, f.instances[name].Instance)
	}
	return all, nil
}

// Check implements runtime.Runtime: whatever there is no image of is called "missing".
func (f *Fake) Check(_ context.Context, s runtime.Spec) error {
	if s.Image == MissingImage {
		return schema.Errorf(schema.NotFound, "there is no image %s", s.Image)
	}
	return nil
}

// MissingImage is the one image that the fake has not.
const MissingImage = "missing"

// Start implements runtime.Runtime.
func (f *Fake) Start(ctx context.Context, s runtime.Spec) error {
	if f.Fail != nil {
		if err := f.Fail(s); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.instances[s.Name]; i != nil && i.State == runtime.Running {
		if i.Hash == s.Hash {
			return nil
		}
		return schema.Errorf(schema.Conflict, "%s runs already, of another spec", s.Name)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	i := &instance{cancel: cancel, done: make(chan struct{}), Instance: runtime.Instance{
		Name: s.Name, Provider: s.Provider, Role: s.Role, ID: s.ID, Hash: s.Hash, Version: s.Version, State: runtime.Running,
		PID: 1, Started: time.Now(), Image: s.Image, Resources: s.Resources,
	}}
	f.instances[s.Name] = i
	f.specs = append(f.specs, s)
	go func() {
		defer close(i.done)
		f.announce(ctx, i, s)
	}()
	return nil
}

// announce is all that an instance does, beside saying as an ingest that it goes by all records.
func (f *Fake) announce(ctx context.Context, i *instance, s runtime.Spec) {
	conn, err := bus.Connect(ctx, bus.Options{
		URL: s.Env["BERTH_NATS"], Credentials: s.Files["BERTH_CREDENTIALS"], Trust: bus.Trust{CA: s.Files["BERTH_NATS_CA"]}, Name: s.Name, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return // it was stopped
	}
	defer conn.Close()
	f.mu.Lock()
	i.conn = conn
	f.mu.Unlock()
	if s.Role == record.RoleIngest {
		stop, err := conn.Answer(headapi.Records, func(context.Context, []byte, func([]byte) error) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.refuses
		})
		if err != nil {
			return
		}
		defer stop()
	}
	_ = conn.Announce(ctx, func() record.Service { // it ends by ctx alone
		return record.Service{
			Version: record.Version, Provider: s.Provider, Role: s.Role, Instance: s.ID, Spec: s.Hash, Program: s.Version,
			Address: "127.0.0.1:1", State: "ready",
		}
	}, time.Second)
}

// Crash ends the named instance as if it had ended by itself for the n-th time in a row.
func (f *Fake) Crash(name string, n int) {
	f.mu.Lock()
	i := f.instances[name]
	i.State, i.Failures, i.Ended, i.Reason, i.PID = runtime.Ended, n, time.Now(), "signal: killed", 0
	f.mu.Unlock()
	i.cancel()
	<-i.done
	select {
	case f.changes <- struct{}{}:
	default:
	}
}

// Loop lets the named instance, if it runs, run as one that the runtime has started again n times, each time soon after its start.
func (f *Fake) Loop(name string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.instances[name]; i != nil && i.State == runtime.Running && i.Failures < n {
		i.Restarts, i.Failures, i.Failing, i.Reason = n, n, time.Now(), "exit status 2"
	}
}

// Hang lets the named instance say nothing any more, though it runs. What it said last stays until it expires.
func (f *Fake) Hang(name string) {
	f.mu.Lock()
	i := f.instances[name]
	conn := i.conn
	f.mu.Unlock()
	if conn != nil {
		conn.Close() // before it can say goodbye
	}
	i.cancel()
	<-i.done
}

// Refuse lets every ingest refuse the records that come from now on, as one of another version may.
func (f *Fake) Refuse(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuses = why
}

// Age lets all instances have started so much earlier.
func (f *Fake) Age(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.instances {
		i.Started = i.Started.Add(-d)
	}
}

// Specs returns what was started, in order.
func (f *Fake) Specs() []runtime.Spec {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.specs)
}

// Purged returns the names of the instances whose logs were purged, in order.
func (f *Fake) Purged() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.purged)
}

// Stop implements runtime.Runtime.
func (f *Fake) Stop(_ context.Context, name string, o runtime.StopOptions) error {
	f.mu.Lock()
	i := f.instances[name]
	delete(f.instances, name)
	if o.Purge {
		f.purged = append(f.purged, name)
	}
	f.mu.Unlock()
	if i != nil {
		i.cancel()
		<-i.done
	}
	return nil
}

// Bounds implements runtime.Runtime.
func (f *Fake) Bounds() bool { return true }

// Outlives implements runtime.Runtime.
func (f *Fake) Outlives() bool { return false }

// Update implements runtime.Runtime.
func (f *Fake) Update(_ context.Context, name string, r runtime.Resources) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.instances[name]
	if i == nil || i.State != runtime.Running {
		return schema.Errorf(schema.NotFound, "%s does not run", name)
	}
	i.Resources = r
	return nil
}

// Usage implements runtime.Runtime: a megabyte each.
func (f *Fake) Usage(context.Context) (map[string]runtime.Usage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	usage := map[string]runtime.Usage{}
	for name, i := range f.instances {
		if i.State == runtime.Running {
			usage[name] = runtime.Usage{Memory: 1 << 20}
		}
	}
	return usage, nil
}

// Exec implements runtime.Runtime: it says the arguments.
func (f *Fake) Exec(_ context.Context, name string, o runtime.ExecOptions) (int, error) {
	f.mu.Lock()
	i := f.instances[name]
	f.mu.Unlock()
	if i == nil || i.State != runtime.Running {
		return 0, schema.Errorf(schema.NotFound, "%s does not run", name)
	}
	_, err := fmt.Fprintf(o.Out, "%s runs %q\n", name, o.Args)
	return 0, err
}

// Logs implements runtime.Runtime: two lines that name the instance.
func (f *Fake) Logs(_ context.Context, name string, _ runtime.LogOptions, w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s says one\n%s says two\n", name, name)
	return err
}

// Changes implements runtime.Runtime.
func (f *Fake) Changes() <-chan struct{} { return f.changes }

// Close implements runtime.Runtime.
func (f *Fake) Close(ctx context.Context) error {
	all, err := f.Instances(ctx)
	for _, i := range all {
		_ = f.Stop(ctx, i.Name, runtime.StopOptions{})
	}
	return err
}
