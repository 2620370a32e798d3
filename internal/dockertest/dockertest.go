// Package dockertest gives tests a real Docker engine: docker/engine starts one of Debian's docker.io, as root, or finds the
// one that runs. Tests have one only when the flag -docker asks for it:
//
//	go test ./provisioner/runtime/docker -docker=start            finds one or starts one for the test run, and removes it
//	go test ./provisioner/runtime/docker -docker=unix:///…        uses one that runs
//
// It speaks to the engine by Docker's command line, so that the client's module stays in provisioner/runtime/docker. Its one
// invariant: it ends every engine that it started, by its process id.
package dockertest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/testprocess"
)

var which = flag.String("docker", "", `the Docker engine of the tests: "start" finds or starts one, unix://… names one that runs; without it they are skipped`)

// Times of an engine's life.
const (
	startLimit  = 5 * time.Minute // apt-get may have to install it
	answerLimit = time.Minute
	answerStep  = 50 * time.Millisecond
)

// Engine is a Docker engine. It is for one goroutine.
type Engine struct {
	*testprocess.Process          // of an engine of the test's own
	Address              string   // unix://…, the same after every start
	Dir                  string   // its folder, of one that was started
	Env                  []string // what docker/engine is told, such as DOCKERD_FLAGS=--live-restore
}

var shared struct {
	sync.Mutex
	engine *Engine
	err    error
	tried  bool
}

// Wanted skips the test unless an engine was asked for.
func Wanted(tb testing.TB) {
	tb.Helper()
	if *which == "" {
		tb.Skip("it needs a real Docker engine: run it with -docker=start, or make test-engines")
	}
}

// Shared returns the engine of the test run, which may be the machine's own: a test removes what it makes there, and looks
// at nothing else. It skips the test when no engine was asked for, and fails it when one was and cannot be had. The
// package's TestMain calls Stop at the end.
func Shared(tb testing.TB) *Engine {
	tb.Helper()
	Wanted(tb)
	shared.Lock()
	defer shared.Unlock()
	if !shared.tried {
		shared.tried = true
		shared.engine, shared.err = startShared()
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.engine
}

func startShared() (*Engine, error) {
	if *which != "start" {
		return &Engine{Address: *which}, nil
	}
	dir, err := os.MkdirTemp("", "berth-docker-")
	if err != nil {
		return nil, err
	}
	e := &Engine{Dir: dir}
	if err := e.script("start"); err != nil {
		return e, err
	}
	address, err := os.ReadFile(filepath.Join(dir, "address"))
	e.Address = strings.TrimSpace(string(address))
	return e, err
}

// Stop removes the engine that was started for the test run, with all that it had.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil || shared.engine.Dir == "" {
		return
	}
	if err := shared.engine.script("remove"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// Started returns an engine of the test's own, which it may stop, kill and start, and which is removed with the test. env
// is what docker/engine is told.
func Started(tb testing.TB, env ...string) *Engine {
	tb.Helper()
	Wanted(tb)
	if *which != "start" {
		tb.Skip("it restarts its engine: run it with -docker=start")
	}
	dir, err := os.MkdirTemp("", "berth-docker-") //nolint:usetesting // sockets in a test's folder have names that are too long
	if err != nil {
		tb.Fatal(err)
	}
	e := &Engine{Dir: dir, Address: "unix://" + dir + "/docker.sock", Env: append(env, "OWN=1")}
	tb.Cleanup(func() {
		if err := e.script("remove"); err != nil {
			tb.Error(err)
		}
	})
	if err := e.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return e
}

// Root returns the repository's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// script runs docker/engine.
func (e *Engine) script(act string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(Root(), "docker", "engine"), act, e.Dir)
	cmd.Env = append(os.Environ(), e.Env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker/engine %s %s: %w\n%s", act, e.Dir, err, said)
	}
	return nil
}

// Start starts an engine of the test's own and waits until it answers. Its containers end with the test's process, by an
// orderly stop; after Kill they run on until the next start, which ends them unless it is told
// DOCKERD_FLAGS=--live-restore.
func (e *Engine) Start(ctx context.Context) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(Root(), "docker", "engine"), "run", e.Dir)
	cmd.Env = append(os.Environ(), e.Env...)
	var err error
	if e.Process, err = testprocess.Start(cmd, filepath.Join(e.Dir, "log"), syscall.SIGTERM); err == nil {
		err = e.Await(ctx, answerLimit, answerStep, e.answers)
	}
	if err != nil {
		return fmt.Errorf("start Docker: %w", err)
	}
	return nil
}

// answers reports whether the engine answers.
func (e *Engine) answers(ctx context.Context) bool {
	_, err := e.Do(ctx, "version")
	return err == nil
}

// Do runs Docker's command line against the engine and returns what it printed, without the spaces around.
func (e *Engine) Do(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Address, "DOCKER_BUILDKIT=0")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// Must is Do in a test that cannot go on without.
func (e *Engine) Must(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := e.Do(tb.Context(), args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}
