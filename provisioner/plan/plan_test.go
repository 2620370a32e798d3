package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

func lines(steps []plan.Step) []string {
	var out []string
	for _, s := range steps {
		out = append(out, s.String())
	}
	return out
}

// kinds returns what the steps do, without why.
func kinds(steps []plan.Step) string {
	var out []string
	for _, s := range steps {
		out = append(out, strings.TrimSpace(string(s.Kind)+" "+s.Role))
	}
	return strings.Join(out, ", ")
}

func TestPlanOfANewProviderTellsWhatAndWhy(t *testing.T) {
	m := newModel(provider("provider1", 1))
	got := lines(plan.Plan(m.desired(), m.observe(), m.now))
	want := []string{
		"house: start web (it does not run)",
		"provider1: create keyspace (keyspace provider1 may not exist)",
		"provider1: create log (its account, streams and buckets may not exist)",
		"provider1: write settings (its instances should know settings " + plan.PipelineFingerprint(&m.desired()[0]) + ")",
		"provider1: write certificate (its port should have certificate c1)",
		"provider1: start ingest (it does not run)",
		"provider1: start reports (it does not run)",
		"provider1: wait (to announce it: ingest does not run)",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("plan (-want +got):\n%s", d)
	}
}

func TestPlan(t *testing.T) {
	now := newModel().now
	ended := func(failures int, ago time.Duration) func(*model) {
		return func(m *model) {
			i := m.instances["provider1"]["ingest"]
			i.State, i.Failures, i.Ended, i.Reason = runtime.Ended, failures, now.Add(-ago), "exit status 2"
			m.instances["provider1"]["ingest"] = i
		}
	}
	remove := func(purge bool) func(*model) {
		return func(m *model) {
			p := m.records["provider1"]
			p.Wanted, p.Purge, p.Removed = record.Removed, purge, now
			m.records["provider1"] = p
		}
	}
	silent := func(role string, ago time.Duration, never bool) func(*model) {
		return func(m *model) { m.hang("provider1", role, plan.Silence{Since: now.Add(-ago), Never: never}) }
	}
	again := func(restarts, failures int) func(*model) {
		return func(m *model) {
			i := m.instances["provider1"]["ingest"]
			i.Restarts, i.Failures, i.Reason = restarts, failures, "exit status 2"
			m.instances["provider1"]["ingest"] = i
			if failures > 0 && restarts > 0 {
				m.hang("provider1", "ingest", plan.Silence{Since: now, Never: true})
			}
		}
	}
	tried := func(ago time.Duration, silence *plan.Silence) func(*model) {
		return func(m *model) {
			m.now = now.Add(-ago)
			m.try("provider1", "good:2")
			for _, s := range plan.Plan(m.desired(), m.observe(), m.now) {
				m.apply(s, good)
			}
			if m.now = now; silence != nil {
				m.hang("provider1", "ingest", *silence)
			}
		}
	}
	resources := func(m *model, memory int64) {
		m.change("provider1", func(p *record.Provider) {
			p.SetRole("ingest", record.Wish{Resources: record.Resources{Memory: memory}})
		})
	}
	ill := func(role string) func(m *model) {
		return func(m *model) {
			i := m.instances["provider1"][role]
			i.Unhealthy = "it does not answer"
			m.instances["provider1"][role] = i
		}
	}
	for _, c := range []struct {
		name   string
		change func(m *model)
		want   string
	}{
		{"all is as wanted", func(*model) {}, ""},
		{"ingest ended for the first time", ended(1, 0), "start ingest, wait"},
		{"ingest ended twice in a row", ended(2, 0), "wait, wait"},
		{"ingest ended twice in a row, and waited", ended(2, plan.RestartFirst), "start ingest, wait"},
		{"ingest ended for the ninth time", ended(9, plan.RestartMost-1), "wait, wait"},
		{"ingest ended for the ninth time, and waited", ended(9, plan.RestartMost), "start ingest, wait"},
		{"ingest is silent", silent("ingest", plan.SilenceMost-1, false), "wait"},
		{"ingest is silent for too long", silent("ingest", plan.SilenceMost, false), "stop ingest, start ingest, wait"},
		{"reports has said nothing yet", silent("reports", plan.StartMost-1, true), "wait"},
		{"reports never says anything", silent("reports", plan.StartMost, true), "stop reports, start reports, wait"},
		{"ingest's own health check has failed for a while", ill("ingest"), "stop ingest, start ingest"},
		{"a restart is asked for of one that is silent", func(m *model) {
			silent("ingest", time.Hour, false)(m)
			p := m.records["provider1"]
			p.Restart++
			m.records["provider1"] = p
		}, "stop ingest, start ingest, stop reports, start reports, wait"},
		{"one that is silent is removed", func(m *model) {
			silent("ingest", time.Hour, false)(m)
			remove(false)(m)
		}, "withdraw, stop reports, stop ingest"},
		{"a restart is asked for", func(m *model) {
			p := m.records["provider1"]
			p.Restart++
			m.records["provider1"] = p
		}, "stop ingest, start ingest, stop reports, start reports, wait"},
		{"a restart is asked for during back-off", func(m *model) {
			ended(100, 0)(m)
			p := m.records["provider1"]
			p.Restart++
			m.records["provider1"] = p
		}, "start ingest, stop reports, start reports, wait"},
		{"the settings change", func(m *model) {
			p := m.records["provider1"]
			p.Settings.GatewayTag = "truck"
			m.records["provider1"] = p
		}, "write settings"},
		{"a new version", func(m *model) { m.site.Version = "v2" }, "stop web, start web, stop ingest, start ingest, stop reports, start reports, wait"},
		{"removed", remove(false), "withdraw, stop reports, stop ingest"},
		{"removed and stopped", func(m *model) { remove(false)(m); m.kill() }, ""},
		{"purged", remove(true), "withdraw, stop reports, stop ingest, remove log, drop keyspace"},
		{"purged by a provisioner that knows nothing", func(m *model) { remove(true)(m); m.kill() }, "remove log, drop keyspace"},
		{"the record is gone", func(m *model) { delete(m.records, "provider1") }, "withdraw"},
		{"an unknown role runs", func(m *model) {
			m.instances["provider1"]["oracle"] = runtime.Instance{Name: "provider1-oracle", State: runtime.Running}
		}, ""},
		{"stopped", func(m *model) {
			m.change("provider1", func(p *record.Provider) { p.Wanted = record.Stopped })
		}, "withdraw, stop reports, stop ingest"},
		{"stopped, by a provisioner that knows nothing", func(m *model) {
			m.change("provider1", func(p *record.Provider) { p.Wanted = record.Stopped })
			m.kill()
		}, "create keyspace, create log, write settings, write certificate"},
		{"other resources", func(m *model) { resources(m, 64<<20) }, "update ingest"},
		{"another image", func(m *model) { m.try("provider1", "good:2") }, "stop ingest, start ingest, wait"},
		{"a new image is healthy, but not for long enough", tried(plan.TrialLeast-1, nil), "wait ingest"},
		{"a new image has been healthy for a moment", tried(plan.TrialLeast, nil), "keep image ingest"},
		{"a new image says nothing, and has time", tried(plan.TrialMost-1, &plan.Silence{Since: now.Add(1 - plan.TrialMost), Never: true}), "wait"},
		{"a new image says nothing in time", tried(plan.TrialMost, &plan.Silence{Since: now.Add(-plan.TrialMost), Never: true}), "bring back image ingest, wait"},
		{"a new image's own health check fails", func(m *model) {
			tried(time.Second, &plan.Silence{Since: now, Never: true})(m)
			i := m.instances["provider1"]["ingest"]
			i.Unhealthy = "it does not answer"
			m.instances["provider1"]["ingest"] = i
		}, "bring back image ingest, wait"},
		{"a new image runs since long, and its provisioner has just begun to listen", tried(time.Hour, &plan.Silence{Since: now, Never: true}), "wait"},
		{"ingest ended for the tenth time", ended(plan.LoopAfter, plan.LoopPause-1), "wait, wait"},
		{"ingest ended for the tenth time, and waited", ended(plan.LoopAfter, plan.LoopPause), "start ingest, wait"},
		{"its runtime starts ingest again and again", again(plan.LoopAfter, plan.LoopAfter), "halt ingest, wait"},
		{"its runtime has started ingest often in its life", again(1000, 0), ""},
		{"its runtime starts ingest again, that was tried for a crash loop", again(0, plan.LoopAfter), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newModel(provider("provider1", 1))
			if !m.settle() {
				t.Fatal("the plan never ends")
			}
			web := m.instances[""]
			m.now = now
			c.change(m)
			if c.name != "a new version" {
				m.instances[""] = web
			}
			if got := kinds(plan.Plan(m.desired(), m.observe(), m.now)); got != c.want {
				t.Errorf("plan: %s\nwant: %s", got, c.want)
			}
		})
	}
}

func TestASilentInstanceIsSaidAndLookedAtWhenItIsTime(t *testing.T) {
	m := newModel(provider("provider1", 1))
	if !m.settle() {
		t.Fatal("the plan never ends")
	}
	m.hang("provider1", "reports", plan.Silence{Since: m.now})
	steps := plan.Plan(m.desired(), m.observe(), m.now.Add(10*time.Second))
	if d := cmp.Diff([]string{"provider1: wait (reports has not answered since 03:04:05)"}, lines(steps)); d != "" {
		t.Errorf("plan (-want +got):\n%s", d)
	}
	if until := m.now.Add(plan.SilenceMost); !steps[0].Until.Equal(until) {
		t.Errorf("looks again at %v, want %v", steps[0].Until, until)
	}
	want := []string{
		"provider1: stop reports (it runs, but has not answered since 03:04:05)",
		"provider1: start reports (stopped since it did not answer)",
		"provider1: wait (reports has not answered since 03:04:05)",
	}
	if d := cmp.Diff(want, lines(plan.Plan(m.desired(), m.observe(), m.now.Add(plan.SilenceMost)))); d != "" {
		t.Errorf("plan (-want +got):\n%s", d)
	}
	m.hang("", "web", plan.Silence{Since: m.now})
	if got := kinds(plan.Plan(nil, m.observe(), m.now.Add(plan.SilenceMost))[:2]); got != "stop web, start web" {
		t.Errorf("plan for a web that hangs: %s", got)
	}
}

func TestAPurgedProviderIsForgottenWhenItsSlotHasRested(t *testing.T) {
	p := provider("provider1", 1)
	m := newModel(p)
	m.site.Web = ""
	p.Wanted, p.Purge, p.Removed = record.Removed, true, m.now
	m.records["provider1"] = p
	state := plan.State{Keyspace: plan.Absent, Log: plan.Absent}
	world := plan.World{Site: m.site, Providers: map[string]plan.State{"provider1": state}}
	steps := plan.Plan(m.desired(), world, m.now)
	if kinds(steps) != "wait" || !steps[0].Until.Equal(m.now.Add(plan.Rest)) {
		t.Errorf("before the rest is over: %v until %v, want a wait until %v", lines(steps), steps[0].Until, m.now.Add(plan.Rest))
	}
	if got := kinds(plan.Plan(m.desired(), world, m.now.Add(plan.Rest))); got != "forget" {
		t.Errorf("after the rest: %s, want forget", got)
	}
}

func TestAHeldPortIsWaitedForAndShown(t *testing.T) {
	m := newModel(provider("provider1", 1000))
	m.site.Web, m.site.Certificate = "", ""
	world := m.observe()
	state := world.Providers["provider1"]
	state.Keyspace, state.Log, state.Pipeline, state.Held = plan.Present, plan.Present, plan.PipelineFingerprint(&m.desired()[0]), "java(812)"
	world.Providers["provider1"] = state
	got := lines(plan.Plan(m.desired(), world, m.now))
	want := []string{
		"provider1: wait (to start ingest: port 7000 is held by java(812))",
		"provider1: start reports (it does not run)",
		"provider1: wait (to announce it: ingest does not run)",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("plan (-want +got):\n%s", d)
	}
}

// TestACertificateIsRenewedInTime plans by what the port's certificate was made of, and by when it is to be replaced. One that
// cannot be had stands against nothing else.
func TestACertificateIsRenewedInTime(t *testing.T) {
	m := newModel(provider("provider1", 1))
	if !m.settle() {
		t.Fatal("the plan does not end")
	}
	planned := func(change func(*plan.State)) string {
		world := m.observe()
		state := world.Providers["provider1"]
		change(&state)
		world.Providers["provider1"] = state
		return kinds(plan.Plan(m.desired(), world, m.now))
	}
	for name, c := range map[string]struct {
		want   string
		change func(*plan.State)
	}{
		"as wanted":         {"", func(*plan.State) {}},
		"of another making": {"write certificate", func(s *plan.State) { s.Certificate = "c0" }},
		"not soon to end":   {"", func(s *plan.State) { s.Renew = m.now.Add(time.Second) }},
		"soon to end":       {"write certificate", func(s *plan.State) { s.Renew = m.now }},
		"that cannot be had": {"start ingest, wait, write certificate", func(s *plan.State) {
			s.Certificate, s.Instances["ingest"] = "", runtime.Instance{}
			delete(s.Instances, "ingest")
			s.Trouble = plan.Trouble{Step: plan.Step{Provider: "provider1", Kind: plan.WriteCertificate}.Key(), At: m.now.Add(-time.Hour), Times: 1}
		}},
	} {
		if got := planned(c.change); got != c.want {
			t.Errorf("one %s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAFailedStepIsTriedAgainAfterAPause(t *testing.T) {
	m := newModel(provider("provider1", 1), provider("provider2", 2))
	m.site.Web = ""
	world := m.observe()
	failed := plan.Step{Provider: "provider1", Kind: plan.CreateLog}
	state := world.Providers["provider1"]
	state.Keyspace = plan.Present
	state.Trouble = plan.Trouble{Step: failed.Key(), Text: "the log's disk is full", At: m.now, Times: 3}
	world.Providers["provider1"] = state
	steps := plan.Plan(m.desired(), world, m.now)
	if got, want := steps[0].String(), "provider1: wait (to create log again: the log's disk is full)"; got != want {
		t.Errorf("first step %q, want %q", got, want)
	}
	if until := m.now.Add(4 * plan.RetryFirst); !steps[0].Until.Equal(until) {
		t.Errorf("waits until %v, want %v", steps[0].Until, until)
	}
	if steps[1].Provider != "provider2" || steps[1].Kind != plan.CreateKeyspace {
		t.Errorf("second step is %v: one provider's trouble must not touch another", steps[1])
	}
	if got := kinds(plan.Plan(m.desired(), world, steps[0].Until)[:1]); got != "create log" {
		t.Errorf("after the pause: %s, want create log", got)
	}
}

func TestAKeyspaceThatIsAwayHoldsUpNothing(t *testing.T) {
	m := newModel(provider("provider1", 1))
	m.site.Web = ""
	world := m.observe()
	failed := plan.Step{Provider: "provider1", Kind: plan.CreateKeyspace}
	state := world.Providers["provider1"]
	state.Trouble = plan.Trouble{Step: failed.Key(), Text: "Cassandra does not answer", At: m.now, Times: 1}
	world.Providers["provider1"] = state
	steps := plan.Plan(m.desired(), world, m.now)
	if got, want := kinds(steps), "create log, write settings, write certificate, start ingest, start reports, wait, wait"; got != want {
		t.Errorf("while it is away: %s, want %s", got, want)
	}
	if got, want := steps[len(steps)-1].String(), "provider1: wait (to create keyspace again: Cassandra does not answer)"; got != want {
		t.Errorf("last step %q, want %q", got, want)
	}
	later := kinds(plan.Plan(m.desired(), world, m.now.Add(time.Minute)))
	if want := "create log, write settings, write certificate, start ingest, start reports, wait, create keyspace"; later != want {
		t.Errorf("after the pause: %s, want %s", later, want)
	}
}

func TestSlotsGivesTheLowestThatMayBeGiven(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	removed := func(name string, slot schema.Slot, ago time.Duration) record.Provider {
		p := provider(name, slot)
		p.Wanted, p.Removed = record.Removed, now.Add(-ago)
		return p
	}
	purged := removed("new", 5, plan.Rest-1)
	purged.Purge = true
	rested := removed("new", 5, plan.Rest)
	rested.Purge = true
	rested.Slot = 1
	anew := provider("provider2", 2)
	anew.Freed = []record.Freed{{Slot: 1, At: now.Add(1 - plan.Rest)}, {Slot: 3, At: now.Add(-plan.Rest)}}
	for _, c := range []struct {
		name    string
		records []record.Provider
		base    int
		held    int
		want    schema.Slot
		skipped []string
	}{
		{name: "the first", base: 6000, want: 1},
		{name: "a gap", base: 6000, records: []record.Provider{provider("provider1", 1), provider("provider3", 3)}, want: 2},
		{name: "a held port", base: 6000, held: 6001, want: 2, skipped: []string{"port 6001 is held by java(812)"}},
		{name: "a known port", base: 6999, want: 3, skipped: []string{"port 7000 is known as Cassandra's", "port 7001 is known as Cassandra's"}},
		{name: "one that rests", base: 6000, records: []record.Provider{removed("provider1", 1, plan.Rest-1)}, want: 2},
		{name: "one that has rested", base: 6000, records: []record.Provider{removed("provider1", 1, plan.Rest)}, want: 1},
		{name: "its own, resting", base: 6000, records: []record.Provider{removed("new", 5, 0)}, want: 5},
		{name: "its own, resting, purged", base: 6004, records: []record.Provider{provider("p1", 1), provider("p2", 2), provider("p3", 3), provider("p4", 4), purged}, want: 6},
		{name: "its own, rested, purged", base: 6000, records: []record.Provider{rested}, want: 1},
		{name: "those that a purged one had", base: 6000, records: []record.Provider{anew}, want: 3},
		{name: "its own, given since", base: 6000, records: []record.Provider{removed("new", 5, plan.Rest), provider("provider5", 5)}, want: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := plan.Slots{Providers: c.records, PortBase: c.base, Now: now, Holder: func(port int) string {
				if port == c.held {
					return "java(812)"
				}
				return ""
			}}
			got, skipped, err := s.Lowest("new")
			if err != nil || got != c.want {
				t.Errorf("slot %d, %v, want %d", got, err, c.want)
			}
			if d := cmp.Diff(c.skipped, skipped); d != "" {
				t.Errorf("skipped (-want +got):\n%s", d)
			}
		})
	}
	full := plan.Slots{PortBase: 65534, Now: now, Holder: func(int) string { return "java(812)" }}
	if _, _, err := full.Lowest("new"); !schema.Is(err, schema.Limited) {
		t.Errorf("no free port: %v, want Limited", err)
	}
}

// An instance is announced while it still reads its log: what it can answer is better than nothing, and it says how far
// that is.
func TestHealthyIsWhoeverDoesItsWork(t *testing.T) {
	for state, want := range map[string]bool{"ready": true, "replaying": true, "slow": true, "full": true, "disk": true, "stalled": true, "quota": true, "": false, "starting": false} {
		if got := plan.Healthy(record.Service{State: state}); got != want {
			t.Errorf("%q is healthy: %v, want %v", state, got, want)
		}
	}
}
