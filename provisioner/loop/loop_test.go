package loop_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"berth/provisioner/loop"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a world in memory whose steps a test can make fail or hang.
type fake struct {
	mu     sync.Mutex
	states map[string]plan.State
	done   []string
	fail   func(s plan.Step) error // asked before each step, without mu
}

func (f *fake) Observe(context.Context, []record.Provider) (plan.World, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := plan.World{Site: plan.Site{PortBase: 6000}, Providers: map[string]plan.State{}}
	for name, s := range f.states {
		s.Instances, s.Services = maps.Clone(s.Instances), maps.Clone(s.Services)
		w.Providers[name] = s
	}
	return w, nil
}

func (f *fake) Mirror(context.Context) error { return nil }

func (f *fake) Apply(_ context.Context, s plan.Step) error {
	if f.fail != nil {
		if err := f.fail(s); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, s.Key())
	state := f.states[s.Provider]
	switch s.Kind {
	case plan.CreateKeyspace:
		state.Keyspace = plan.Present
	case plan.CreateLog:
		state.Log = plan.Present
	case plan.WritePipeline:
		state.Pipeline = plan.PipelineFingerprint(&s.Record)
	case plan.Start:
		if state.Instances == nil {
			state.Instances, state.Services = map[string]runtime.Instance{}, map[string]record.Service{}
		}
		state.Instances[s.Role] = runtime.Instance{State: runtime.Running, Hash: s.Unit.Hash()}
		state.Services[s.Role] = record.Service{State: "ready"}
		state.Told = map[string]record.Resources{"ingest": {}, "reports": {}}
	case plan.Stop:
		delete(state.Instances, s.Role)
	case plan.Announce:
		state.Announced = true
	case plan.Withdraw:
		state.Announced = false
	default:
		return errors.New("not faked")
	}
	f.states[s.Provider] = state
	return nil
}

func (f *fake) steps(provider string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.done), func(s string) bool { return len(s) < len(provider) || s[:len(provider)] != provider })
}

func provider(name string, slot schema.Slot) record.Provider {
	return record.Provider{Name: name, Slot: slot, Keyspace: name, Wanted: record.Active, Settings: record.DefaultSettings()}
}

// run runs a loop over the fake in a bubble of time until the test ends.
func run(t *testing.T, f *fake) *loop.Loop {
	t.Helper()
	f.states = map[string]plan.State{}
	l := loop.New(loop.Options{World: f, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// after lets the bubble's time pass.
func after(d time.Duration) { <-time.After(d) }

func TestTheLoopAddsInOrderAndRemovesInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		l := run(t, f)
		p := provider("provider1", 1)
		l.Want([]record.Provider{p})
		after(time.Second)
		p.Wanted = record.Removed
		l.Want([]record.Provider{p})
		after(time.Second)
		want := []string{
			"provider1/create keyspace/", "provider1/create log/", "provider1/write settings/",
			"provider1/start/ingest", "provider1/start/reports", "provider1/announce/",
			"provider1/withdraw/", "provider1/stop/reports", "provider1/stop/ingest",
		}
		if d := cmp.Diff(want, f.steps("provider1")); d != "" {
			t.Errorf("steps (-want +got):\n%s", d)
		}
	})
}

func TestAFailedStepIsShownAndTriedAgainWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		f := &fake{fail: func(s plan.Step) error {
			if s.Kind != plan.CreateLog || len(tries) == 4 {
				return nil
			}
			tries = append(tries, time.Now())
			return schema.Errorf(schema.Unavailable, "the log's disk is full")
		}}
		l := run(t, f)
		l.Want([]record.Provider{provider("provider1", 1)})
		after(300 * time.Millisecond)
		steps, _, err := l.Plan(t.Context())
		if err != nil || len(steps) != 1 || steps[0].Kind != plan.Wait || steps[0].Why.String() != "to create log again: the log's disk is full" {
			t.Errorf("plan %v, %v, want a wait that says why", steps, err)
		}
		after(time.Minute)
		if got := f.steps("provider1"); len(got) != 6 {
			t.Errorf("steps %v, want all six", got)
		}
		for i := 1; i < len(tries); i++ {
			want := plan.RetryFirst << (i - 1)
			if gap := tries[i].Sub(tries[i-1]); gap < want || gap > want+100*time.Millisecond {
				t.Errorf("try %d came %v after the one before, want %v", i+1, gap, want)
			}
		}
	})
}

func TestNoProviderWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fake{fail: func(s plan.Step) error {
			if s.Provider == "provider1" {
				<-release
			}
			return nil
		}}
		l := run(t, f)
		l.Want([]record.Provider{provider("provider1", 1), provider("provider2", 2)})
		after(time.Second)
		if got := f.steps("provider2"); len(got) != 6 {
			t.Errorf("provider2 did %v while provider1 hangs, want all six steps", got)
		}
		close(release)
		after(time.Second)
		if got := f.steps("provider1"); len(got) != 6 {
			t.Errorf("provider1 did %v, want all six steps", got)
		}
	})
}

// TestAPortIsNotHeldByWhatIsBeingStarted: a Docker engine opens a port before it says that the container runs.
func TestAPortIsNotHeldByWhatIsBeingStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fake{fail: func(s plan.Step) error {
			if s.Kind == plan.Start {
				<-release
				return errors.New("it ended at once")
			}
			return nil
		}}
		l := run(t, f)
		l.Want([]record.Provider{provider("provider1", 1)})
		after(time.Second)
		f.mu.Lock()
		state := f.states["provider1"]
		state.Held = "another program"
		f.states["provider1"] = state
		f.mu.Unlock()
		held := func() bool {
			steps, world, err := l.Plan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			waits := slices.ContainsFunc(steps, func(s plan.Step) bool { return s.Kind == plan.Wait && strings.Contains(s.Why.String(), "is held by") })
			if waits != (world.Providers["provider1"].Held != "") {
				t.Errorf("the plan is %v, the world %+v", steps, world.Providers["provider1"])
			}
			return waits
		}
		if held() {
			t.Error("while ingest is being started its port is said to be held by another program")
		}
		close(release)
		after(time.Second)
		if !held() {
			t.Error("a port that is held is not waited for")
		}
	})
}

func TestTheLoopHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		l := run(t, f)
		l.Want([]record.Provider{provider("provider1", 1)})
		after(time.Second)
		f.mu.Lock()
		i := f.states["provider1"].Instances["ingest"]
		i.State, i.Ended, i.Failures = runtime.Ended, time.Now(), 1
		f.states["provider1"].Instances["ingest"] = i
		f.mu.Unlock()
		l.Kick()
		after(100 * time.Millisecond)
		got := f.steps("provider1")
		if got[len(got)-1] != "provider1/start/ingest" {
			t.Errorf("last step %s, want ingest started again", got[len(got)-1])
		}
	})
}
