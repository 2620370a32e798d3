package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

// tally counts the ends of an instance that came soon after its starts, across the containers of one spec. The engine tells
// how often it started a container again, and of its last run alone when it began and ended.
type tally struct {
	spec      string
	container string    // that was looked at last
	restarts  int       // of it, that are counted
	started   time.Time // its run that was seen last
	over      bool      // its last end is counted

	failures     int
	failing      time.Time // when the first of them was
	reason, said string    // of the last end
}

// tally brings the count of a container's instance up to date. It is called with view.mu held.
func (r *Runtime) tally(ctx context.Context, c container.InspectResponse) *tally {
	name, spec := c.Config.Labels[labelName], c.Config.Labels[labelSpec]
	t := r.view.tallies[name]
	if t == nil || t.spec != spec {
		t = &tally{spec: spec}
		r.view.tallies[name] = t
	}
	if t.container != c.ID {
		t.container, t.restarts, t.started, t.over = c.ID, 0, time.Time{}, false
	}
	if ends := t.count(c); ends > 0 && (c.State.Restarting || !c.State.Running) {
		t.reason, t.said = reasonOf(c), ""
		if c.State.ExitCode > 0 { // one that was killed did not say why
			t.said = r.lastError(ctx, c.ID)
		}
	}
	return t
}

// count takes note of how the container is, and returns how often it ended since the last time.
func (t *tally) count(c container.InspectResponse) (ends int) {
	started, finished := moment(c.State.StartedAt), moment(c.State.FinishedAt)
	over := !runs(c) && c.State.Status != container.StateCreated
	ends = max(c.RestartCount-t.restarts, 0)
	if over && !t.over {
		ends++
	}
	run := t.started // that ended
	if !c.State.Running || c.State.Restarting {
		run = started
	}
	t.restarts, t.started, t.over = c.RestartCount, started, over
	switch short := run.IsZero() || finished.Sub(run) < Steady; {
	case ends == 0:
	case short:
		if t.failures == 0 {
			t.failing = finished
		}
		t.failures += ends
	default:
		t.failures, t.failing = 0, time.Time{}
	}
	if c.State.Running && !c.State.Restarting && time.Since(started) >= Steady {
		t.failures, t.failing = 0, time.Time{}
	}
	return ends
}

// lastError returns the error that the container's last line tells, in its log's schema; empty when it tells none.
func (r *Runtime) lastError(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var b bytes.Buffer
	if err := r.copyLogs(ctx, id, container.LogsOptions{Tail: "1"}, &b); err != nil {
		return ""
	}
	var line struct{ Level, Error string }
	if json.Unmarshal(bytes.TrimSpace(b.Bytes()), &line) != nil || line.Level != "ERROR" {
		return ""
	}
	first, _, _ := strings.Cut(line.Error, "\n")
	return first
}
