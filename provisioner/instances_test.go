package provisioner_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/testport"
	"berth/provisioner/control"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// missing lets starts of an image fail that there is not.
func (d *daemon) missing() {
	d.runtime.Fail = func(s runtime.Spec) error {
		if s.Image == "missing:1" {
			return schema.Errorf(schema.NotFound, "there is no image %s", s.Image)
		}
		return nil
	}
}

// image asks for an image of ingest.
func (d *daemon) image(t *testing.T, image string) {
	t.Helper()
	if _, err := d.Update(t.Context(), name, control.UpdateRequest{Role: record.RoleIngest, Image: &image}); err != nil {
		t.Fatal(err)
	}
}

// TestATrialGoesOnAfterAKill: the daemon ends while a new image cannot be started; the next one brings the old one back.
func TestATrialGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	data, base := t.TempDir(), testport.Base(t, 5)
	d := start(t, data, base)
	d.missing()
	d.add(t)
	d.image(t, "good:1")
	d.ready(t)
	hold := make(chan struct{})
	d.runtime.Fail = func(runtime.Spec) error { <-hold; return schema.Errorf(schema.Unavailable, "killed") }
	d.image(t, "missing:1")
	until(t, "the old image is stopped", func() bool {
		p, err := d.Provider(t.Context(), name)
		return err == nil && len(p.Instances) == 1
	})
	close(hold)
	d.stop()
	d = start(t, data, base)
	d.missing()
	d.ready(t)
	p, err := d.Provider(t.Context(), name)
	w := p.Roles[record.RoleIngest]
	if err != nil || w.Image != "good:1" || w.Trial != nil || w.Reverted == nil || w.Reverted.Image != "missing:1" || !strings.Contains(p.Detail, "missing:1") {
		t.Errorf("after the kill %+v, %q, %v; want that good:1 is back, and why", w, p.Detail, err)
	}
	if i := p.Instances[0]; i.Image != "good:1" {
		t.Errorf("ingest runs image %s", i.Image)
	}
	d.image(t, "good:2")
	d.ready(t)
	if p, err = d.Provider(t.Context(), name); err != nil || p.Roles[record.RoleIngest] != (record.Wish{Image: "good:2"}) || p.Detail != "" {
		t.Errorf("after a good image %+v, %q, %v", p.Roles, p.Detail, err)
	}
}

// TestResourcesChangeInPlace: no instance is started for it, and the next start has them too.
func TestResourcesChangeInPlace(t *testing.T) {
	t.Parallel()
	d := start(t, t.TempDir(), testport.Base(t, 5))
	d.add(t)
	before := len(d.runtime.Specs())
	if _, err := d.Update(t.Context(), name, control.UpdateRequest{Resources: map[string]int64{"memory": 64 << 20}}); err != nil {
		t.Fatal(err)
	}
	d.ready(t)
	p, err := d.Provider(t.Context(), name)
	if err != nil || len(p.Instances) != 2 || p.Instances[0].Resources.Memory != 64<<20 || p.Instances[1].Resources.Memory != 64<<20 {
		t.Errorf("instances %+v, %v", p.Instances, err)
	}
	if now := len(d.runtime.Specs()); now != before {
		t.Errorf("%d instances were started for it", now-before)
	}
	if _, err := d.Restart(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	d.ready(t)
	for _, s := range d.runtime.Specs()[before:] {
		if s.Resources.Memory != 64<<20 {
			t.Errorf("%s is started with %+v", s.Name, s.Resources)
		}
	}
}

// TestAStoppedProviderStaysStopped: after a start of the daemon too, and until it is started; its slot is nobody's.
func TestAStoppedProviderStaysStopped(t *testing.T) {
	t.Parallel()
	data, base := t.TempDir(), testport.Base(t, 5)
	d := start(t, data, base)
	d.add(t)
	if answer, err := d.Client.Stop(t.Context(), name); err != nil || !answer.Changed {
		t.Fatal(answer, err)
	}
	d.ready(t) // as wanted
	d.stop()
	d = start(t, data, base)
	if other, err := d.Add(t.Context(), "provider2"); err != nil || other.Slot != 2 {
		t.Errorf("another provider has slot %d, %v", other.Slot, err)
	}
	until(t, "the other one is ready", func() bool {
		p, err := d.Provider(t.Context(), "provider2")
		return err == nil && p.State == control.Ready
	})
	if p, err := d.Provider(t.Context(), name); err != nil || p.State != control.Stopped || len(p.Instances) != 0 {
		t.Errorf("after the start %+v, %v", p, err)
	}
	if slices.ContainsFunc(d.runtime.Specs(), func(s runtime.Spec) bool { return s.Provider == name }) {
		t.Error("an instance of a stopped provider was started")
	}
	if _, err := d.Client.Start(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	until(t, "it is ready", func() bool {
		p, err := d.Provider(t.Context(), name)
		return err == nil && p.State == control.Ready
	})
}

// TestACrashLoopOfTheRuntimeIsHalted: one that its runtime starts again and again is stopped, said, and started when
// somebody asks for it.
func TestACrashLoopOfTheRuntimeIsHalted(t *testing.T) {
	t.Parallel()
	d := start(t, t.TempDir(), testport.Base(t, 5))
	d.add(t)
	d.runtime.Loop(name+"-ingest", plan.LoopAfter)
	d.runtime.Hang(name + "-reports") // the loop looks again for another reason than its idle time
	var p control.Provider
	until(t, "it is halted", func() bool {
		d.runtime.Loop(name+"-ingest", plan.LoopAfter) // another too, that took its place because a busy machine let it say nothing
		var err error
		p, err = d.Provider(t.Context(), name)
		return err == nil && p.State == control.Looping && len(p.Instances) == 1
	})
	for _, want := range []string{"ingest is crash-looping since", "10 times", "exit status 2", "provisioner restart provider1"} {
		if !strings.Contains(p.Detail, want) {
			t.Errorf("%q does not say %q", p.Detail, want)
		}
	}
	if _, err := d.Restart(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	d.ready(t)
	if took := time.Since(begun); took > plan.LoopPause/2 {
		t.Errorf("ready %v after it was asked for", took)
	}
	if p, err := d.Provider(t.Context(), name); err != nil || p.Instances[0].Restarts != plan.LoopAfter {
		t.Errorf("ingest was started again %d times, %v, want %d", p.Instances[0].Restarts, err, plan.LoopAfter)
	}
}

// TestOrphansAreSaidAndCollected: an instance that no record wants runs on, until somebody has it collected.
func TestOrphansAreSaidAndCollected(t *testing.T) {
	t.Parallel()
	d := start(t, t.TempDir(), testport.Base(t, 5))
	d.add(t)
	for _, s := range []runtime.Spec{
		{Name: "ghost-ingest", Provider: "ghost", Role: "ingest", ID: "a", Hash: "h"},
		{Name: "provider1-oracle", Provider: name, Role: "oracle", ID: "b", Hash: "h"},
	} {
		if err := d.runtime.Start(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Restart(t.Context(), name); err != nil { // so that the loop has looked at them
		t.Fatal(err)
	}
	d.ready(t)
	names := func() (names []string) {
		orphans, err := d.Orphans(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range orphans {
			names = append(names, o.Name)
		}
		return names
	}
	both := []string{"ghost-ingest", "provider1-oracle"}
	if got := names(); !slices.Equal(got, both) {
		t.Errorf("orphans %v, want %v", got, both)
	}
	for _, req := range []control.CollectRequest{{Apply: true, Grace: time.Hour}, {}} {
		c, err := d.Collect(t.Context(), req)
		if err != nil || len(c.Steps) != 2 || (c.Steps[0].Kind == plan.Wait) != req.Apply {
			t.Errorf("%+v: %+v, %v", req, c, err)
		}
		if got := names(); !slices.Equal(got, both) {
			t.Errorf("after %+v there are %v", req, got)
		}
	}
	if _, err := d.Collect(t.Context(), control.CollectRequest{Apply: true}); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != nil {
		t.Errorf("after the collection there are %v", got)
	}
	d.ready(t)
}
