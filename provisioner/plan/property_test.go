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
		for range rapid.IntRange(1, 6).Draw(t, "wishes") {
			wish := drawWish(t, calm.now)
			if len(calm.records) != len(cut.records) {
				cut.settle() // one that is still being purged cannot be added again, so that the wish would differ
			}
			wish(calm)
			wish(cut)
			if !calm.settle() {
				t.Fatalf("the plan never ends: %v", plan.Plan(calm.desired(), calm.observe(), calm.now))
			}
			for range rapid.IntRange(0, 3).Draw(t, "interruptions") {
				steps := plan.Plan(cut.desired(), cut.observe(), cut.now)
				for _, s := range steps[:rapid.IntRange(0, len(steps)).Draw(t, "done")] {
					cut.apply(s)
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
			if p.Wanted == record.Active && (!cut.keyspaces[p.Keyspace] || !cut.logs[p.Name] || cut.pipelines[p.Name] != plan.PipelineFingerprint(&p)) {
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
		return func(m *model) {
			if p, ok := m.records[name]; ok && p.Wanted == record.Active {
				fn(&p)
				m.records[name] = p
			}
		}
	}
	switch rapid.SampledFrom([]string{"add", "add", "remove", "purge", "restart", "set", "upgrade", "crash", "hang"}).Draw(t, "wish") {
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
