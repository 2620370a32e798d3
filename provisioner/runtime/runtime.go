// Package runtime is the contract of what runs instances: processes of this machine, containers of a Docker engine. A
// runtime is a package below it. It leaves every decision (what should run, when to try again) to provisioner/plan.
//
// Its one invariant: a runtime touches only instances that bear its own installation's label.
package runtime

import (
	"context"
	"io"
	"net/netip"
	"time"

	"berth/schema"
)

// Spec is an instance as it should run. Two specs of equal Hash are the same wish.
type Spec struct {
	Name     string // unique within the installation: <provider>-<role>, or <role> for the house's own
	Provider string // empty: the house's own
	Role     string
	Slot     schema.Slot
	ID       string // of this start: a new one each time
	Hash     string // of everything that makes an instance need a new start
	Version  string // of the program
	Image    string // of a container; empty: the runtime's own for the role. Processes have none

	Resources Resources // what it may use; changed in place, so no part of Hash

	Env     map[string]string // BERTH_...: what the program is told
	Files   map[string][]byte // secret files by the name of the variable that carries their path
	Ports   []Port            // where it is reached from outside
	Folders map[string]string // folders of this machine that it reads and writes, by the path that it knows them under
}

// Port is a port of this machine that an instance serves, by TCP at least. Processes take theirs themselves; other runtimes
// pass on what comes there, to the same number within.
type Port struct {
	Host   string
	Number int
	UDP    bool // by UDP too
}

// Inside is how instances see what lies outside of them. The zero Inside is that of processes, which see what the
// provisioner sees.
type Inside struct {
	Listen  string       // the address that they listen on; empty: that at which they are reached
	Network netip.Prefix // the network in which they, and this machine, reach each other
	Gateway netip.Addr   // this machine in that network
	Folders string       // the folder below which folders of this machine are; empty: they are where they are
}

// Resources bound what an instance may use. Zero values stand for the runtime's own defaults. A runtime that cannot
// bound one of them says so in [Runtime.Bounds].
type Resources struct {
	Memory   int64 `json:"memory,omitempty"`    // in bytes
	MilliCPU int64 `json:"milli_cpu,omitempty"` // 1000 is one core
	PIDs     int64 `json:"pids,omitempty"`
	Files    int64 `json:"files,omitempty"` // open at a time; takes effect at the next start
}

// Usage is what an instance uses now.
type Usage struct {
	Memory int64 // resident, in bytes
}

// State is what an instance does.
type State string

// The states of an instance. One that its runtime is about to start again runs.
const (
	Running State = "running"
	Ended   State = "ended"
)

// Instance is an instance as it is.
type Instance struct {
	Name      string    `json:"name"`
	Provider  string    `json:"provider,omitempty"`
	Role      string    `json:"role"`
	ID        string    `json:"id"`
	Hash      string    `json:"spec"`
	Version   string    `json:"version"`
	State     State     `json:"state"`
	PID       int       `json:"pid,omitempty"`
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended,omitzero"`
	Resources Resources `json:"resources,omitzero"` // as they are
	Reason    string    `json:"reason,omitempty"`   // why it ended: "exit status 2", "signal: killed"
	Error     string    `json:"error,omitempty"`    // what it said last, when it ended by itself since it could not go on
	Host      string    `json:"host,omitempty"`     // the machine or engine it runs on; empty: the provisioner's own
	Image     string    `json:"image,omitempty"`
	Restarts  int       `json:"restarts"`            // by the runtime itself, since it was started
	Failures  int       `json:"failures"`            // ends in a row that came soon after the start, this one included
	Failing   time.Time `json:"failing,omitzero"`    // when the first of them was
	Unhealthy string    `json:"unhealthy,omitempty"` // what a running one's own health check says, after it has failed for a while
}

// LogOptions say which part of an instance's output is asked for.
type LogOptions struct {
	Lines  int  // how many of the last lines; 0: all that is kept
	Follow bool // go on with new lines until the context ends
}

// StopOptions say what goes with an instance.
type StopOptions struct {
	Purge bool // also what it, and those before it under that name, wrote
}

// ExecOptions are a command and what it reads and writes.
type ExecOptions struct {
	Args     []string
	In       io.Reader // nil: nothing
	Out, Err io.Writer
}

// Runtime runs instances. Its methods may be called concurrently, those that name the same instance not.
type Runtime interface {
	Runner
	Access
	// Bounds reports whether the runtime holds instances to their Resources.
	Bounds() bool
	// Outlives reports whether instances go on when the provisioner ends, and are adopted by the next.
	Outlives() bool
	// Close stops what must not outlive the provisioner and releases what the runtime holds. It may be called twice.
	Close(ctx context.Context) error
}

// Runner has instances run, and end.
type Runner interface {
	// Instances returns the installation's instances, also those that ended by themselves and were not started again.
	Instances(ctx context.Context) ([]Instance, error)
	// Changes receives after an instance ended by itself. It never closes; several ends may be one message.
	Changes() <-chan struct{}
	// Check returns what would keep an instance of the spec from being started, as far as can be told before: NotFound
	// when there is no such program or image. It looks at Role, Version and Image alone.
	Check(ctx context.Context, s Spec) error
	// Start starts an instance. One that runs under that name with that hash is left as it is; one with another hash
	// is a Conflict. It returns when the instance runs, not when it is ready.
	Start(ctx context.Context, s Spec) error
	// Update changes in place what a running instance may use. NotFound when it does not run.
	Update(ctx context.Context, name string, r Resources) error
	// Stop asks the named instance to end, waits, and in the end forces it; its secret files go with it. One that does
	// not run is no error, and is forgotten.
	Stop(ctx context.Context, name string, o StopOptions) error
}

// Access looks into instances.
type Access interface {
	// Logs writes what the named instance, and those before it under that name, wrote; NotFound when there was none.
	Logs(ctx context.Context, name string, o LogOptions, w io.Writer) error
	// Usage returns what the running instances use, by name. One that has just ended is left out.
	Usage(ctx context.Context) (map[string]Usage, error)
	// Exec runs a command of the named instance's own program within it and returns its exit code. Invalid where the
	// runtime has no such thing; NotFound when the instance does not run.
	Exec(ctx context.Context, name string, o ExecOptions) (code int, err error)
}
