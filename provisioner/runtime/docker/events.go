package docker

import (
	"context"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// Pauses before events are listened to again.
const (
	listenFirst = 200 * time.Millisecond
	listenMost  = 5 * time.Second
)

// watch listens to the engine's events until ctx ends. They are hints: what they miss, the comparison of everything finds.
func (r *Runtime) watch(ctx context.Context) {
	pause := listenFirst
	for {
		began := time.Now()
		err := r.listen(ctx)
		r.view.listen(false)
		if ctx.Err() != nil {
			return
		}
		if pause == listenFirst {
			r.o.Logger.Warn("the engine's events are not heard: everything is looked at each time", "error", r.failed("listen", err))
		}
		if time.Since(began) > listenMost {
			pause = listenFirst
		}
		r.changed()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, listenMost)
	}
}

// listen passes on what the engine says of the installation's containers, until it says no more.
func (r *Runtime) listen(ctx context.Context) error {
	args := filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)), filters.Arg("label", labelInstall+"="+r.o.Install))
	messages, failed := r.cli.Events(ctx, events.ListOptions{Filters: args}) // returns when they are heard
	r.view.listen(true)
	r.changed() // what happened before
	for {
		select {
		case m := <-messages:
			r.heard(m)
		case err := <-failed:
			return err
		}
	}
}

func (r *Runtime) heard(m events.Message) {
	action := string(m.Action)
	if strings.HasPrefix(action, "exec_") { // the health checks', and ours
		return
	}
	r.view.hear(m.Actor.ID)
	if m.Action == events.ActionDestroy { // perhaps not by us
		r.untidy.Store(true)
	}
	switch m.Action {
	case events.ActionDie, events.ActionStart, events.ActionDestroy, events.ActionPause, events.ActionUnPause:
		r.changed()
	default:
		if strings.HasPrefix(action, string(events.ActionHealthStatus)) {
			r.changed()
		}
	}
}
