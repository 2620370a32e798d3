// Package process runs instances as processes of this machine: programs found in one folder, each in a process group
// of its own, with its output in a bounded log and secrets in files that only their owner reads.
//
// Its one invariant: no child outlives the provisioner, in whatever way that ends. Each child holds the reading end of
// a pipe (its descriptor is in BERTH_PARENT_FD) that closes with the provisioner, even by SIGKILL.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"berth/provisioner/runtime"
	"berth/schema"
)

// Steady is how long an instance must have run for its end not to count as a failure in a row.
const Steady = 5 * time.Second

// Options say where things are.
type Options struct {
	Programs string        // the folder that holds the programs, named as their roles
	Secrets  string        // the folder for secret files, the runtime's alone: it is emptied at the start and at the end
	Logs     string        // the folder for logs
	LogSize  int64         // of one log file, in bytes; default 8 MiB; one instance keeps three
	Env      []string      // every child's environment, beside what its spec says
	Grace    time.Duration // between asking a child to end and forcing it; default 22 s, more than an instance takes to stop
	Logger   *slog.Logger
}

// Runtime runs processes. It implements [runtime.Runtime].
type Runtime struct {
	o       Options
	changes chan struct{}

	mu       sync.Mutex // guards children, logs and closed
	children map[string]*child
	logs     map[string]*logFile
	closed   bool
}

var _ runtime.Runtime = (*Runtime)(nil)

// child is one process, running or ended.
type child struct {
	instance runtime.Instance // guarded by Runtime.mu
	cmd      *exec.Cmd
	parent   *os.File      // the writing end of the pipe
	done     chan struct{} // closed when it has ended
	stopping bool          // it was asked to end; guarded by Runtime.mu
}

// New returns a runtime whose folders exist.
func New(o Options) (*Runtime, error) {
	if o.Grace == 0 {
		o.Grace = 22 * time.Second
	}
	if o.LogSize == 0 {
		o.LogSize = 8 << 20
	}
	for _, dir := range []string{o.Secrets, o.Logs} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make folder: %w", err)
		}
	}
	if err := removeFiles(o.Secrets, ""); err != nil { // of one that was killed: its children end with it
		return nil, fmt.Errorf("remove secrets of before: %w", err)
	}
	return &Runtime{o: o, changes: make(chan struct{}, 1), children: map[string]*child{}, logs: map[string]*logFile{}}, nil
}

// Instances returns the processes that run, and those that ended by themselves.
func (r *Runtime) Instances(context.Context) ([]runtime.Instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []runtime.Instance
	for _, name := range slices.Sorted(maps.Keys(r.children)) {
		all = append(all, r.children[name].instance)
	}
	return all, nil
}

// Changes receives after a process ended by itself.
func (r *Runtime) Changes() <-chan struct{} { return r.changes }

// Check reports whether there is the program.
func (r *Runtime) Check(_ context.Context, s runtime.Spec) error {
	program := filepath.Join(r.o.Programs, s.Role)
	if _, err := os.Stat(program); err != nil {
		return schema.Errorf(schema.NotFound, "there is no program %s", program).
			WithNext("build all programs into one folder: make build").WithCause(err)
	}
	return nil
}

// Start starts a process, unless one of the same spec runs already.
func (r *Runtime) Start(ctx context.Context, s runtime.Spec) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	failures, failing := 0, time.Time{}
	if old := r.children[s.Name]; old != nil {
		switch {
		case old.instance.State == runtime.Running && old.instance.Hash == s.Hash:
			return nil
		case old.instance.State == runtime.Running:
			return schema.Errorf(schema.Conflict, "%s runs already, of another spec", s.Name)
		case old.instance.Hash == s.Hash:
			failures, failing = old.instance.Failures, old.instance.Failing
		}
	}
	if r.closed {
		return schema.Errorf(schema.Unavailable, "%s is not started: the provisioner is stopping", s.Name)
	}
	c, err := r.spawn(ctx, s)
	if err != nil {
		return err
	}
	c.instance.Failures, c.instance.Failing = failures, failing
	r.children[s.Name] = c
	return nil
}

// spawn starts the process and watches over it. It is called with mu held.
func (r *Runtime) spawn(ctx context.Context, s runtime.Spec) (*child, error) {
	program := filepath.Join(r.o.Programs, s.Role)
	log, err := r.logOf(s.Name)
	if err != nil {
		return nil, err
	}
	env, err := r.environment(s)
	if err != nil {
		return nil, err
	}
	reading, writing, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	defer func() { _ = reading.Close() }()                          // the child has its own
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program) // it ends by Stop
	cmd.Env = env
	out := &output{log: log}
	cmd.Stdout, cmd.Stderr = out, out // one writer: exec reads both through one pipe
	cmd.ExtraFiles = []*os.File{reading}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		_ = writing.Close()
		return nil, schema.Errorf(schema.Unavailable, "%s cannot be started from %s", s.Name, program).
			WithNext("build all programs into one folder: make build").WithCause(err)
	}
	log.note("started", s, cmd.Process.Pid, "")
	c := &child{cmd: cmd, parent: writing, done: make(chan struct{}), instance: runtime.Instance{
		Name: s.Name, Provider: s.Provider, Role: s.Role, ID: s.ID, Hash: s.Hash, Version: s.Version, Resources: s.Resources,
		State: runtime.Running, PID: cmd.Process.Pid, Started: time.Now(),
	}}
	go r.watch(c, s, out)
	return c, nil
}

// environment returns what the process is told, and writes its secret files.
func (r *Runtime) environment(s runtime.Spec) ([]string, error) {
	env := slices.Clone(r.o.Env)
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		env = append(env, name+"="+s.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		path := filepath.Join(r.o.Secrets, s.Name+"."+name)
		if err := writeSecret(path, s.Files[name]); err != nil {
			return nil, fmt.Errorf("write a secret of %s: %w", s.Name, err)
		}
		env = append(env, name+"="+path)
	}
	return append(env, "BERTH_PARENT_FD=3"), nil // the first of ExtraFiles
}

// writeSecret replaces the file at path, so that nobody reads half of it, or reads it at all but its owner.
func writeSecret(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// watch waits for the process's end and takes note of it.
func (r *Runtime) watch(c *child, s runtime.Spec, out *output) {
	err := c.cmd.Wait()
	_ = c.parent.Close()
	reason := c.cmd.ProcessState.String()
	if c.cmd.ProcessState == nil {
		reason = err.Error()
	}
	said := ""
	if c.cmd.ProcessState.ExitCode() > 0 { // one that was killed did not say why
		said, _, _ = strings.Cut(out.lastError(), "\n")
	}
	// Whatever it may have started itself goes with it.
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	out.log.note("ended", s, c.cmd.Process.Pid, reason)
	r.mu.Lock()
	i := &c.instance
	i.State, i.Ended, i.Reason, i.Error, i.PID = runtime.Ended, time.Now(), reason, said, 0
	switch {
	case i.Ended.Sub(i.Started) >= Steady:
		i.Failures, i.Failing = 0, time.Time{}
	default:
		if i.Failures++; i.Failures == 1 {
			i.Failing = i.Ended
		}
	}
	byItself := r.children[i.Name] == c && !c.stopping && !r.closed
	r.mu.Unlock()
	close(c.done)
	if !byItself {
		return
	}
	select {
	case r.changes <- struct{}{}:
	default:
	}
}

// Stop asks the process to end, waits, and forces it when it does not, or when ctx ends first.
func (r *Runtime) Stop(ctx context.Context, name string, o runtime.StopOptions) error {
	r.mu.Lock()
	c := r.children[name]
	if c != nil {
		c.stopping = true
	}
	r.mu.Unlock()
	if c != nil {
		if err := r.end(ctx, c); err != nil {
			return err
		}
		r.mu.Lock()
		delete(r.children, name)
		r.mu.Unlock()
	}
	if err := removeFiles(r.o.Secrets, name+"."); err != nil {
		return fmt.Errorf("remove the secrets of %s: %w", name, err)
	}
	if !o.Purge {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if log := r.logs[name]; log != nil {
		_ = log.Close() // it goes
		delete(r.logs, name)
	}
	if err := removeFiles(r.o.Logs, name+".log"); err != nil {
		return fmt.Errorf("remove the logs of %s: %w", name, err)
	}
	return nil
}

// removeFiles removes the files of a folder whose names begin so.
func removeFiles(dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || e.IsDir() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (r *Runtime) end(ctx context.Context, c *child) error {
	grace := time.NewTimer(r.o.Grace)
	defer grace.Stop()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
		return nil
	case <-grace.C:
	case <-ctx.Done():
	}
	r.o.Logger.Warn("forcing an instance that does not end", "instance", c.instance.Name, "grace", r.o.Grace)
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	force := time.NewTimer(5 * time.Second)
	defer force.Stop()
	select {
	case <-c.done:
		return nil
	case <-force.C:
		return schema.Errorf(schema.Unavailable, "%s (%d) does not end even by SIGKILL", c.instance.Name, c.cmd.Process.Pid).
			WithNext("its disk may hang: look at dmesg")
	}
}

// Bounds reports false: processes share the machine.
func (r *Runtime) Bounds() bool { return false }

// Outlives reports false: processes end with the provisioner.
func (r *Runtime) Outlives() bool { return false }

// Update takes note of what the process should use; nothing holds it to that.
func (r *Runtime) Update(_ context.Context, name string, resources runtime.Resources) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.children[name]
	if c == nil || c.instance.State != runtime.Running {
		return schema.Errorf(schema.NotFound, "%s does not run", name)
	}
	c.instance.Resources = resources
	return nil
}

// Usage returns what the processes use, as the kernel says.
func (r *Runtime) Usage(ctx context.Context) (map[string]runtime.Usage, error) {
	all, err := r.Instances(ctx)
	if err != nil {
		return nil, err
	}
	usage := map[string]runtime.Usage{}
	for _, i := range all {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", i.PID)) // proc(5): pages: size resident …
		var size, resident int64
		if _, scan := fmt.Sscan(string(data), &size, &resident); err == nil && scan == nil {
			usage[i.Name] = runtime.Usage{Memory: resident * int64(os.Getpagesize())}
		}
	}
	return usage, nil
}

// Exec is refused: a process is no place in which another could run.
func (r *Runtime) Exec(_ context.Context, name string, _ runtime.ExecOptions) (int, error) {
	return 0, schema.Errorf(schema.Invalid, "%s is a process of this machine: nothing runs within it", name).
		WithNext("run the program itself, in a shell of this machine")
}

// Logs writes what the named instance wrote.
func (r *Runtime) Logs(ctx context.Context, name string, o runtime.LogOptions, w io.Writer) error {
	if name != filepath.Base(name) {
		return schema.Errorf(schema.Invalid, "%q is no instance's name", name)
	}
	return readLogs(ctx, filepath.Join(r.o.Logs, name+".log"), o, w)
}

// Close ends every process. Their secrets go, their logs stay.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	children := slices.Collect(maps.Values(r.children))
	r.children = map[string]*child{}
	r.mu.Unlock()
	var (
		wg   sync.WaitGroup
		errs = make([]error, len(children))
	)
	for i, c := range children {
		wg.Go(func() { errs[i] = r.end(ctx, c) })
	}
	wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, log := range r.logs {
		errs = append(errs, log.Close())
		delete(r.logs, name)
	}
	return errors.Join(append(errs, removeFiles(r.o.Secrets, ""))...)
}

// logOf returns the log of the named instance. It is called with mu held.
func (r *Runtime) logOf(name string) (*logFile, error) {
	if log := r.logs[name]; log != nil {
		return log, nil
	}
	log, err := openLog(filepath.Join(r.o.Logs, name+".log"), r.o.LogSize)
	if err != nil {
		return nil, err
	}
	r.logs[name] = log
	return log, nil
}
