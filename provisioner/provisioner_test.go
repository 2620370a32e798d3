package provisioner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/testport"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"berth/internal/bus"
	"berth/internal/bus/bustest"
	"berth/provisioner"
	"berth/provisioner/control"
	"berth/provisioner/runtime"
	"berth/provisioner/runtime/runtimetest"
	"berth/schema"
	"berth/schema/record"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, append(bustest.Leaks(), goleak.IgnoreAnyFunction("os/signal.loop"))...)
}

// name is the provider that most tests add.
const name = "provider1"

// daemon is a daemon with real records and a fake runtime.
type daemon struct {
	*provisioner.Provisioner
	*control.Client
	runtime *runtimetest.Fake
	stop    func()
}

func start(t *testing.T, data string, base int) *daemon {
	t.Helper()
	d := &daemon{runtime: runtimetest.New()}
	p, err := provisioner.New(options(data, base, d.runtime))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Provisioner, d.Client = p, control.NewClient(data)
	d.stop = func() {
		d.Close()
		if err := p.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(d.stop)
	return d
}

func options(data string, base int, r runtime.Runtime) provisioner.Options {
	return provisioner.Options{
		Data: data, Host: "127.0.0.1", PortBase: base, Version: "v1", Runtime: r, Logger: slog.New(slog.DiscardHandler),
	}
}

// until waits for a condition, looking again every few milliseconds, and fails the test when it never holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(2 * time.Minute); !holds(); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
	}
}

// add adds provider1 and waits until it is ready.
func (d *daemon) add(t *testing.T) control.Added {
	t.Helper()
	added, err := d.Add(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	d.ready(t)
	return added
}

// ready waits until provider1 is ready.
func (d *daemon) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if p, err := d.WaitReady(ctx, name, func(control.Provider) {}); err != nil {
		t.Fatalf("%s is not ready: %+v, %v", name, p, err)
	}
}

// houseServices returns the keys of the services that web sees, without the instances' IDs.
func (d *daemon) houseServices(t *testing.T, data string) []string {
	t.Helper()
	conn := d.web(t, data)
	defer conn.Close()
	bucket, err := conn.Bucket(t.Context(), bus.BucketOptions{Name: "services"})
	if err != nil {
		t.Fatal(err)
	}
	all, err := bucket.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{}
	for key, e := range all {
		var s record.Service
		if err := json.Unmarshal(e.Value, &s); err != nil || key != s.Provider+"."+s.Key() {
			t.Errorf("service %s: %s, %v", key, e.Value, err)
		}
		keys = append(keys, key[:strings.LastIndex(key, ".")])
	}
	slices.Sort(keys)
	return keys
}

func TestASecondStartFindsEverythingAgain(t *testing.T) {
	t.Parallel()
	data, base := t.TempDir(), testport.Base(t, 5)
	d := start(t, data, base)
	first := d.add(t)
	token, err := d.NewToken(t.Context(), "provider1", control.TokenRequest{Name: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	install := d.Provisioner.Status().Install
	d.stop()
	d = start(t, data, base)
	d.ready(t)
	second := d.add(t)
	if second.Changed || second.EnrolmentKey != first.EnrolmentKey || second.Port != first.Port || !second.Created.Equal(first.Created) {
		t.Errorf("after the second start:\n%+v\nbefore:\n%+v", second, first)
	}
	if tokens, err := d.Tokens(t.Context(), "provider1"); err != nil || len(tokens) != 1 || tokens[0].Name != token.Name {
		t.Errorf("tokens %+v, %v", tokens, err)
	}
	if d.Provisioner.Status().Install != install {
		t.Error("the installation has another id")
	}
}

func TestTwoDaemonsCannotShareADataDirectory(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	start(t, data, testport.Base(t, 5))
	other, err := provisioner.New(options(data, testport.Base(t, 5), runtimetest.New()))
	if err != nil {
		t.Fatal(err)
	}
	err = other.Start(t.Context())
	if !schema.Is(err, schema.Conflict) || !strings.Contains(schema.Show(err), fmt.Sprintf("provisioner(%d)", os.Getpid())) {
		t.Errorf("Start = %v, want a Conflict that names the holder", err)
	}
}

func TestTwoInstallationsRunBesideEachOther(t *testing.T) {
	t.Parallel()
	a, b := start(t, t.TempDir(), testport.Base(t, 5)), start(t, t.TempDir(), testport.Base(t, 5))
	first, second := a.add(t), b.add(t)
	if first.EnrolmentKey == second.EnrolmentKey || first.Port == second.Port {
		t.Errorf("they share something: %+v, %+v", first, second)
	}
}

func TestAnInstanceThatEndsIsStartedAgainAndWebSeesOnlyWhatRuns(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	d := start(t, data, testport.Base(t, 5))
	d.add(t)
	both := []string{"provider1.ingest", "provider1.reports"}
	until(t, "both are in the house", func() bool { return cmp.Equal(d.houseServices(t, data), both) })
	d.runtime.Crash("provider1-ingest", 2)
	d.ready(t)
	starts := 0
	for _, s := range d.runtime.Specs() {
		if s.Name == "provider1-ingest" {
			starts++
		}
	}
	if starts != 2 {
		t.Errorf("ingest was started %d times, want 2", starts)
	}
	until(t, "both are in the house again", func() bool { return cmp.Equal(d.houseServices(t, data), both) })
	if _, err := d.Remove(t.Context(), "provider1", false); err != nil {
		t.Fatal(err)
	}
	until(t, "the house knows nothing of it", func() bool { return len(d.houseServices(t, data)) == 0 })
}

func TestAChangeSaysWhetherIngestGoesByIt(t *testing.T) {
	t.Parallel()
	d := start(t, t.TempDir(), testport.Base(t, 5))
	d.add(t)
	tag := "truck"
	for _, now := range []string{"live", "refused", "silent"} {
		switch now {
		case "refused":
			d.runtime.Refuse(schema.Errorf(schema.Conflict, "ingest cannot use it"))
		case "silent":
			d.runtime.Hang(name + "-ingest")
		}
		taken := func(what string, got control.Taken) {
			t.Helper()
			if got.Live != (now == "live") || got.Refused != (now == "refused") || (got.Why == "") != got.Live {
				t.Errorf("%s is answered %+v, want it %s", what, got, now)
			}
		}
		k, err := d.Gateway(t.Context(), name, "add", control.GatewayRequest{Gateway: "gw-" + now})
		if err != nil || k.Key == "" {
			t.Errorf("%s: a key is answered %+v, %v", now, k, err)
		}
		taken("a key", k.Taken)
		tag += "s"
		set, err := d.Set(t.Context(), name, control.SettingsChange{GatewayTag: &tag})
		if err != nil || set.GatewayTag != tag {
			t.Errorf("%s: settings are answered %+v, %v", now, set, err)
		}
		taken("a setting", set.Taken)
	}
}

func TestAHeldPortIsWaitedForAndSaid(t *testing.T) {
	t.Parallel()
	base := testport.Base(t, 5)
	d := start(t, t.TempDir(), base)
	d.add(t)
	if _, err := d.Remove(t.Context(), "provider1", false); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Add(t.Context(), "provider1"); err != nil { // its own slot again
		t.Fatal(err)
	}
	want := fmt.Sprintf("port %d is held by ", base+1)
	until(t, "the holder is shown", func() bool {
		p, err := d.Provider(t.Context(), "provider1")
		return err == nil && strings.Contains(p.Detail, want) && strings.Contains(p.Detail, fmt.Sprintf("(%d)", os.Getpid()))
	})
	if added, err := d.Add(t.Context(), "provider2"); err != nil || added.Port != base+2 {
		t.Errorf("another provider: %+v, %v", added, err)
	}
	_ = l.Close()
	d.ready(t)
	until(t, "the other one is ready too", func() bool { // a server that is stopped while it makes a stream leaks
		p, err := d.Provider(t.Context(), "provider2")
		return err == nil && p.State == control.Ready
	})
}

func TestAPortThatIsHeldIsNotGiven(t *testing.T) {
	t.Parallel()
	base := testport.Base(t, 5)
	d := start(t, t.TempDir(), base)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	added := d.add(t)
	if added.Slot != 2 || len(added.Skipped) != 1 || !strings.Contains(added.Skipped[0], fmt.Sprintf("(%d)", os.Getpid())) {
		t.Errorf("added with slot %d, skipped %v", added.Slot, added.Skipped)
	}
}

func TestPurgeLeavesNothing(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	d := start(t, data, testport.Base(t, 5))
	d.add(t)
	old := d.runtime.Specs()[0]
	if _, err := d.NewToken(t.Context(), "provider1", control.TokenRequest{Name: "ci"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(data, "keyspaces", "provider1")); err != nil {
		t.Fatalf("no keyspace: %v", err)
	}
	web := d.web(t, data)
	defer web.Close()
	left := map[string]*bus.Bucket{}
	for _, of := range []string{"schedules", "runs", "runfiles"} {
		b, err := web.Bucket(t.Context(), bus.BucketOptions{Name: of})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"provider1.s1.1", "provider10.s2.1"} {
			if _, err := b.Put(t.Context(), key, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		left[of] = b
	}
	if _, err := d.Remove(t.Context(), "provider1", true); err != nil {
		t.Fatal(err)
	}
	until(t, "its slot rests", func() bool {
		p, err := d.Provider(t.Context(), "provider1")
		return err == nil && p.State == control.Resting
	})
	if _, err := os.Stat(filepath.Join(data, "keyspaces", "provider1")); err == nil {
		t.Error("its keyspace is still there")
	}
	if files, _ := filepath.Glob(filepath.Join(data, "authority", "providers", "*")); len(files) != 0 {
		t.Errorf("keys of its account are still there: %v", files)
	}
	for of, b := range left {
		all, err := b.List(t.Context())
		if got := slices.Sorted(maps.Keys(all)); err != nil || !cmp.Equal(got, []string{"provider10.s2.1"}) {
			t.Errorf("%s has %v, %v, want another provider's alone", of, got, err)
		}
	}
	if got, want := d.runtime.Purged(), []string{"provider1-ingest", "provider1-reports"}; !cmp.Equal(got, want) {
		t.Errorf("instances whose logs are gone: %v, want %v", got, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{URL: old.Env["BERTH_NATS"], Credentials: old.Files["BERTH_CREDENTIALS"], Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		conn.Close()
		t.Error("its old credentials still open the bus")
	}
}

func TestAPurgedNameCanBeAddedAgainAtOnceWithAnotherSlot(t *testing.T) {
	t.Parallel()
	data, base := t.TempDir(), testport.Base(t, 5)
	d := start(t, data, base)
	first := d.add(t)
	for n := range 2 { // again, so that two slots rest
		if _, err := d.Remove(t.Context(), name, true); err != nil {
			t.Fatal(err)
		}
		until(t, "its data are gone", func() bool {
			_, err := d.Add(t.Context(), name)
			if err != nil && !schema.Is(err, schema.Conflict) {
				t.Fatal(err)
			}
			return err == nil
		})
		d.ready(t)
		again := d.add(t)
		if again.Slot != schema.Slot(n+2) || again.Changed || again.EnrolmentKey == first.EnrolmentKey {
			t.Errorf("added again: slot %d, changed %v; want slot %d and a key of its own", again.Slot, again.Changed, n+2)
		}
	}
	other, err := d.Add(t.Context(), "provider2")
	if err != nil || other.Slot != 4 {
		t.Errorf("another provider has slot %d, %v, want 4: the purged one's rest", other.Slot, err)
	}
	ready := func() {
		d.ready(t)
		until(t, "the other one is ready too", func() bool { // a server that is stopped while it makes a stream leaks
			p, err := d.Provider(t.Context(), "provider2")
			return err == nil && p.State == control.Ready
		})
	}
	ready()
	d.stop()
	d = start(t, data, base)
	ready()
}

// TestAKilledProvisionerGoesOn kills the daemon, as far as a test can, after each number of starts of instances that
// fail in between, and lets the next one go on.
func TestAKilledProvisionerGoesOn(t *testing.T) {
	t.Parallel()
	data, base := t.TempDir(), testport.Base(t, 5)
	d := start(t, data, base)
	hold := make(chan struct{})
	d.runtime.Fail = func(runtime.Spec) error { <-hold; return schema.Errorf(schema.Unavailable, "killed") }
	added, err := d.Add(t.Context(), "provider1")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the log is made", func() bool {
		files, _ := filepath.Glob(filepath.Join(data, "nats", "jetstream", "*", "streams", "LOG"))
		return len(files) == 1
	})
	close(hold)
	d.stop()
	d = start(t, data, base)
	d.ready(t)
	again := d.add(t)
	if again.Changed || again.Port != added.Port || again.EnrolmentKey != added.EnrolmentKey {
		t.Errorf("after the kill %+v, before %+v", again, added)
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*provisioner.Options){
		"no data":     func(o *provisioner.Options) { o.Data = "" },
		"no host":     func(o *provisioner.Options) { o.Host = "" },
		"a port base": func(o *provisioner.Options) { o.PortBase = 70000 },
		"web":         func(o *provisioner.Options) { o.Web = "8080" },
		"web's port":  func(o *provisioner.Options) { o.Web = "127.0.0.1:x" },
		"a NATS port": func(o *provisioner.Options) { o.NATSPort = -1 },
	} {
		o := options("x", 6000, nil)
		change(&o)
		if _, err := provisioner.New(o); !schema.Is(err, schema.Invalid) {
			t.Errorf("%s: %v, want Invalid", what, err)
		}
	}
}

func TestWebsAddressIsSaidToBeHeld(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	o := options(t.TempDir(), testport.Base(t, 5), runtimetest.New())
	o.Web = l.Addr().String()
	p, err := provisioner.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); !schema.Is(err, schema.Conflict) || !strings.Contains(schema.Show(err), "--web") {
		t.Errorf("Start = %v, want a Conflict with the next command", err)
	}
}

func TestALongDataDirectoryHasItsSocketToo(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), strings.Repeat("deep/", 25))
	d := start(t, data, testport.Base(t, 5))
	if s, err := d.Client.Status(t.Context()); err != nil || s.Data != filepath.Clean(data) {
		t.Errorf("status %+v, %v", s, err)
	}
	if info, err := os.Stat(filepath.Join(data, "provisioner.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v, want mode 0600", info, err)
	}
}

func TestLogsAreStreamed(t *testing.T) {
	t.Parallel()
	d := start(t, t.TempDir(), testport.Base(t, 5))
	var out bytes.Buffer
	if err := d.Logs(t.Context(), "provider1-ingest", runtime.LogOptions{}, &out); err != nil || !strings.Contains(out.String(), "says two") {
		t.Errorf("logs %q, %v", out.String(), err)
	}
}

func TestProvidersAddedAtOnceGetSlotsOfTheirOwn(t *testing.T) {
	t.Parallel()
	d := start(t, t.TempDir(), testport.Base(t, 5))
	const many = 5
	var (
		wg    sync.WaitGroup
		slots [many]schema.Slot
	)
	for n := range many {
		wg.Go(func() {
			added, err := d.Add(t.Context(), fmt.Sprintf("provider%d", n+1))
			if err != nil {
				t.Error(err)
			}
			slots[n] = added.Slot
		})
	}
	wg.Wait()
	slices.Sort(slots[:])
	for n := 1; n < many; n++ {
		if slots[n] == slots[n-1] {
			t.Fatalf("slots %v: one was given twice", slots)
		}
	}
	// Changes of one record at once are all kept.
	for n := range many {
		wg.Go(func() {
			if _, err := d.Restart(t.Context(), "provider1"); err != nil {
				t.Error(n, err)
			}
		})
	}
	wg.Wait()
	until(t, "all are ready", func() bool {
		all, err := d.Providers(t.Context(), false)
		return err == nil && len(all) == many && !slices.ContainsFunc(all, func(p control.Provider) bool { return p.State != control.Ready })
	})
}
