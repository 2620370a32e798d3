package plan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// TestEveryPrefixOfAPlanReachesTheSameWorld draws a history of wishes, cuts the loop off after any number of steps
// (sometimes with the provisioner killed, its children and its knowledge gone with it), and lets it go on.
func TestEveryPrefixOfAPlanReachesTheSameWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		calm, cut := newModel(), newModel()
		cut.outlives = rapid.Bool().Draw(t, "instances outlive the provisioner")
		for range rapid.IntRange(1, 6).Draw(t, "wishes") {
			wish := drawWish(t, calm.now)
			if len(calm.records) != len(cut.records) || cut.onTrial() {
				// One that is still being purged cannot be added again, and an image that was not kept yet does not come back: the
				// wish would differ.
				cut.settle()
			}
			wish(calm)
			wish(cut)
			if !calm.settle() {
				t.Fatalf("the plan never ends: %v", plan.Plan(calm.desired(), calm.observe(), calm.now))
			}
			for range rapid.IntRange(0, 3).Draw(t, "interruptions") {
				steps := plan.Plan(cut.desired(), cut.observe(), cut.now)
				for _, s := range steps[:rapid.IntRange(0, len(steps)).Draw(t, "done")] {
					if !cut.apply(s, rapid.SampledFrom([]outcome{good, good, unheard}).Draw(t, "outcome")) {
						break
					}
				}
				if rapid.Bool().Draw(t, "killed") {
					cut.kill()
				}
			}
			if rapid.Bool().Draw(t, "settled") {
				cut.settle()
			}
		}
		if !cut.settle() {
			t.Fatalf("the plan never ends: %v", plan.Plan(cut.desired(), cut.observe(), cut.now))
		}
		// What was wished for and taken back before anything was done leaves no trace in the one, and data in the other.
		if d := cmp.Diff(calm.truth(), cut.truth(), cmp.FilterPath(func(p cmp.Path) bool {
			return p.String() == "Keyspaces" || p.String() == "Logs" || p.String() == "Pipelines"
		}, cmp.Comparer(func(_, _ any) bool { return true }))); d != "" {
			t.Fatalf("another world (-calm +cut):\n%s", d)
		}
		for _, p := range cut.desired() {
			if p.Wanted == record.Active && (!cut.keyspaces[p.Keyspace] || !cut.logs[p.Name] || cut.pipelines[p.Name] != plan.PipelineFingerprint(&p) || cut.certificates[p.Name] != cut.site.Certificate) {
				t.Fatalf("%s lacks something: %+v", p.Name, cut.truth())
			}
		}
	})
}

// drawWish draws a change of what is wanted, or of what is, as an operator or bad luck makes it.
func drawWish(t *rapid.T, now time.Time) func(*model) {
	n := rapid.IntRange(1, 3).Draw(t, "provider")
	name := fmt.Sprintf("provider%d", n)
	change := func(fn func(p *record.Provider)) func(*model) {
		return func(m *model) { m.change(name, fn) }
	}
	switch rapid.SampledFrom([]string{
		"add", "add", "remove", "purge", "restart", "set", "upgrade", "crash", "hang", "stop", "start", "resources", "image",
	}).Draw(t, "wish") {
	case "stop":
		return change(func(p *record.Provider) { p.Wanted = record.Stopped })
	case "start":
		return change(func(p *record.Provider) { p.Wanted = record.Active })
	case "resources":
		memory := rapid.SampledFrom([]int64{0, 64 << 20, 128 << 20}).Draw(t, "memory")
		return change(func(p *record.Provider) {
			w := p.Roles[record.RoleReports]
			w.Resources.Memory = memory
			p.SetRole(record.RoleReports, w)
		})
	case "image":
		image := rapid.SampledFrom([]string{"", "good:1", "good:2", imageMissing, imageCrashes, imageSilent}).Draw(t, "image")
		return func(m *model) { m.try(name, image) }
	case "remove":
		return change(func(p *record.Provider) { p.Wanted, p.Removed = record.Removed, now })
	case "purge":
		return change(func(p *record.Provider) { p.Wanted, p.Removed, p.Purge = record.Removed, now, true })
	case "restart":
		return change(func(p *record.Provider) { p.Restart++ })
	case "set":
		return change(func(p *record.Provider) { p.Settings.Retention += time.Hour })
	case "upgrade":
		return func(m *model) { m.site.Version += "+" }
	case "hang":
		return func(m *model) { m.hang(name, record.RoleIngest, plan.Silence{Since: m.now}) }
	case "crash":
		return func(m *model) {
			for role, i := range m.instances[name] {
				i.State, i.Failures, i.Ended, i.Reason = runtime.Ended, 3, m.now, "signal: killed"
				m.instances[name][role] = i
				delete(m.silent[name], role)
			}
		}
	default:
		return func(m *model) {
			if p, ok := m.records[name]; !ok || p.Wanted == record.Removed && !p.Purge {
				m.records[name] = provider(name, schema.Slot(n))
			}
		}
	}
}

// beforeAll is in the place of the number of a step: before the first.
const beforeAll = -2

// TestEveryStepMayBeCutOff kills the provisioner before and after every single step of what an operator asks for, and has every single
// step fail although it took effect, with instances that end with the provisioner and with ones that go on. The world is
// the same in the end: the same port, the same image, nothing left over.
func TestEveryStepMayBeCutOff(t *testing.T) {
	const name = "provider1"
	nothing := func(*model) {}
	ready := func(m *model) { m.records[name] = provider(name, 1) }
	wish := func(fn func(p *record.Provider)) func(*model) {
		return func(m *model) { m.change(name, fn) }
	}
	for _, c := range []struct {
		what         string
		before, wish func(*model)
		least        int // steps
	}{
		{"add", nothing, ready, 6},
		{"update of resources", ready, wish(func(p *record.Provider) {
			p.SetRole(record.RoleIngest, record.Wish{Resources: record.Resources{Memory: 128 << 20}})
		}), 1},
		{"update to a good image", ready, func(m *model) { m.try(name, "good:2") }, 3},
		{"update to an image that is not there", ready, func(m *model) { m.try(name, imageMissing) }, 4},
		{"update to an image that crashes", ready, func(m *model) { m.try(name, imageCrashes) }, 6},
		{"update to an image that says nothing", ready, func(m *model) { m.try(name, imageSilent) }, 5},
		{"stop", ready, wish(func(p *record.Provider) { p.Wanted = record.Stopped }), 3},
		{"start", func(m *model) {
			ready(m)
			m.change(name, func(p *record.Provider) { p.Wanted = record.Stopped })
		}, wish(func(p *record.Provider) { p.Wanted = record.Active }), 3},
		{"removal", ready, wish(func(p *record.Provider) { p.Wanted, p.Removed = record.Removed, newModel().now }), 3},
		{"purge", ready, wish(func(p *record.Provider) { p.Wanted, p.Removed, p.Purge = record.Removed, newModel().now, true }), 6},
	} {
		t.Run(c.what, func(t *testing.T) {
			for _, outlives := range []bool{false, true} {
				run := func(at int, then func(m *model, s plan.Step)) truth {
					m := newModel()
					m.outlives = outlives
					c.before(m)
					if !m.settle() {
						t.Fatal("the plan never ends")
					}
					c.wish(m)
					if at == beforeAll {
						m.kill()
					}
					if !m.run(at, func(s plan.Step) { then(m, s) }) {
						t.Fatalf("cut off at step %d the plan never ends: %v", at, plan.Plan(m.desired(), m.observe(), m.now))
					}
					return m.truth()
				}
				calm, steps := run(-1, nil), 0
				if d := cmp.Diff(calm, run(beforeAll, nil)); d != "" {
					t.Errorf("outlives %v: killed before the first step, another world (-calm +killed):\n%s", outlives, d)
				}
				for at := 0; ; at++ {
					reached := false
					killed := run(at, func(m *model, s plan.Step) { reached = true; m.apply(s, good); m.kill() })
					if !reached {
						break
					}
					steps++
					if d := cmp.Diff(calm, killed); d != "" {
						t.Errorf("outlives %v: killed after step %d, another world (-calm +killed):\n%s", outlives, at, d)
					}
					unheard := run(at, func(m *model, s plan.Step) { m.apply(s, unheard) })
					if d := cmp.Diff(calm, unheard); d != "" {
						t.Errorf("outlives %v: step %d took effect and was said to have failed, another world (-calm +unheard):\n%s", outlives, at, d)
					}
				}
				if steps < c.least {
					t.Errorf("outlives %v: %d steps, want at least %d", outlives, steps, c.least)
				}
			}
		})
	}
}
