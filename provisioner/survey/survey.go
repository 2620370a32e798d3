// Package survey looks at the whole installation at one moment: what is wanted, what is, and what every instance answers
// about itself. Metrics and the doctor are made of it. It changes nothing.
//
// Its one invariant: a survey takes bounded time, whoever does not answer; what is not known is missing, never guessed.
package survey

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"berth/internal/bus"
	"berth/internal/metrics"
	"berth/provisioner/control"
	"berth/provisioner/loop"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/provisioner/world"
	"berth/schema/record"
)

// roleProvisioner is the daemon's own role in metrics.
const roleProvisioner = "provisioner"

// answerLimit is how long an instance has to answer.
const answerLimit = time.Second

// Options are what a Surveyor looks with. All are needed.
type Options struct {
	Providers func(ctx context.Context) ([]record.Provider, error)
	Loop      *loop.Loop
	World     *world.World
	House     *bus.Conn // asks the house's own instances
	Web       bool      // whether web is to run
	Logs      func(ctx context.Context, name string, o runtime.LogOptions, w io.Writer) error
}

// Surveyor takes surveys. Its methods may be called concurrently.
type Surveyor struct{ o Options }

// New returns a surveyor.
func New(o Options) *Surveyor { return &Surveyor{o: o} }

// Survey is what was seen.
type Survey struct {
	Providers []record.Provider // all records
	Steps     []plan.Step
	World     plan.World
	Instances []Instance // that are to run, in the order of providers and roles, web last
	Orphans   []plan.Orphan
}

// Instance is an instance that is to run.
type Instance struct {
	Provider string // empty: the house's own
	Role     string
	Runtime  runtime.Instance // the zero value when there is none
	Starts   int              // since the provisioner's start
	Up       bool             // it answered
	// LastError is the error that it logged last, as far as [Surveyor.Explain] has looked.
	LastError string
	Answer    metrics.Answer
}

// Take takes a survey. It fails only when neither records nor instances can be seen.
func (s *Surveyor) Take(ctx context.Context) (*Survey, error) {
	there, err := s.o.World.Instances(ctx)
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	providers, err := s.o.Providers(ctx) // after the instances: see plan.Orphans
	if err != nil {
		return nil, fmt.Errorf("read the providers: %w", err)
	}
	steps, actual, err := s.o.Loop.Plan(ctx)
	if err != nil {
		return nil, err
	}
	v := &Survey{Providers: providers, Steps: steps, World: actual, Orphans: plan.Orphans(providers, there, actual.Site)}
	for i := range providers {
		if p := &providers[i]; p.Wanted == record.Active {
			for _, role := range plan.Roles() {
				v.Instances = append(v.Instances, Instance{Provider: p.Name, Role: role, Runtime: actual.Providers[p.Name].Instances[role]})
			}
		}
	}
	if s.o.Web {
		v.Instances = append(v.Instances, Instance{Role: record.RoleWeb, Runtime: actual.House.Instances[record.RoleWeb]})
	}
	s.ask(ctx, v.Instances)
	return v, nil
}

// ask asks all instances at once.
func (s *Surveyor) ask(ctx context.Context, instances []Instance) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	var asked sync.WaitGroup
	for i := range instances {
		at := &instances[i]
		at.Starts, _ = s.o.World.Starts(at.Provider, at.Role)
		at.Answer = metrics.Answer{Provider: at.Provider, Role: at.Role}
		if at.Runtime.State != runtime.Running {
			continue
		}
		asked.Go(func() {
			data, err := s.question(ctx, at)
			if err != nil {
				return
			}
			samples, err := metrics.ReadAnswer(data)
			at.Up, at.Answer.Samples = err == nil, samples
		})
	}
	asked.Wait()
}

func (s *Surveyor) question(ctx context.Context, at *Instance) (data []byte, err error) {
	subject := metrics.Subject(at.Role, at.Runtime.ID)
	if at.Provider != "" {
		return s.o.World.Ask(ctx, at.Provider, subject)
	}
	err = s.o.House.Ask(ctx, subject, nil, func(chunk []byte) error { data = chunk; return nil })
	return data, err
}

// Explain looks up the last error that each instance logged that does not run, or does not stay.
func (s *Surveyor) Explain(ctx context.Context, v *Survey) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	for i := range v.Instances {
		at := &v.Instances[i]
		if at.Runtime.Name == "" || at.Runtime.State == runtime.Running && at.Runtime.Failures < loopsAfter {
			continue
		}
		var text bytes.Buffer
		if s.o.Logs(ctx, at.Runtime.Name, runtime.LogOptions{Lines: lastLines}, &text) == nil {
			at.LastError = lastError(text.Bytes())
		}
	}
}

// lastLines is in how many lines of a log its last error is looked for.
const lastLines = 50

// lastError returns the error of the last line of a log that has one, empty if none does.
func lastError(log []byte) string {
	last := ""
	for line := range bytes.Lines(log) {
		var l struct {
			Level string `json:"level"`
			Error string `json:"error"`
		}
		if json.Unmarshal(line, &l) == nil && l.Level == slog.LevelError.String() && l.Error != "" {
			last = l.Error
		}
	}
	return last
}

// Answers returns the survey as metrics: what the instances answered, and what is known of them and their providers.
func (v *Survey) Answers() []metrics.Answer {
	var answers []metrics.Answer
	for i := range v.Instances {
		at := &v.Instances[i]
		var known metrics.Sink
		up := 0.0
		if at.Up {
			up = 1
		}
		known.Put(metrics.Up, up)
		known.Put(metrics.InstanceStarts, float64(at.Starts))
		known.Put(metrics.InstanceFailed, float64(at.Runtime.Failures))
		answers = append(answers, at.Answer, metrics.Answer{Provider: at.Provider, Role: at.Role, Samples: known.Samples()})
	}
	for i := range v.Providers {
		p := &v.Providers[i]
		var known metrics.Sink
		state, _ := control.StateOf(p, v.Steps, v.World)
		known.PutStates(metrics.ProviderState, []string{state}, control.States()...)
		answers = append(answers, metrics.Answer{Provider: p.Name, Samples: known.Samples()})
	}
	var known metrics.Sink
	known.Put(metrics.Orphans, float64(len(v.Orphans)))
	return append(answers, metrics.Answer{Role: roleProvisioner, Samples: known.Samples()})
}
