package docker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"berth/provisioner/runtime"
	"berth/schema"
)

// followEvery is how often it is looked for a container that goes on with a followed log.
const followEvery = 500 * time.Millisecond

// Logs writes what the named instance's containers wrote, those that are no more first.
func (r *Runtime) Logs(ctx context.Context, name string, o runtime.LogOptions, w io.Writer) error {
	all, err := r.named(ctx, name)
	if err != nil {
		return err
	}
	old := r.oldLogs(name)
	if len(all) == 0 && len(old) == 0 {
		return schema.Errorf(schema.NotFound, "no instance has written this log yet")
	}
	f := &follower{r: r, w: w, read: map[string]bool{}}
	text, err := f.past(ctx, all, old, o.Lines)
	if err != nil {
		return err
	}
	if _, err := w.Write(runtime.LastLines(text, o.Lines)); err != nil || !o.Follow {
		return err
	}
	return f.follow(ctx, name)
}

// copyLogs writes what a container wrote.
func (r *Runtime) copyLogs(ctx context.Context, id string, o container.LogsOptions, w io.Writer) error {
	o.ShowStdout, o.ShowStderr = true, true
	logs, err := r.cli.ContainerLogs(ctx, id, o)
	if errdefs.IsNotFound(err) || err != nil && strings.Contains(err.Error(), "marked for removal") {
		return nil
	}
	if err != nil {
		return r.failed("read the log of "+id, err)
	}
	defer logs.Close() //nolint:errcheck // only read
	_, err = stdcopy.StdCopy(w, w, logs)
	return err
}

// follower follows an instance's log from container to container.
type follower struct {
	r    *Runtime
	w    io.Writer
	last string          // the time of the line that was read last, as the engine has it
	read map[string]bool // files of containers that are no more
}

// past returns what was written until now, at least as many of the last lines as asked for.
func (f *follower) past(ctx context.Context, all []container.InspectResponse, old []string, lines int) ([]byte, error) {
	tail := "all"
	if lines > 0 {
		tail = strconv.Itoa(lines)
	}
	var now bytes.Buffer
	within, cancel := context.WithTimeout(ctx, retireLimit)
	defer cancel()
	for _, c := range all {
		if c.State.Status == container.StateCreated {
			continue
		}
		var b bytes.Buffer
		if err := f.r.copyLogs(within, c.ID, container.LogsOptions{Timestamps: true, Tail: tail}, &b); err != nil {
			return nil, err
		}
		f.unstamp(&b, &now)
	}
	text := now.Bytes()
	for _, path := range slices.Backward(old) {
		f.read[path] = true
		if lines > 0 && bytes.Count(text, []byte{'\n'}) >= lines {
			continue
		}
		var before bytes.Buffer
		g := follower{}
		if err := g.file(path, &before); err != nil {
			return nil, err
		}
		text, f.last = append(before.Bytes(), text...), max(f.last, g.last)
	}
	return text, nil
}

// file writes what a container wrote that is no more.
func (f *follower) file(path string, w io.Writer) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	f.unstamp(file, w)
	return nil
}

// unstamp takes the times from the lines, and leaves out those that were read before.
func (f *follower) unstamp(from io.Reader, to io.Writer) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		stamp, rest, ok := bytes.Cut(line, []byte{' '})
		if at := string(stamp); ok && at > f.last { // all have nine digits of a second, in UTC
			f.last = at
			if _, err := to.Write(rest); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// follow writes what comes, until ctx ends: a container's log ends with each of its runs. A container that is not in the
// list any more has its file, so the list is read first.
func (f *follower) follow(ctx context.Context, name string) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		all, err := f.r.named(ctx, name)
		if err != nil && ctx.Err() == nil {
			return err
		}
		for _, path := range f.r.oldLogs(name) {
			if f.read[path] {
				continue
			}
			if err := f.file(path, f.w); err != nil {
				return err
			}
			f.read[path] = true
		}
		for _, c := range all {
			if c.State.Status == container.StateCreated {
				continue
			}
			if err := f.one(ctx, c.ID); err != nil && ctx.Err() == nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// one writes what a container writes until it ends.
func (f *follower) one(ctx context.Context, id string) error {
	ctx, cancel := context.WithCancel(ctx)
	reading, writing := io.Pipe()
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		defer cancel()
		failed = f.r.copyLogs(ctx, id, container.LogsOptions{Timestamps: true, Follow: true, Since: cmp.Or(f.last, "0")}, writing)
		_ = writing.Close() // never fails
	})
	wg.Go(func() { f.r.cancelAtEnd(ctx, id, cancel) })
	f.unstamp(reading, f.w)
	_ = reading.Close() // never fails
	cancel()
	wg.Wait()
	if errors.Is(failed, context.Canceled) {
		return nil // what it wrote last is read the next time
	}
	return failed
}

// cancelAtEnd cancels when a container has ended, and some time more: an engine may leave whoever follows the log of a
// container waiting that is removed.
func (r *Runtime) cancelAtEnd(ctx context.Context, id string, cancel func()) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for ended := false; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if ended {
			cancel()
			return
		}
		c, err := r.inspect(ctx, id)
		ended = errdefs.IsNotFound(err) || err == nil && (!c.State.Running || c.State.Restarting)
	}
}
