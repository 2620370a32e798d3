package process

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/internal/lifecycle"
	"berth/provisioner/runtime"
	"berth/provisioner/runtime/runtimetest"
	"berth/schema"
)

// TestMain makes this binary the child that the tests start.
func TestMain(m *testing.M) {
	switch variable("BERTH_TEST_CHILD") {
	case "":
		code := m.Run()
		runtimetest.RemoveProgram()
		if err := goleak.Find(goleak.IgnoreAnyFunction("os/signal.loop")); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	case "obedient":
		secret, _ := os.ReadFile(variable("BERTH_CREDENTIALS"))
		fd, _ := strconv.Atoi(variable("BERTH_PARENT_FD"))
		ctx, _ := lifecycle.Run(context.Background(), fd)
		fmt.Fprintf(os.Stdout, "here with %s\n", secret)
		<-ctx.Done()
		fmt.Fprintf(os.Stderr, "ending: %v\n", context.Cause(ctx))
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Fprintln(os.Stdout, "here for ever")
		<-time.After(time.Hour)
	case "crash":
		os.Exit(3)
	case "chatty":
		for i := range 20_000 {
			fmt.Fprintf(os.Stdout, "line %d\n", i)
		}
	case "parent":
		parent()
	}
}

// variable returns what the child was told.
func variable(name string) string {
	value, _ := os.LookupEnv(name)
	return value
}

// parent is a provisioner to be killed: it starts a child and says its process id.
func parent() {
	dir := variable("BERTH_TEST_DIR")
	r, err := New(Options{Programs: dir, Secrets: filepath.Join(dir, "s"), Logs: filepath.Join(dir, "l"), Logger: slog.New(slog.DiscardHandler), Env: []string{"BERTH_TEST_CHILD=obedient"}})
	if err != nil {
		panic(err)
	}
	if err := r.Start(context.Background(), runtime.Spec{Name: "p-ingest", Role: "ingest"}); err != nil {
		panic(err)
	}
	all, _ := r.Instances(context.Background())
	fmt.Fprintln(os.Stdout, all[0].PID)
	select {}
}

func TestContract(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(runtimetest.Program(t), filepath.Join(dir, "ingest")); err != nil {
		t.Fatal(err)
	}
	runtimetest.Run(t, runtimetest.Subject{
		Open: func(t *testing.T, install string) runtime.Runtime {
			r, err := New(Options{
				Programs: dir, Secrets: filepath.Join(dir, install, "secrets"), Logs: filepath.Join(dir, install, "logs"),
				Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
		Secrets: func(t *testing.T, install string) []string {
			return strings.Fields(files(t, filepath.Join(dir, install, "secrets")))
		},
	})
}

func newRuntime(t *testing.T, change func(*Options)) *Runtime {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "ingest")); err != nil {
		t.Fatal(err)
	}
	o := Options{Programs: dir, Secrets: filepath.Join(dir, "secrets"), Logs: filepath.Join(dir, "logs"), Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return r
}

func spec(mode string) runtime.Spec {
	return runtime.Spec{
		Name: "provider1-ingest", Provider: "provider1", Role: "ingest", ID: "one", Hash: "h1", Version: "v1",
		Env: map[string]string{"BERTH_TEST_CHILD": mode}, Files: map[string][]byte{"BERTH_CREDENTIALS": []byte("the secret")},
	}
}

// until waits for a condition, looking again every few milliseconds, and fails the test when it never holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("never: %s", what)
		}
	}
}

func only(t *testing.T, r *Runtime) runtime.Instance {
	t.Helper()
	all, err := r.Instances(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("instances %v, %v, want one", all, err)
	}
	return all[0]
}

func logText(t *testing.T, r *Runtime, o runtime.LogOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Logs(t.Context(), "provider1-ingest", o, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAStubbornChildIsForced(t *testing.T) {
	r := newRuntime(t, func(o *Options) { o.Grace = 300 * time.Millisecond })
	if err := r.Start(t.Context(), spec("stubborn")); err != nil {
		t.Fatal(err)
	}
	until(t, "the child ignores SIGTERM", func() bool {
		return strings.Contains(logText(t, r, runtime.LogOptions{}), "here for ever")
	})
	pid := only(t, r).PID
	stopped := make(chan error, 1)
	go func() { stopped <- r.Stop(t.Context(), "provider1-ingest", runtime.StopOptions{}) }()
	until(t, "the child was asked to end", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.children["provider1-ingest"].stopping
	})
	if i := only(t, r); i.State != runtime.Running {
		t.Errorf("a child that has not ended yet is %s", i.State)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if all, _ := r.Instances(t.Context()); len(all) != 0 || len(r.Changes()) != 0 {
		t.Errorf("after Stop: %v, %d changes", all, len(r.Changes()))
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the child still runs")
	}
}

// files returns the names of the files in a folder.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestSecretsGoWithTheirInstanceAndLogsWhenTheyArePurged(t *testing.T) {
	r := newRuntime(t, func(o *Options) { o.LogSize = 64 << 10 })
	neighbor := spec("obedient")
	neighbor.Name = "provider1-ingest2"
	for _, s := range []runtime.Spec{spec("chatty"), neighbor} {
		if err := r.Start(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the chatty one has ended", func() bool {
		all, _ := r.Instances(t.Context())
		return all[0].State == runtime.Ended
	})
	for range 2 {
		if err := r.Stop(t.Context(), "provider1-ingest", runtime.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		if got, want := files(t, r.o.Secrets), "provider1-ingest2.BERTH_CREDENTIALS"; got != want {
			t.Errorf("secrets after a stop: %s, want %s", got, want)
		}
	}
	logText(t, r, runtime.LogOptions{})
	for range 2 {
		if err := r.Stop(t.Context(), "provider1-ingest", runtime.StopOptions{Purge: true}); err != nil {
			t.Fatal(err)
		}
		if got, want := files(t, r.o.Logs), "provider1-ingest2.log"; got != want {
			t.Errorf("logs after a purge: %s, want %s", got, want)
		}
	}
	if err := r.Start(t.Context(), spec("crash")); err != nil { // added again, it writes a log of its own
		t.Fatal(err)
	}
	until(t, "its end is in a new log", func() bool { return strings.Contains(logText(t, r, runtime.LogOptions{}), "exit status 3") })
	if text := logText(t, r, runtime.LogOptions{}); strings.Contains(text, "line 1") {
		t.Errorf("the log after a purge:\n%s", text)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := files(t, r.o.Secrets); got != "" {
		t.Errorf("secrets after the end: %s", got)
	}
}

func TestSecretsThatAKilledOneLeftGoAtTheNextStart(t *testing.T) {
	dir := t.TempDir()
	o := Options{Programs: dir, Secrets: filepath.Join(dir, "s"), Logs: filepath.Join(dir, "l"), Logger: slog.New(slog.DiscardHandler)}
	if err := os.MkdirAll(o.Secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Secrets, "provider1-ingest.BERTH_CREDENTIALS"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(o); err != nil {
		t.Fatal(err)
	}
	if got := files(t, o.Secrets); got != "" {
		t.Errorf("secrets at the start: %s", got)
	}
}

func TestACrashIsSeenAndCounted(t *testing.T) {
	r := newRuntime(t, nil)
	for n := 1; n <= 3; n++ {
		if err := r.Start(t.Context(), spec("crash")); err != nil {
			t.Fatal(err)
		}
		<-r.Changes()
		i := only(t, r)
		if i.State != runtime.Ended || i.Reason != "exit status 3" || i.Failures != n || i.Ended.Before(i.Started) {
			t.Errorf("after crash %d: %+v", n, i)
		}
	}
	changed := spec("crash")
	changed.Hash = "h2"
	if err := r.Start(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	<-r.Changes()
	if i := only(t, r); i.Failures != 1 {
		t.Errorf("a new spec inherits %d failures", i.Failures)
	}
}

func TestAMissingProgramIsSaid(t *testing.T) {
	r := newRuntime(t, nil)
	s := spec("obedient")
	s.Role = "reports"
	err := r.Start(t.Context(), s)
	if !schema.Is(err, schema.Unavailable) || !strings.Contains(schema.Show(err), "make build") {
		t.Errorf("Start = %v, want Unavailable with the next command", err)
	}
}

func TestChildrenEndWithTheirParentEvenBySIGKILL(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "ingest")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "BERTH_TEST_CHILD=parent", "BERTH_TEST_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the child does not run: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	until(t, "the child is gone", func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(state), ") Z ")
	})
}

func TestLogsAreBoundedAndKeepTheirLastLines(t *testing.T) {
	r := newRuntime(t, func(o *Options) { o.LogSize = 64 << 10 })
	if err := r.Start(t.Context(), spec("chatty")); err != nil {
		t.Fatal(err)
	}
	<-r.Changes()
	if !strings.Contains(logText(t, r, runtime.LogOptions{}), "line 19998\nline 19999\n") {
		t.Error("the last lines are missing")
	}
	if got := logText(t, r, runtime.LogOptions{Lines: 2}); !strings.HasPrefix(got, "line 19999\n") || strings.Count(got, "\n") != 2 {
		t.Errorf("the last 2 lines: %q", got)
	}
	files, err := filepath.Glob(filepath.Join(r.o.Logs, "*"))
	if err != nil || len(files) != 1+kept {
		t.Errorf("files %v, %v, want %d", files, err, 1+kept)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > r.o.LogSize {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
	if err := r.Logs(t.Context(), "nobody", runtime.LogOptions{}, io.Discard); !schema.Is(err, schema.NotFound) {
		t.Errorf("Logs of nobody = %v, want NotFound", err)
	}
	if err := r.Logs(t.Context(), "../secrets/x", runtime.LogOptions{}, io.Discard); !schema.Is(err, schema.Invalid) {
		t.Errorf("Logs of a path = %v, want Invalid", err)
	}
}

// TestWhatAProcessSaysLastIsItsOwn: a process may have ended before the log has the line that it was started.
func TestWhatAProcessSaysLastIsItsOwn(t *testing.T) {
	log, err := openLog(filepath.Join(t.TempDir(), "x.log"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	out := &output{log: log}
	for _, piece := range []string{strings.Repeat("here\n", lastMost), `{"level":"ERROR","error":"catalog.db `, "is damaged\"}\n"} {
		fmt.Fprint(out, piece)
	}
	log.note("started", spec("failing"), 1, "")
	if said := out.lastError(); said != "catalog.db is damaged" || len(out.last) != lastMost {
		t.Errorf("it says %q last, and %d bytes are kept", said, len(out.last))
	}
	if said := (&output{log: log}).lastError(); said != "" {
		t.Errorf("the next one, which is silent, says %q", said)
	}
}

func TestAFollowedLogGoesOnThroughRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	log, err := openLog(path, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	fmt.Fprintln(log, "line 0")
	ctx, cancel := context.WithCancel(t.Context())
	reading, writing := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- readLogs(ctx, path, runtime.LogOptions{Follow: true}, writing)
		_ = writing.Close()
	}()
	lines := bufio.NewScanner(reading)
	for n := range 40 { // 40 lines of 7 or 8 bytes rotate three times
		if !lines.Scan() || lines.Text() != fmt.Sprintf("line %d", n) {
			t.Fatalf("line %d: %q", n, lines.Text())
		}
		fmt.Fprintf(log, "line %d\n", n+1)
	}
	cancel()
	_, _ = io.Copy(io.Discard, reading)
	if err := <-done; err != nil {
		t.Errorf("follow = %v", err)
	}
}
