package world

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/internal/bus/bustest"
	"berth/internal/keyspace/open"
	"berth/provisioner/house"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/provisioner/runtime/runtimetest"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// newWorld returns a world in which the ingest of acme runs and was heard of, beside web.
func newWorld(t *testing.T) (*World, *bustest.House, *runtimetest.Fake) {
	t.Helper()
	b, fake := bustest.New(t), runtimetest.New()
	h, err := house.Open(t.Context(), b.Connect(b.Authority.House()), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	backend, err := open.Open("sqlite:"+t.TempDir(), b.Log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	w := New(Options{NATS: b.Server.URL(), Authority: b.Authority, House: h, Backend: backend, Runtime: fake, Logger: b.Log})
	t.Cleanup(w.Close)
	t.Cleanup(func() { _ = fake.Close(t.Context()) })
	added, err := h.Add(t.Context(), "acme", plan.Slots{PortBase: 6000, Holder: func(int) string { return "" }}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []plan.Step{
		{Provider: "acme", Kind: plan.CreateLog, Record: added.Provider},
		{Provider: "acme", Kind: plan.Start, Unit: &plan.Unit{Provider: "acme", Role: record.RoleIngest}},
		{Kind: plan.Start, Unit: &plan.Unit{Role: record.RoleWeb, Listen: "127.0.0.1:8080"}},
	} {
		if err := w.Apply(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "ingest is heard of", func() bool { return observe(t, w).Providers["acme"].Services["ingest"].State == "ready" })
	until(t, "web is in the registry", func() bool {
		all, err := h.Services().List(t.Context())
		return err == nil && len(all) == 1
	})
	return w, b, fake
}

func observe(t *testing.T, w *World) plan.World {
	t.Helper()
	world, err := w.Observe(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return world
}

// age lets everything that was heard, and the starts and looks before, be a minute ago.
func age(w *World, fake *runtimetest.Fake) {
	const d = time.Minute
	w.mu.Lock()
	defer w.mu.Unlock()
	fake.Age(d)
	w.awake = w.awake.Add(-d)
	for _, h := range []*hearing{&w.hearing, &w.providers["acme"].hearing} {
		for key, r := range h.renewed {
			h.renewed[key] = renewal{r.revision, r.at.Add(-d)}
		}
	}
}

// expire takes the entries of all instances of a role out of a registry, as time does.
func expire(t *testing.T, w *World, role string) {
	t.Helper()
	registry := w.o.House.Services()
	if role != record.RoleWeb {
		registry = w.providers["acme"].registry
	}
	all, err := registry.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key := range all {
		if err := registry.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// silence returns since how long the instances of acme's ingest and of web have said nothing; -1: they are not silent.
func silence(world plan.World) (ingest, web time.Duration) {
	ingest, web = -1, -1
	if s, ok := world.Providers["acme"].Silent["ingest"]; ok && !s.Never {
		ingest = time.Since(s.Since).Round(30 * time.Second) // a look may take seconds
	}
	if s, ok := world.House.Silent["web"]; ok {
		web = time.Since(s.Since).Round(30 * time.Second)
	}
	return ingest, web
}

func TestAnInstanceThatHangsIsSilentOnceItsEntryHasExpired(t *testing.T) {
	w, _, fake := newWorld(t)
	age(w, fake)
	if ingest, web := silence(observe(t, w)); ingest != -1 || web != -1 {
		t.Errorf("silent while they announce themselves: ingest %v, web %v", ingest, web)
	}
	fake.Hang("acme-ingest")
	fake.Hang("web")
	age(w, fake)
	if ingest, web := silence(observe(t, w)); ingest != -1 || web != -1 {
		t.Errorf("silent while their entries are there: ingest %v, web %v", ingest, web)
	}
	expire(t, w, record.RoleIngest)
	expire(t, w, record.RoleWeb)
	if ingest, web := silence(observe(t, w)); ingest < time.Minute || web < time.Minute {
		t.Errorf("silent for: ingest %v, web %v, want a minute", ingest, web)
	}
	var instances []runtime.Instance
	for _, s := range fake.Specs() {
		instances = append(instances, runtime.Instance{Provider: s.Provider, Role: s.Role, ID: s.ID + "2", State: runtime.Running})
	}
	w.unheard(instances) // others run in their place
	if n := len(w.hearing.renewed) + len(w.providers["acme"].hearing.renewed); n != 0 {
		t.Errorf("%d instances that are no more are remembered", n)
	}
}

func TestOneThatHasNeverAnsweredIsToldApart(t *testing.T) {
	w, _, fake := newWorld(t)
	fake.Hang("acme-ingest")
	expire(t, w, record.RoleIngest)
	w.mu.Lock()
	w.providers["acme"].hearing.renewed = nil
	w.mu.Unlock()
	age(w, fake)
	s, ok := observe(t, w).Providers["acme"].Silent["ingest"]
	if !ok || !s.Never {
		t.Errorf("silence %+v, %v, want one that has never answered", s, ok)
	}
}

func TestNobodyIsBlamedWhileTheRegistryCannotBeReadOrTheProvisionerSleeps(t *testing.T) {
	w, b, fake := newWorld(t)
	fake.Hang("acme-ingest")
	expire(t, w, record.RoleIngest)
	age(w, fake)
	w.mu.Lock()
	w.looked = w.looked.Add(-time.Minute)
	w.mu.Unlock()
	if ingest, _ := silence(observe(t, w)); ingest != 0 {
		t.Errorf("after a sleep ingest is silent for %v, want 0: it counts anew", ingest)
	}
	age(w, fake)
	if ingest, _ := silence(observe(t, w)); ingest < time.Minute {
		t.Errorf("a minute later ingest is silent for %v", ingest)
	}
	b.Server.Stop()
	if ingest, web := silence(observe(t, w)); ingest != -1 || web != -1 {
		t.Errorf("without a registry: ingest %v, web %v", ingest, web)
	}
	if deaf := w.providers["acme"].hearing.deaf; time.Since(deaf) > time.Minute {
		t.Errorf("the registry could not be read at %v", deaf)
	}
}
