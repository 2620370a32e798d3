package runtimetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/provisioner/runtime"
	"berth/schema"
)

// Subject is a runtime that the contract is tried on.
type Subject struct {
	// Open returns a runtime of the named installation, which runs [Program] for every role. The contract closes it. Opened
	// again, it has what the installation had.
	Open func(t *testing.T, install string) runtime.Runtime
	// Secrets returns where secret files of the named installation are still kept.
	Secrets func(t *testing.T, install string) []string
}

// Run tries the contract of [runtime.Runtime].
func Run(t *testing.T, s Subject) {
	for name, test := range map[string]func(*testing.T, Subject){
		"start is safe to repeat, and stop is graceful":   startAndStop,
		"another spec is a conflict":                      otherSpec,
		"a stubborn instance is forced":                   stubborn,
		"logs outlive their instance until they go too":   logs,
		"a log that nobody wrote":                         noLogs,
		"a followed log goes on with the next instance":   follow,
		"ends are seen and counted":                       crashes,
		"why an instance ended is known":                  reasons,
		"what cannot be started is told before":           check,
		"secrets go with their instance":                  secrets,
		"instances outlive the runtime, or end with it":   closing,
		"what an instance may use is changed in place":    update,
		"what instances use":                              usage,
		"a command runs within an instance, if it can":    execute,
		"installations leave each other alone":            neighbours,
		"a call that is cut off may be made again":        cutOff,
		"instances of different names at the same time":   concurrent,
		"an instance that does not run is stopped easily": stopNothing,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) { test(t, s) })
	}
}

var program struct {
	sync.Once
	path string
	err  error
}

// Program builds the program that instances run, once, and returns its path. It is static: an image needs nothing else.
func Program(t testing.TB) string {
	t.Helper()
	program.Do(func() {
		var dir string
		if dir, program.err = os.MkdirTemp("", "berth-child-"); program.err != nil { //nolint:usetesting // it outlives the first test
			return
		}
		program.path = filepath.Join(dir, "child")
		cmd := exec.CommandContext(context.Background(), "go", "build", "-o", program.path, "berth/provisioner/runtime/runtimetest/child")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if said, err := cmd.CombinedOutput(); err != nil {
			program.err = fmt.Errorf("build the child: %w\n%s", err, said)
		}
	})
	if program.err != nil {
		t.Fatal(program.err)
	}
	return program.path
}

// RemoveProgram removes what Program built. A package's TestMain calls it at the end.
func RemoveProgram() {
	if program.path != "" {
		_ = os.RemoveAll(filepath.Dir(program.path))
	}
}

// Child returns the spec of an instance that lives so, see the program child.
func Child(how string) runtime.Spec {
	return runtime.Spec{
		Name: "provider1-ingest", Provider: "provider1", Role: "ingest", Slot: 1, ID: "one", Hash: "0123456789ab", Version: "v1",
		Env: map[string]string{"BERTH_TEST_CHILD": how}, Files: map[string][]byte{"BERTH_CREDENTIALS": []byte("the secret")},
	}
}

// Until waits for a condition, looking again every few milliseconds, and fails the test when it never holds.
func Until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
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

// subject opens a runtime, and has nothing left of it after the test.
func (s Subject) subject(t *testing.T, install string) runtime.Runtime {
	t.Helper()
	r := s.Open(t, install)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		all, err := r.Instances(ctx)
		if err != nil {
			t.Error(err)
		}
		for _, i := range append(all, runtime.Instance{Name: Child("").Name}) { // its logs, when it was stopped
			if err := r.Stop(ctx, i.Name, runtime.StopOptions{Purge: true}); err != nil {
				t.Error(err)
			}
		}
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

func start(t *testing.T, r runtime.Runtime, s runtime.Spec) {
	t.Helper()
	if err := r.Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func stop(t *testing.T, r runtime.Runtime, o runtime.StopOptions) {
	t.Helper()
	if err := r.Stop(t.Context(), Child("").Name, o); err != nil {
		t.Fatal(err)
	}
}

func instances(t *testing.T, r runtime.Runtime) []runtime.Instance {
	t.Helper()
	all, err := r.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// only returns the one instance that there is.
func only(t *testing.T, r runtime.Runtime) runtime.Instance {
	t.Helper()
	all := instances(t, r)
	if len(all) != 1 {
		t.Fatalf("instances %+v, want one", all)
	}
	return all[0]
}

// said returns the log of the instance that Child names; nothing when there is none.
func said(t *testing.T, r runtime.Runtime, o runtime.LogOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Logs(t.Context(), Child("").Name, o, &b); err != nil && !schema.Is(err, schema.NotFound) {
		t.Fatal(err)
	}
	return b.String()
}

// says waits until the instance has said something.
func says(t *testing.T, r runtime.Runtime, text string) {
	t.Helper()
	Until(t, "it says "+text, func() bool { return strings.Contains(said(t, r, runtime.LogOptions{}), text) })
}

func startAndStop(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	before := time.Now().Add(-time.Second)
	for range 2 {
		start(t, r, Child("obedient"))
	}
	i := only(t, r)
	if i.State != runtime.Running || i.Name != "provider1-ingest" || i.Provider != "provider1" || i.Role != "ingest" || i.ID != "one" ||
		i.Hash != "0123456789ab" || i.Version != "v1" || i.PID == 0 || i.Started.Before(before) || i.Failures != 0 || i.Restarts != 0 {
		t.Errorf("the instance is %+v", i)
	}
	says(t, r, "here with the secret\n")
	for range 2 {
		stop(t, r, runtime.StopOptions{})
	}
	if !strings.Contains(said(t, r, runtime.LogOptions{}), "ending: signal terminated") {
		t.Errorf("it was not asked to end:\n%s", said(t, r, runtime.LogOptions{}))
	}
	if all := instances(t, r); len(all) != 0 {
		t.Errorf("after the stop: %+v", all)
	}
}

func otherSpec(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	start(t, r, Child("obedient"))
	other := Child("obedient")
	other.Hash, other.ID = "ba9876543210", "two"
	if err := r.Start(t.Context(), other); !schema.Is(err, schema.Conflict) {
		t.Errorf("starting another spec: %v, want Conflict", err)
	}
	if i := only(t, r); i.ID != "one" || i.State != runtime.Running {
		t.Errorf("after it: %+v", i)
	}
	stop(t, r, runtime.StopOptions{})
	start(t, r, other)
	if i := only(t, r); i.ID != "two" || i.Hash != other.Hash {
		t.Errorf("the other one is %+v", i)
	}
}

func stubborn(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	start(t, r, Child("stubborn"))
	says(t, r, "here for ever")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := r.Stop(ctx, Child("").Name, runtime.StopOptions{}); err != nil {
		t.Error(err)
	}
	if all := instances(t, r); len(all) != 0 {
		t.Errorf("after the stop: %+v", all)
	}
}

func logs(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	neighbour := Child("obedient")
	neighbour.Name = "provider1-ingest2"
	start(t, r, neighbour)
	start(t, r, Child("chatty"))
	says(t, r, "line 19998\nline 19999\n")
	if got := said(t, r, runtime.LogOptions{Lines: 2}); got != "line 19999\nhere with the secret\n" {
		t.Errorf("the last 2 lines: %q", got)
	}
	stop(t, r, runtime.StopOptions{})
	start(t, r, Child("obedient"))
	Until(t, "the next one's line is there too", func() bool {
		text := said(t, r, runtime.LogOptions{})
		return strings.Contains(text, "line 19999\n") && strings.Count(text, "here with the secret\n") == 2
	})
	stop(t, r, runtime.StopOptions{Purge: true})
	if text := said(t, r, runtime.LogOptions{}); text != "" {
		t.Errorf("after a purge: %.300q", text)
	}
	var b bytes.Buffer
	if err := r.Logs(t.Context(), neighbour.Name, runtime.LogOptions{}, &b); err != nil || !strings.Contains(b.String(), "here with") {
		t.Errorf("the neighbour's log after a purge: %q, %v", b.String(), err)
	}
}

func noLogs(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	for _, name := range []string{"nobody", "provider1-ingest"} {
		if err := r.Logs(t.Context(), name, runtime.LogOptions{}, io.Discard); !schema.Is(err, schema.NotFound) {
			t.Errorf("the log of %s: %v, want NotFound", name, err)
		}
	}
}

// lockedBuffer is a buffer for two goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func follow(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	start(t, r, Child("obedient"))
	says(t, r, "here with the secret\n")
	ctx, cancel := context.WithCancel(t.Context())
	var text lockedBuffer
	done := make(chan error, 1)
	go func() { done <- r.Logs(ctx, Child("").Name, runtime.LogOptions{Lines: 1, Follow: true}, &text) }()
	for n := 1; n <= 3; n++ {
		Until(t, fmt.Sprintf("start %d is followed", n), func() bool { return strings.Count(text.String(), "here with the secret\n") == n })
		stop(t, r, runtime.StopOptions{})
		Until(t, fmt.Sprintf("end %d is followed", n), func() bool { return strings.Count(text.String(), "ending: signal terminated\n") == n })
		start(t, r, Child("obedient"))
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("following ended with %v", err)
	}
}

// crashing starts an instance again and again until it has failed n times in a row.
func crashing(t *testing.T, r runtime.Runtime, s runtime.Spec, n int) {
	t.Helper()
	Until(t, fmt.Sprintf("it has failed %d times", n), func() bool {
		start(t, r, s)
		return only(t, r).Failures >= n
	})
}

func crashes(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	start(t, r, Child("crash"))
	select {
	case <-r.Changes():
	case <-time.After(2 * time.Minute):
		t.Fatal("its end is not told")
	}
	crashing(t, r, Child("crash"), 3)
	var i runtime.Instance
	Until(t, "how it ended is known", func() bool {
		i = only(t, r)
		return i.Reason != ""
	})
	if i.Failures < 3 || i.Failing.IsZero() || i.Reason != "exit status 3" || i.State == runtime.Ended && i.Ended.Before(i.Started) {
		t.Errorf("after its ends: %+v", i)
	}
	stop(t, r, runtime.StopOptions{})
	changed := Child("obedient")
	changed.Hash = "ba9876543210"
	start(t, r, changed)
	if i := only(t, r); i.Failures != 0 || !i.Failing.IsZero() {
		t.Errorf("another spec inherits the failures: %+v", i)
	}
}

func reasons(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	var i runtime.Instance
	start(t, r, Child("failing"))
	Until(t, "what it said last is known", func() bool {
		i = only(t, r)
		return i.Error != ""
	})
	if i.Error != "catalog.db is damaged" || i.Reason != "exit status 1" {
		t.Errorf("it ended by %q and said %q last", i.Reason, i.Error)
	}
}

func check(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	if err := r.Check(t.Context(), Child("")); err != nil {
		t.Errorf("what can be started: %v", err)
	}
	missing := runtime.Spec{Role: "missing", Version: "v1", Image: "berth-test/missing:v1"}
	if err := r.Check(t.Context(), missing); !schema.Is(err, schema.NotFound) {
		t.Errorf("what cannot be started: %v, want NotFound", err)
	}
}

func secrets(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	start(t, r, Child("obedient"))
	says(t, r, "here with the secret\n")
	if kept := s.Secrets(t, "one"); len(kept) == 0 {
		t.Error("a running instance's secrets cannot be found: the test looks in the wrong place")
	}
	for range 2 {
		stop(t, r, runtime.StopOptions{})
		if kept := s.Secrets(t, "one"); len(kept) != 0 {
			t.Errorf("secrets after a stop: %v", kept)
		}
	}
}

func closing(t *testing.T, s Subject) {
	r := s.Open(t, "one")
	start(t, r, Child("obedient"))
	says(t, r, "here with the secret\n")
	before := only(t, r)
	for range 2 {
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r = s.subject(t, "one")
	if !r.Outlives() {
		if all := instances(t, r); len(all) != 0 || len(s.Secrets(t, "one")) != 0 {
			t.Errorf("after the end: %+v, %v", all, s.Secrets(t, "one"))
		}
		return
	}
	start(t, r, Child("obedient"))
	if after := only(t, r); after.PID != before.PID || !after.Started.Equal(before.Started) {
		t.Errorf("adopted it is %+v, before it was %+v", after, before)
	}
	if text := said(t, r, runtime.LogOptions{}); strings.Count(text, "here with the secret\n") != 1 {
		t.Errorf("it said %q", text)
	}
}

func update(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	more := runtime.Resources{Memory: 300 << 20, MilliCPU: 700, PIDs: 200}
	if err := r.Update(t.Context(), Child("").Name, more); !schema.Is(err, schema.NotFound) {
		t.Errorf("updating what does not run: %v, want NotFound", err)
	}
	spec := Child("obedient")
	spec.Resources = runtime.Resources{Memory: 200 << 20, MilliCPU: 500, PIDs: 100, Files: 2000}
	start(t, r, spec)
	before := only(t, r)
	if before.Resources != spec.Resources {
		t.Errorf("it may use %+v, wanted is %+v", before.Resources, spec.Resources)
	}
	more.Files = 2000
	for range 2 {
		if err := r.Update(t.Context(), spec.Name, more); err != nil {
			t.Fatal(err)
		}
		if i := only(t, r); i.Resources != more || i.PID != before.PID {
			t.Errorf("after the update: %+v, wanted is %+v", i, more)
		}
	}
}

func usage(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	start(t, r, Child("obedient"))
	says(t, r, "here with the secret\n")
	used, err := r.Usage(t.Context())
	if m := used["provider1-ingest"].Memory; err != nil || len(used) != 1 || m < 100<<10 || m > 100<<20 {
		t.Errorf("usage %v, %v", used, err)
	}
}

func execute(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	start(t, r, Child("obedient"))
	says(t, r, "here with the secret\n")
	var out, complaints bytes.Buffer
	o := runtime.ExecOptions{Args: []string{"echo", "a", "b c"}, In: strings.NewReader("read\n"), Out: &out, Err: &complaints}
	code, err := r.Exec(t.Context(), Child("").Name, o)
	if schema.Is(err, schema.Invalid) {
		return // this runtime has no such thing
	}
	if err != nil || code != 7 || out.String() != "a b c\nread\n" || complaints.String() != "a complaint\n" {
		t.Errorf("the command: %d, %v, %q, %q", code, err, out.String(), complaints.String())
	}
	if _, err := r.Exec(t.Context(), "nobody", o); !schema.Is(err, schema.NotFound) {
		t.Errorf("a command within nobody: %v, want NotFound", err)
	}
}

func neighbours(t *testing.T, s Subject) {
	one, two := s.subject(t, "one"), s.subject(t, "two")
	a, b := Child("obedient"), Child("obedient")
	b.ID = "two"
	start(t, one, a)
	start(t, two, b)
	says(t, two, "here with the secret\n")
	if i := only(t, one); i.ID != "one" {
		t.Errorf("the first installation has %+v", i)
	}
	stop(t, one, runtime.StopOptions{Purge: true})
	if i := only(t, two); i.ID != "two" || i.State != runtime.Running {
		t.Errorf("the second installation has %+v", i)
	}
	if text := said(t, two, runtime.LogOptions{}); !strings.Contains(text, "here with the secret\n") {
		t.Errorf("the second installation's log: %q", text)
	}
}

func cutOff(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	for _, limit := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond, 150 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_ = r.Start(ctx, Child("obedient"))
		cancel()
	}
	start(t, r, Child("obedient"))
	if i := only(t, r); i.State != runtime.Running {
		t.Errorf("after starts that were cut off: %+v", i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.Stop(ctx, Child("").Name, runtime.StopOptions{})
	stop(t, r, runtime.StopOptions{})
	if all := instances(t, r); len(all) != 0 || len(s.Secrets(t, "one")) != 0 {
		t.Errorf("after a stop that was cut off: %+v, %v", all, s.Secrets(t, "one"))
	}
}

func concurrent(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	const many = 6
	errs := make(chan error, many)
	name := func(n int) string { return fmt.Sprintf("provider%d-ingest", n%2+1) + strings.Repeat("x", n/2) }
	for n := range many {
		go func() {
			spec := Child("obedient")
			spec.Name, spec.Provider = name(n), fmt.Sprintf("provider%d", n%2+1)
			for range 2 {
				if err := r.Start(t.Context(), spec); err != nil {
					errs <- err
					return
				}
				if err := r.Stop(t.Context(), spec.Name, runtime.StopOptions{}); err != nil {
					errs <- err
					return
				}
			}
			errs <- r.Start(t.Context(), spec)
		}()
	}
	for range many {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if all := instances(t, r); len(all) != many {
		t.Errorf("%d instances, want %d", len(all), many)
	}
}

func stopNothing(t *testing.T, s Subject) {
	r := s.subject(t, "one")
	for _, purge := range []bool{false, true} {
		stop(t, r, runtime.StopOptions{Purge: purge})
	}
	if all := instances(t, r); len(all) != 0 {
		t.Errorf("instances %+v", all)
	}
}
