// Package runtime is the contract of what runs instances: processes of this machine, later containers. A runtime is a
// package below it. It leaves every decision (what should run, when to try again) to provisioner/plan.
//
// Its one invariant: a runtime touches only instances that bear its own installation's label.
package runtime

import (
	"context"
	"io"
	"time"
)

// Spec is an instance as it should run. Two specs of equal Hash are the same wish.
type Spec struct {
	Name     string // unique within the installation: <provider>-<role>, or <role> for the house's own
	Provider string // empty: the house's own
	Role     string
	ID       string // of this start: a new one each time
	Hash     string // of everything that makes an instance need a new start
	Version  string // of the program

	Env   map[string]string // BERTH_...: what the program is told
	Files map[string][]byte // secret files by the name of the variable that carries their path
}

// State is what an instance does.
type State string

// The states of an instance.
const (
	Running State = "running"
	Ended   State = "ended"
)

// Instance is an instance as it is.
type Instance struct {
	Name     string    `json:"name"`
	Provider string    `json:"provider,omitempty"`
	Role     string    `json:"role"`
	ID       string    `json:"id"`
	Hash     string    `json:"spec"`
	Version  string    `json:"version"`
	State    State     `json:"state"`
	PID      int       `json:"pid,omitempty"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"`
	Reason   string    `json:"reason,omitempty"` // why it ended: "exit status 2", "signal: killed"
	Error    string    `json:"error,omitempty"`  // what it said last, when it ended by itself since it could not go on
	Failures int       `json:"failures"`         // ends in a row that came soon after the start, this one included
	Failing  time.Time `json:"failing,omitzero"` // when the first of them was
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

// Runtime runs instances. Its methods may be called concurrently, those that name the same instance not.
type Runtime interface {
	// Instances returns the installation's instances, also those that ended by themselves and were not started again.
	Instances(ctx context.Context) ([]Instance, error)
	// Start starts an instance. One that runs under that name with that hash is left as it is; one with another hash
	// is a Conflict. It returns when the instance runs, not when it is ready.
	Start(ctx context.Context, s Spec) error
	// Stop asks the named instance to end, waits, and in the end forces it; its secret files go with it. One that does
	// not run is no error, and is forgotten.
	Stop(ctx context.Context, name string, o StopOptions) error
	// Logs writes what the named instance, and those before it under that name, wrote; NotFound when there was none.
	Logs(ctx context.Context, name string, o LogOptions, w io.Writer) error
	// Changes receives after an instance ended by itself. It never closes; several ends may be one message.
	Changes() <-chan struct{}
	// Close stops what must not outlive the provisioner and releases what the runtime holds. It may be called twice.
	Close(ctx context.Context) error
}
