package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"berth/provisioner/runtime"
)

// askedAtOnce is how many containers the engine is asked about at a time.
const askedAtOnce = 8

// Usage returns what the containers use, as the engine says: without what the kernel caches for them and can take back.
func (r *Runtime) Usage(ctx context.Context) (map[string]runtime.Usage, error) {
	list, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards usage and errs
		usage = map[string]runtime.Usage{}
		errs  []error
		slots = make(chan struct{}, askedAtOnce)
	)
	for _, c := range list {
		if c.State != container.StateRunning {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			used, ok, err := r.usage(ctx, c.ID)
			mu.Lock()
			defer mu.Unlock()
			if ok {
				usage[c.Labels[labelName]] = used
			}
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return usage, errors.Join(errs...)
}

func (r *Runtime) usage(ctx context.Context, id string) (runtime.Usage, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	answer, err := r.cli.ContainerStatsOneShot(ctx, id)
	if errdefs.IsNotFound(err) {
		return runtime.Usage{}, false, nil
	}
	if err != nil {
		return runtime.Usage{}, false, r.failed("ask what "+id+" uses", err)
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	var s container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		return runtime.Usage{}, false, fmt.Errorf("read what %s uses: %w", id, err)
	}
	m := s.MemoryStats
	cached, ok := m.Stats["total_inactive_file"] // cgroup v1
	if !ok {
		cached = m.Stats["inactive_file"]
	}
	if m.Usage == 0 { // it has just ended
		return runtime.Usage{}, false, nil
	}
	return runtime.Usage{Memory: int64(m.Usage - min(cached, m.Usage))}, true, nil
}

// Exec runs a command of the container's own program within it.
func (r *Runtime) Exec(ctx context.Context, name string, o runtime.ExecOptions) (code int, err error) {
	c, err := r.running(ctx, name)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, execLimit)
	defer cancel()
	made, err := r.cli.ContainerExecCreate(ctx, c.ID, container.ExecOptions{
		Cmd:         append(append([]string{}, c.Config.Entrypoint...), o.Args...),
		AttachStdin: o.In != nil, AttachStdout: true, AttachStderr: true,
	})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return 0, notRunning(name)
	}
	if err != nil {
		return 0, r.failed("run a command in "+name, err)
	}
	if err := r.attach(ctx, made.ID, o); err != nil {
		return 0, err
	}
	return r.exitCode(ctx, made.ID)
}

// attach starts the command, and passes on what it reads and writes until it ends.
func (r *Runtime) attach(ctx context.Context, id string, o runtime.ExecOptions) error {
	stream, err := r.cli.ContainerExecAttach(ctx, id, container.ExecAttachOptions{})
	if err != nil {
		return r.failed("start a command", err)
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, stream.Close)()
	if o.In != nil {
		go func() { // it ends with what it reads, or with the stream at its next write
			_, _ = io.Copy(stream.Conn, o.In)
			_ = stream.CloseWrite() // the command has read all there is
		}()
	}
	out, complaints := o.Out, o.Err
	if out == nil {
		out = io.Discard
	}
	if complaints == nil {
		complaints = io.Discard
	}
	_, err = stdcopy.StdCopy(out, complaints, stream.Reader)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("read what a command says: %w", err)
	}
	return nil
}

// exitCode waits until the engine knows how a command ended: its output ends a moment before.
func (r *Runtime) exitCode(ctx context.Context, id string) (int, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		e, err := r.cli.ContainerExecInspect(ctx, id)
		if err != nil {
			return 0, r.failed("ask how a command ended", err)
		}
		if !e.Running {
			return e.ExitCode, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
