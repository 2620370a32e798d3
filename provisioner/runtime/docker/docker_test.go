package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/testport"

	"go.uber.org/goleak"

	"berth/internal/dockertest"
	"berth/provisioner/runtime"
	"berth/provisioner/runtime/runtimetest"
	"berth/schema"
)

func TestMain(m *testing.M) {
	code := m.Run()
	runtimetest.RemoveProgram()
	dockertest.Stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// image is that of the contract's program.
const image = "berth-test/child:v1"

// makeImage has the engine have the image.
func makeImage(t *testing.T, e *dockertest.Engine) {
	t.Helper()
	if _, err := e.Do(t.Context(), "image", "inspect", image); err == nil {
		return
	}
	program, err := os.ReadFile(runtimetest.Program(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := w.WriteHeader(&tar.Header{Name: "child", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	e.Must(t, "import", "--change", `ENTRYPOINT ["/child"]`,
		"--change", `HEALTHCHECK --interval=1s --retries=2 CMD ["/child", "healthy"]`, path, image)
}

// place is where a test's runtimes keep what they have.
type place struct {
	engine *dockertest.Engine
	dir    string
	suffix string // of the installations' ids: the engine may be shared
}

func newPlace(t *testing.T) *place {
	t.Helper()
	e := dockertest.Shared(t)
	makeImage(t, e)
	p := &place{engine: e, dir: t.TempDir(), suffix: fmt.Sprintf("%x", time.Now().UnixNano()&0xffffff)}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, install := range []string{"one", "two"} {
			label := "label=" + labelInstall + "=" + p.install(install)
			for what, list := range map[string][]string{"container": {"ps", "-aq"}, "network": {"network", "ls", "--format", "{{.Name}}"}, "volume": {"volume", "ls", "-q"}} {
				left, err := e.Do(ctx, append(list, "--filter", label)...)
				left = strings.TrimSpace(strings.Replace(left, "berth-"+p.install(install)+"-control", "", 1))
				if err != nil || left != "" {
					t.Errorf("left of installation %s: %s %s, %v", install, what, left, err)
				}
			}
			_, _ = e.Do(ctx, "network", "rm", "berth-"+p.install(install)+"-control")
		}
	})
	return p
}

func (p *place) install(name string) string { return name + p.suffix }

func (p *place) open(t *testing.T, install string, change func(*Options)) *Runtime {
	t.Helper()
	o := Options{
		Host: p.engine.Address, Install: p.install(install), Logs: filepath.Join(p.dir, install), Logger: slog.New(slog.DiscardHandler),
		Image: func(string, string) string { return image },
	}
	if change != nil {
		change(&o)
	}
	r, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// secrets returns the volumes of an installation: secrets are nowhere else.
func (p *place) secrets(t *testing.T, install string) []string {
	t.Helper()
	return strings.Fields(p.engine.Must(t, "volume", "ls", "-q", "--filter", "label="+labelInstall+"="+p.install(install)))
}

func TestContract(t *testing.T) {
	p := newPlace(t)
	runtimetest.Run(t, runtimetest.Subject{
		Open:    func(t *testing.T, install string) runtime.Runtime { return p.open(t, install, nil) },
		Secrets: p.secrets,
	})
}

// said waits until the instance has said something, and returns its log.
func said(t *testing.T, r *Runtime, text string) (log string) {
	t.Helper()
	runtimetest.Until(t, "it says "+text, func() bool {
		var b strings.Builder
		_ = r.Logs(t.Context(), runtimetest.Child("").Name, runtime.LogOptions{}, &b)
		log = b.String()
		return strings.Contains(log, text)
	})
	return log
}

// started opens a runtime of installation one, starts the instance, and has all gone after the test.
func (p *place) started(t *testing.T, s runtime.Spec) *Runtime {
	t.Helper()
	r := p.open(t, "one", nil)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(r.Stop(ctx, s.Name, runtime.StopOptions{Purge: true}), r.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	if err := r.Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return r
}

func only(t *testing.T, r *Runtime) runtime.Instance {
	t.Helper()
	all, err := r.Instances(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("instances %+v, %v, want one", all, err)
	}
	return all[0]
}

func TestAnInstanceMayDoLittle(t *testing.T) {
	p := newPlace(t)
	s := runtimetest.Child("searched")
	folder := t.TempDir()
	s.Folders = map[string]string{"/folders/provider1": folder}
	s.Env["BERTH_TEST_FOLDER"] = "/folders/provider1"
	s.Resources.Files = 3000
	r := p.started(t, s)
	log := said(t, r, "searched")
	for _, want := range []string{
		"uid=65532 gid=65532", "write /new: false", "write /run/berth/new: false", "write /folders/provider1/new: true",
		"CapPrm:0000000000000000", "CapEff:0000000000000000", "CapBnd:0000000000000000", "NoNewPrivs:1", "files=3000",
	} {
		if os.Getuid() == 0 && !strings.Contains(log, want+"\n") {
			t.Errorf("it does not say %s:\n%s", want, log)
		}
	}
	name := r.containerName(s)
	shown := p.engine.Must(t, "inspect", name)
	if strings.Contains(shown, "the secret") {
		t.Error("whoever may inspect the container reads its secret")
	}
	if got := p.engine.Must(t, "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.Privileged}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig.Config}}", name); got != "1073741824 512 false always map[max-file:3 max-size:4194304]" {
		t.Errorf("it is held to %s", got)
	}
}

// echo returns what comes back from an address.
func echo(t *testing.T, network, address string) string {
	t.Helper()
	c, err := net.DialTimeout(network, address, 2*time.Second)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	b := make([]byte, 10)
	if _, err := c.Write([]byte("ahoy")); err != nil {
		return err.Error()
	}
	n, err := c.Read(b)
	if err != nil {
		return err.Error()
	}
	return string(b[:n])
}

func serving(t *testing.T) runtime.Spec {
	t.Helper()
	s := runtimetest.Child("serving")
	port := testport.Base(t, 1) + 1
	s.Env["BERTH_TEST_PORT"] = fmt.Sprint(port)
	s.Ports = []runtime.Port{{Host: "127.0.0.1", Number: port, UDP: true}}
	return s
}

func TestPortsArePublished(t *testing.T) {
	p := newPlace(t)
	s := serving(t)
	r := p.started(t, s)
	said(t, r, "serving")
	address := fmt.Sprintf("127.0.0.1:%d", s.Ports[0].Number)
	for _, network := range []string{"tcp", "udp"} {
		if got := echo(t, network, address); got != "ahoy" {
			t.Errorf("by %s it answers %q", network, got)
		}
	}
	within := p.engine.Must(t, "inspect", "-f", "{{(index .NetworkSettings.Networks \""+r.controlName()+"\").IPAddress}}", r.containerName(s))
	if got := echo(t, "tcp", net.JoinHostPort(within, fmt.Sprint(s.Ports[0].Number))); got != "ahoy" {
		t.Errorf("in the control network it answers %q", got)
	}
	if in := r.Inside(); !in.Network.Contains(netip.MustParseAddr(within)) || !in.Network.Contains(in.Gateway) {
		t.Errorf("the control network is %v with this machine at %v, the instance is at %s", in.Network, in.Gateway, within)
	}

	// A port that something else has is said, and nothing is left of the start.
	other := s
	other.Name, other.Provider = "provider2-ingest", "provider2"
	err := r.Start(t.Context(), other)
	if !schema.Is(err, schema.Unavailable) || !strings.Contains(schema.Show(err), address+" is held") {
		t.Errorf("starting on a port that is taken: %v", err)
	}
	if all, err := r.Instances(t.Context()); len(all) != 1 || err != nil {
		t.Errorf("after it: %+v, %v", all, err)
	}
}

// TestTheEngineStartsAgainWhatEnds: its secrets are there again, and its ends are counted.
func TestTheEngineStartsAgainWhatEnds(t *testing.T) {
	p := newPlace(t)
	r := p.started(t, runtimetest.Child("obedient"))
	for n := 1; n <= 3; n++ {
		var i runtime.Instance
		runtimetest.Until(t, fmt.Sprintf("it runs for the time %d", n), func() bool {
			i = only(t, r)
			return i.Restarts == n-1 && i.PID != 0 && strings.Count(said(t, r, "here"), "here with the secret\n") == n
		})
		if err := syscall.Kill(i.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		runtimetest.Until(t, "its end is counted", func() bool {
			i = only(t, r)
			if i.Unhealthy != "" {
				t.Errorf("one that ended is said to be ill: %s", i.Unhealthy)
			}
			return i.Failures == n
		})
	}
	if i := only(t, r); i.Reason != "signal: killed" && i.Reason != "" || i.ID != "one" || i.Failing.IsZero() {
		t.Errorf("it is %+v", i)
	}
	runtimetest.Until(t, "it has run for a while and has not failed", func() bool { return only(t, r).Failures == 0 })
}

func TestAnIllInstanceIsTold(t *testing.T) {
	p := newPlace(t)
	s := runtimetest.Child("obedient")
	s.Env["BERTH_TEST_SICK"] = "yes"
	r := p.started(t, s)
	runtimetest.Until(t, "it is ill", func() bool { return only(t, r).Unhealthy != "" })
	if i := only(t, r); i.Unhealthy != "the cough does not go" || i.State != runtime.Running {
		t.Errorf("it is %+v", i)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	p := newPlace(t)
	s := runtimetest.Child("hungry")
	s.Resources.Memory = 32 << 20
	r := p.started(t, s)
	var reason string
	runtimetest.Until(t, "it ended", func() bool {
		reason = only(t, r).Reason
		return reason != ""
	})
	if reason != "out of memory: it may use 32 MiB" {
		t.Errorf("it ended by %q", reason)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	p := newPlace(t)
	r := p.started(t, runtimetest.Child("obedient"))
	s := runtimetest.Child("obedient")
	s.Name, s.Provider, s.Image = "provider2-ingest", "provider2", "berth-test/none:v1"
	if err := r.Start(t.Context(), s); !schema.Is(err, schema.NotFound) || !strings.Contains(schema.Show(err), "make images") {
		t.Errorf("starting without an image: %v", err)
	}
	s.Image, s.Resources.MilliCPU = "", 1_000_000
	if err := r.Start(t.Context(), s); !schema.Is(err, schema.Invalid) || !strings.Contains(schema.Show(err), "provisioner update") {
		t.Errorf("starting with a thousand processors: %v", err)
	}
	for host, code := range map[string]schema.Code{"unix:///nowhere/docker.sock": schema.Unavailable, "nonsense": schema.Invalid} {
		_, err := New(t.Context(), Options{Host: host, Install: "one", Logs: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
		if !schema.Is(err, code) {
			t.Errorf("an engine at %s: %v, want %s", host, err, code)
		}
	}
}

// TestWhatIsNotOursStays: a container and a network of our names without our label are left alone, and named.
func TestWhatIsNotOursStays(t *testing.T) {
	p := newPlace(t)
	r := p.started(t, runtimetest.Child("obedient"))
	s := runtimetest.Child("obedient")
	s.Name, s.Provider = "provider2-ingest", "provider2"
	name := r.containerName(s)
	p.engine.Must(t, "create", "--name", name, image)
	t.Cleanup(func() { _, _ = p.engine.Do(context.WithoutCancel(t.Context()), "rm", "-fv", name) })
	if err := r.Start(t.Context(), s); !schema.Is(err, schema.Conflict) || !strings.Contains(schema.Show(err), "docker inspect "+name) {
		t.Errorf("starting where a stranger's container is: %v", err)
	}
	if got := p.engine.Must(t, "inspect", "-f", "{{.State.Status}}", name); got != "created" {
		t.Errorf("the stranger's container is %s", got)
	}
	network := r.networkName("provider3")
	p.engine.Must(t, "network", "create", network)
	t.Cleanup(func() { _, _ = p.engine.Do(context.WithoutCancel(t.Context()), "network", "rm", network) })
	s.Name, s.Provider = "provider3-ingest", "provider3"
	if err := r.Start(t.Context(), s); !schema.Is(err, schema.Conflict) || !strings.Contains(schema.Show(err), "docker network rm") {
		t.Errorf("starting where a stranger's network is: %v", err)
	}
}

// TestAnEngineComesBackWithItsInstances: with their secrets and ports, after it was killed and after it was stopped.
func TestAnEngineComesBackWithItsInstances(t *testing.T) {
	e := dockertest.Started(t)
	makeImage(t, e)
	p := &place{engine: e, dir: t.TempDir()}
	s := serving(t)
	r := p.started(t, s)
	address := fmt.Sprintf("127.0.0.1:%d", s.Ports[0].Number)
	said(t, r, "serving")
	for what, end := range map[string]func(){"killed": func() { e.Kill() }, "stopped": func() { e.Stop() }} {
		end()
		if _, err := r.Instances(t.Context()); !schema.Is(err, schema.Unavailable) {
			t.Errorf("an engine that was %s: %v, want Unavailable", what, err)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		runtimetest.Until(t, "it answers after its engine was "+what, func() bool { return echo(t, "tcp", address) == "ahoy" })
		if i := only(t, r); i.ID != "one" || i.State != runtime.Running {
			t.Errorf("after its engine was %s: %+v", what, i)
		}
	}
}
