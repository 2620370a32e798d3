package docker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"berth/provisioner/runtime"
)

// view is what was last seen of the installation's containers. Events tell which of them to look at again; when none can
// be heard, and every half minute, all are.
type view struct {
	mu      sync.Mutex         // guards what follows; it is held while the engine is asked
	seen    map[string]seen    // by container
	whole   time.Time          // when everything was looked at
	fresh   []runtime.Instance // what was made of it
	tallies map[string]*tally  // by instance

	hints   sync.Mutex      // guards what follows; it is taken after mu
	news    map[string]bool // containers to look at again
	doubted bool            // there are more or fewer of them
	hearing bool            // events are heard
}

// seen is a container as it was seen.
type seen struct {
	c     container.InspectResponse
	state string // as the list had it
}

func newView() view {
	return view{seen: map[string]seen{}, tallies: map[string]*tally{}, news: map[string]bool{}, doubted: true}
}

// doubt has the engine's list read again.
func (v *view) doubt() {
	v.hints.Lock()
	defer v.hints.Unlock()
	v.doubted = true
}

// hear takes note of an event of a container.
func (v *view) hear(id string) {
	v.hints.Lock()
	defer v.hints.Unlock()
	v.news[id], v.doubted = true, true
}

// listen takes note whether events are heard from now on.
func (v *view) listen(hearing bool) {
	v.hints.Lock()
	defer v.hints.Unlock()
	v.hearing, v.doubted = hearing, true
}

// take returns what is to be looked at, and forgets it.
func (v *view) take() (news map[string]bool, doubted, hearing bool) {
	v.hints.Lock()
	defer v.hints.Unlock()
	news, doubted, hearing = v.news, v.doubted, v.hearing
	v.news, v.doubted = map[string]bool{}, false
	return news, doubted, hearing
}

// Instances returns the installation's instances. One that the engine is about to start again runs.
func (r *Runtime) Instances(ctx context.Context) ([]runtime.Instance, error) {
	v := &r.view
	v.mu.Lock()
	defer v.mu.Unlock()
	news, doubted, hearing := v.take()
	whole := !hearing || time.Since(v.whole) >= compareEvery
	if !doubted && !whole {
		return r.aged(ctx), nil
	}
	if err := r.look(ctx, news, whole); err != nil {
		for id := range news {
			v.hear(id)
		}
		v.doubt()
		return nil, err
	}
	if r.untidy.Load() {
		r.sweep(ctx)
	}
	v.fresh = r.judge(ctx)
	return slices.Clone(v.fresh), nil
}

// aged returns what was seen before, in which time alone may have changed something: whoever has run for a while has not
// failed. It is called with view.mu held.
func (r *Runtime) aged(ctx context.Context) []runtime.Instance {
	if slices.ContainsFunc(r.view.fresh, func(i runtime.Instance) bool { return i.State == runtime.Running && i.Failures > 0 }) {
		r.view.fresh = r.judge(ctx)
	}
	return slices.Clone(r.view.fresh)
}

// look lists the containers and inspects those that changed, or all of them.
func (r *Runtime) look(ctx context.Context, news map[string]bool, whole bool) error {
	began := time.Now()
	list, err := r.list(ctx)
	if err != nil {
		return err
	}
	now := make(map[string]seen, len(list))
	for _, s := range list {
		before, ok := r.view.seen[s.ID]
		if ok && !whole && !news[s.ID] && before.state == s.State {
			now[s.ID] = before
			continue
		}
		c, err := r.inspect(ctx, s.ID)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		now[s.ID] = seen{c, s.State}
	}
	r.view.seen = now
	if whole {
		r.view.whole = began
	}
	return nil
}

func (r *Runtime) list(ctx context.Context, pairs ...string) ([]container.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	list, err := r.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: r.ours(pairs...)})
	if err != nil {
		return nil, r.failed("list containers", err)
	}
	return list, nil
}

// inspect returns errdefs' not found as it is.
func (r *Runtime) inspect(ctx context.Context, id string) (container.InspectResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	c, err := r.cli.ContainerInspect(ctx, id)
	if err != nil && !errdefs.IsNotFound(err) {
		err = r.failed("look at the container "+id, err)
	}
	return c, err
}

// named returns the containers of the named instance, the oldest first.
func (r *Runtime) named(ctx context.Context, name string) ([]container.InspectResponse, error) {
	list, err := r.list(ctx, labelName, name)
	if err != nil {
		return nil, err
	}
	var all []container.InspectResponse
	for _, s := range list {
		c, err := r.inspect(ctx, s.ID)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b container.InspectResponse) int { return moment(a.Created).Compare(moment(b.Created)) })
	return all, nil
}

// running returns the container that runs under the name, or NotFound.
func (r *Runtime) running(ctx context.Context, name string) (container.InspectResponse, error) {
	all, err := r.named(ctx, name)
	if err != nil {
		return container.InspectResponse{}, err
	}
	for _, c := range slices.Backward(all) {
		if runs(c) {
			return c, nil
		}
	}
	return container.InspectResponse{}, notRunning(name)
}

// runs reports whether a container runs, or the engine is about to start it again.
func runs(c container.InspectResponse) bool { return c.State.Running || c.State.Restarting }

// judge makes instances of what was seen, one for each name: that which runs, or else the youngest.
func (r *Runtime) judge(ctx context.Context) []runtime.Instance {
	chosen := map[string]container.InspectResponse{}
	for _, s := range r.view.seen {
		name := s.c.Config.Labels[labelName]
		other, ok := chosen[name]
		if !ok || cmp.Or(compareBool(runs(s.c), runs(other)), moment(s.c.Created).Compare(moment(other.Created))) > 0 {
			chosen[name] = s.c
		}
	}
	var all []runtime.Instance
	for _, c := range chosen {
		all = append(all, r.instance(ctx, c))
	}
	slices.SortFunc(all, func(a, b runtime.Instance) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// instance makes an instance of a container.
func (r *Runtime) instance(ctx context.Context, c container.InspectResponse) runtime.Instance {
	l := c.Config.Labels
	i := runtime.Instance{
		Name: l[labelName], Provider: l[labelProvider], Role: l[labelRole], ID: l[labelInstance], Hash: l[labelSpec], Version: l[labelVersion],
		State: runtime.Running, PID: c.State.Pid, Started: moment(c.State.StartedAt), Resources: resources(c.HostConfig),
		Host: r.engine.host, Image: c.Config.Image, Restarts: c.RestartCount,
	}
	t := r.tally(ctx, c)
	i.Failures, i.Failing = t.failures, t.failing
	if i.Failures > 0 || !runs(c) {
		i.Reason, i.Error = t.reason, t.said
	}
	switch {
	case c.State.Status == container.StateCreated:
		i.State, i.Started, i.Ended = runtime.Ended, moment(c.Created), moment(c.Created)
		i.Reason = cmp.Or(c.State.Error, "it was never started")
	case !runs(c):
		i.State, i.PID, i.Ended = runtime.Ended, 0, moment(c.State.FinishedAt)
	case c.State.Restarting: // the engine calls one unhealthy that waits to be started again
	case c.State.Health != nil && c.State.Health.Status == container.Unhealthy:
		i.Unhealthy = complaint(c.State.Health)
	}
	return i
}

// complaint returns what the health check said last.
func complaint(h *container.Health) string {
	const most = 300
	text := "its health check fails"
	if n := len(h.Log); n > 0 && h.Log[n-1] != nil {
		if said := strings.TrimSpace(h.Log[n-1].Output); said != "" {
			text = said[:min(len(said), most)]
		}
	}
	return strings.ToValidUTF8(text, "")
}

// reasonOf says how a container ended, as a process's end is said.
func reasonOf(c container.InspectResponse) string {
	const signalled = 128 // a shell's convention, and the engine's
	code := c.State.ExitCode
	switch {
	case c.State.OOMKilled:
		return fmt.Sprintf("out of memory: it may use %d MiB", c.HostConfig.Memory>>20)
	case c.State.Error != "":
		return c.State.Error
	case code > signalled && code < signalled+65:
		return "signal: " + syscall.Signal(code-signalled).String()
	default:
		return fmt.Sprintf("exit status %d", code)
	}
}

// moment reads a time of the engine's; one that cannot be read is none.
func moment(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 2 { // the engine's zero time
		return time.Time{}
	}
	return t
}
