package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"berth/provisioner/runtime"
)

// kept is how many logs of containers that are no more are kept of one instance.
const kept = 2

// deafness is how long a container may not hear that it should end: the kernel keeps signals from a first process until it
// has said that it takes them, and a second one would end it without order.
const deafness = time.Second

// Stop asks the container to end, waits, and forces it when it does not, or when ctx ends first. With it go its secrets and,
// when nothing else of the provider is left, the provider's network.
func (r *Runtime) Stop(ctx context.Context, name string, o runtime.StopOptions) error {
	defer r.view.doubt()
	all, err := r.named(ctx, name)
	if err != nil {
		return err
	}
	for _, c := range all {
		if runs(c) {
			r.end(ctx, c)
		}
		if err := r.retire(ctx, c); err != nil {
			return err
		}
	}
	r.sweep(context.WithoutCancel(ctx))
	r.view.mu.Lock()
	delete(r.view.tallies, name)
	r.view.mu.Unlock()
	if !o.Purge {
		return nil
	}
	for _, path := range r.oldLogs(name) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the logs of %s: %w", name, err)
		}
	}
	return nil
}

// end has the container end within the grace. What does not is forced when it is removed.
func (r *Runtime) end(ctx context.Context, c container.InspectResponse) {
	grace := r.o.Grace
	if limit, ok := ctx.Deadline(); ok {
		grace = max(min(grace, time.Until(limit)-callLimit/2), time.Second)
	}
	if deaf := deafness - time.Since(moment(c.State.StartedAt)); deaf > 0 && deaf <= deafness {
		timer := time.NewTimer(deaf)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	seconds := int(grace / time.Second)
	ctx, cancel := context.WithTimeout(ctx, grace+callLimit/2)
	defer cancel()
	if c.State.Paused { // it cannot hear
		_ = r.cli.ContainerUnpause(ctx, c.ID) // the removal forces it
	}
	began := time.Now()
	err := r.cli.ContainerStop(ctx, c.ID, container.StopOptions{Timeout: &seconds})
	if took := time.Since(began); err != nil && !errdefs.IsNotFound(err) || took >= grace {
		r.o.Logger.Warn("forcing an instance that does not end", "instance", c.Config.Labels[labelName], "grace", grace, "error", err)
	}
}

// retire keeps the log of a container and removes it, though ctx may have ended.
func (r *Runtime) retire(ctx context.Context, c container.InspectResponse) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), retireLimit)
	defer cancel()
	if c.State.Status != container.StateCreated {
		if err := r.keepLog(ctx, c); err != nil {
			r.o.Logger.Warn("an instance's log is lost with its container", "instance", c.Config.Labels[labelName], "error", err)
		}
	}
	return r.remove(ctx, c.ID)
}

// remove removes a container by force, with the volume of its secrets, and returns when it is gone.
func (r *Runtime) remove(ctx context.Context, id string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := r.cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case err == nil, errdefs.IsNotFound(err):
			return nil
		case !errdefs.IsConflict(err): // a conflict: it is being removed by a call that was cut off
			r.untidy.Store(true) // it may be gone all the same
			return r.failed("remove the container "+id, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r.failed("remove the container "+id, ctx.Err())
		}
	}
}

// keepLog writes a container's log into a file, with its times: with the container the engine's own goes. Writing it again
// changes nothing.
func (r *Runtime) keepLog(ctx context.Context, c container.InspectResponse) (err error) {
	name := c.Config.Labels[labelName]
	path := filepath.Join(r.o.Logs, fmt.Sprintf("%s.%d-%.12s.log", name, moment(c.Created).UnixNano(), c.ID))
	f, err := os.CreateTemp(r.o.Logs, ".new-*") // 0600
	if err != nil {
		return err
	}
	err = r.copyLogs(ctx, c.ID, container.LogsOptions{Timestamps: true}, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	old := r.oldLogs(name)
	for _, path := range old[:max(len(old)-kept, 0)] {
		_ = os.Remove(path) // it is tried again at the next end
	}
	return nil
}

// oldLogs returns the files of the named instance's logs, the oldest first.
func (r *Runtime) oldLogs(name string) []string {
	entries, err := os.ReadDir(r.o.Logs)
	if err != nil {
		return nil
	}
	var paths []string
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), name+".")
		if ok && strings.HasSuffix(rest, ".log") && !e.IsDir() {
			paths = append(paths, filepath.Join(r.o.Logs, e.Name()))
		}
	}
	slices.Sort(paths) // the times of creation have as many digits each
	return paths
}
