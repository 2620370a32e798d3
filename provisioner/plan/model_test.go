package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// Images whose instances never get healthy, each in its own way.
const (
	imageMissing = "missing:1" // it cannot be started
	imageCrashes = "crashes:1" // it ends soon after its start
	imageSilent  = "silent:1"  // it runs and says nothing
)

// model is a world in memory: what really is, beside what a provisioner knows of it and forgets when it is killed.
type model struct {
	site         plan.Site
	outlives     bool // instances go on when the provisioner is killed
	records      map[string]record.Provider
	keyspaces    map[string]bool
	logs         map[string]bool
	pipelines    map[string]string
	certificates map[string]string
	instances    map[string]map[string]runtime.Instance // by provider ("" for the house), role
	silent       map[string]map[string]plan.Silence     // of instances that hang, by provider, role
	announced    map[string]bool
	known        map[string]known
	now          time.Time
	starts       int
}

// known is what a provisioner knows.
type known struct {
	keyspace, log         plan.Knowledge
	pipeline, certificate string
	told                  map[string]told // by role
	halted                map[string]plan.Halted
	trouble               plan.Trouble
}

type told struct {
	id        string
	resources record.Resources
}

func newModel(records ...record.Provider) *model {
	m := &model{
		site:    plan.Site{Version: "v1", Host: "127.0.0.1", PortBase: 6000, Web: "127.0.0.1:8080", Certificate: "c1"},
		records: map[string]record.Provider{}, keyspaces: map[string]bool{}, logs: map[string]bool{},
		pipelines: map[string]string{}, certificates: map[string]string{}, instances: map[string]map[string]runtime.Instance{}, announced: map[string]bool{},
		silent: map[string]map[string]plan.Silence{}, known: map[string]known{}, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	for _, r := range records {
		m.records[r.Name] = r
	}
	return m
}

func provider(name string, slot schema.Slot) record.Provider {
	return record.Provider{Name: name, Slot: slot, Keyspace: name, Wanted: record.Active, Settings: record.DefaultSettings()}
}

func (m *model) desired() []record.Provider {
	var all []record.Provider
	for _, name := range slices.Sorted(maps.Keys(m.records)) {
		all = append(all, m.records[name])
	}
	return all
}

// change changes the record of a provider, if there is one that is not removed.
func (m *model) change(name string, fn func(p *record.Provider)) {
	if p, ok := m.records[name]; ok && p.Wanted != record.Removed {
		fn(&p)
		m.records[name] = p
	}
}

// try asks for another image of ingest.
func (m *model) try(name, image string) {
	m.change(name, func(p *record.Provider) {
		p.SetRole(record.RoleIngest, p.Roles[record.RoleIngest].Try(image, m.now))
	})
}

// onTrial reports whether any image is.
func (m *model) onTrial() bool {
	for _, p := range m.records {
		for _, w := range p.Roles {
			if w.Trial != nil {
				return true
			}
		}
	}
	return false
}

// observe returns the world as a provisioner sees it.
func (m *model) observe() plan.World {
	w := plan.World{Site: m.site, Providers: map[string]plan.State{}, House: m.state("")}
	names := maps.Clone(m.announced)
	for name := range m.records {
		names[name] = true
	}
	for name := range m.instances {
		names[name] = true
	}
	for name := range names {
		if name != "" {
			w.Providers[name] = m.state(name)
		}
	}
	return w
}

func (m *model) state(name string) plan.State {
	k := m.known[name]
	state := plan.State{
		Keyspace: k.keyspace, Log: k.log, Pipeline: k.pipeline, Certificate: k.certificate, Instances: maps.Clone(m.instances[name]), Announced: m.announced[name],
		Services: map[string]record.Service{}, Silent: maps.Clone(m.silent[name]), Told: map[string]record.Resources{},
		Halted: maps.Clone(k.halted), Trouble: k.trouble,
	}
	for role, i := range m.instances[name] {
		if _, silent := m.silent[name][role]; i.State == runtime.Running && !silent {
			state.Services[role] = record.Service{Role: role, State: "ready"}
		}
		if t, ok := k.told[role]; ok && t.id == i.ID {
			state.Told[role] = t.resources
		}
	}
	return state
}

// outcome is how a step goes.
type outcome int

const (
	good    outcome = iota
	unheard         // it took effect, and its executor was told that it failed
)

// apply does one step, as an executor does: without a decision. It reports whether the executor takes it for done.
func (m *model) apply(s plan.Step, o outcome) bool {
	k := m.known[s.Provider]
	failed := o == unheard
	learn := func(fn func()) {
		if o == good {
			fn()
		}
	}
	switch s.Kind {
	case plan.CreateKeyspace:
		m.keyspaces[s.Record.Keyspace] = true
		learn(func() { k.keyspace = plan.Present })
	case plan.CreateLog:
		m.logs[s.Provider] = true
		learn(func() { k.log = plan.Present })
	case plan.WritePipeline:
		m.pipelines[s.Provider] = plan.PipelineFingerprint(&s.Record)
		learn(func() { k.pipeline = m.pipelines[s.Provider] })
	case plan.WriteCertificate:
		m.certificates[s.Provider] = m.site.Certificate
		learn(func() { k.certificate = m.site.Certificate })
	case plan.Start:
		if failed = failed || s.Unit.Image == imageMissing; s.Unit.Image == imageMissing {
			break
		}
		m.start(s)
		learn(func() { k.tell(s.Role, m.instances[s.Provider][s.Role].ID, s.Unit.Resources) })
	case plan.Update:
		i := m.instances[s.Provider][s.Role]
		i.Resources = runtime.Resources(s.Unit.Resources)
		m.instances[s.Provider][s.Role] = i
		learn(func() { k.tell(s.Role, i.ID, s.Unit.Resources) })
	case plan.Stop:
		if failed = failed || s.Unit != nil && s.Unit.Image == imageMissing; s.Unit != nil && s.Unit.Image == imageMissing {
			break
		}
		m.stop(s.Provider, s.Role)
	case plan.Halt:
		learn(func() {
			k.halted = map[string]plan.Halted{s.Role: {Instance: m.instances[s.Provider][s.Role], At: m.now}}
		})
		m.stop(s.Provider, s.Role)
	case plan.Keep, plan.Revert:
		m.decide(s)
	case plan.Announce:
		m.announced[s.Provider] = true
	case plan.Withdraw:
		delete(m.announced, s.Provider)
	case plan.RemoveLog:
		delete(m.logs, s.Provider)
		delete(m.pipelines, s.Provider)
		delete(m.certificates, s.Provider)
		learn(func() { k.log, k.pipeline, k.certificate = plan.Absent, "", "" })
	case plan.DropKeyspace:
		delete(m.keyspaces, s.Record.Keyspace)
		learn(func() { k.keyspace = plan.Absent })
	case plan.Forget:
		delete(m.records, s.Provider)
	case plan.Wait:
		return true
	default:
		panic("no such kind of step: " + s.Kind)
	}
	k.judge(s, failed, m.now)
	m.known[s.Provider] = k
	return !failed
}

// judge takes note of how a step went, as the loop does.
func (k *known) judge(s plan.Step, failed bool, now time.Time) {
	switch same := k.trouble.Step == s.Key(); {
	case failed && same:
		k.trouble.At, k.trouble.Times = now, k.trouble.Times+1
	case failed:
		k.trouble = plan.Trouble{Step: s.Key(), Text: "it went wrong", At: now, Times: 1}
	case same:
		k.trouble = plan.Trouble{}
	}
}

func (k *known) tell(role, id string, r record.Resources) {
	all := maps.Clone(k.told)
	if all == nil {
		all = map[string]told{}
	}
	all[role] = told{id, r}
	k.told = all
}

func (m *model) start(s plan.Step) {
	if m.instances[s.Provider] == nil {
		m.instances[s.Provider] = map[string]runtime.Instance{}
	}
	m.starts++
	was := m.instances[s.Provider][s.Role]
	if was.State == runtime.Running && was.Hash == s.Unit.Hash() {
		return
	}
	i := runtime.Instance{
		Name: s.Unit.Name(), Provider: s.Provider, Role: s.Role, Hash: s.Unit.Hash(), State: runtime.Running, ID: fmt.Sprint(m.starts), Started: m.now,
		Image: s.Unit.Image, Resources: runtime.Resources(s.Unit.Resources),
	}
	delete(m.silent[s.Provider], s.Role)
	switch s.Unit.Image {
	case imageCrashes:
		i.State, i.Ended, i.Reason, i.Failures = runtime.Ended, m.now, "exit status 2", 1
		if was.Hash == i.Hash {
			i.Failures += was.Failures
		}
	case imageSilent:
		defer m.hang(s.Provider, s.Role, plan.Silence{Since: m.now, Never: true})
	}
	m.instances[s.Provider][s.Role] = i
}

func (m *model) stop(name, role string) {
	delete(m.instances[name], role)
	delete(m.silent[name], role)
	if len(m.instances[name]) == 0 {
		delete(m.instances, name)
	}
}

// decide changes the record, if its trial is still the step's.
func (m *model) decide(s plan.Step) {
	m.change(s.Provider, func(p *record.Provider) {
		switch w := p.Roles[s.Role]; {
		case !w.OnTrial(s.Record.Roles[s.Role]):
		case s.Kind == plan.Keep:
			p.SetRole(s.Role, w.Keep())
		default:
			p.SetRole(s.Role, w.Revert(s.Why.String(), m.now))
		}
	})
}

// hang lets a running instance say nothing any more.
func (m *model) hang(name, role string, s plan.Silence) {
	if m.instances[name][role].State != runtime.Running {
		return
	}
	if m.silent[name] == nil {
		m.silent[name] = map[string]plan.Silence{}
	}
	m.silent[name][role] = s
}

// kill is the provisioner's death: what it knew is gone, and its children end with it, if they do.
func (m *model) kill() {
	m.announced = map[string]bool{}
	m.known = map[string]known{}
	if !m.outlives {
		m.instances = map[string]map[string]runtime.Instance{}
		m.silent = map[string]map[string]plan.Silence{}
	}
}

// settle repeats the loop until nothing is left to do or to wait for; time passes when there is only waiting left; it gives up after three hundred rounds.
func (m *model) settle() bool { return m.run(-1, nil) }

// run does what settle does, and calls then in the place of the step of the given number, from 0: with the step.
func (m *model) run(at int, then func(s plan.Step)) bool {
	done := 0
	for range 300 {
		steps := plan.Plan(m.desired(), m.observe(), m.now)
		if len(steps) == 0 {
			return true
		}
		acted, until, failed := false, time.Time{}, map[string]bool{}
		for _, s := range steps {
			if s.Until.After(m.now) && (until.IsZero() || s.Until.Before(until)) {
				until = s.Until
			}
			if s.Kind == plan.Wait || failed[s.Provider] {
				continue
			}
			acted = true
			if done++; done-1 == at {
				then(s)
				return m.run(-1, nil) // planned anew
			}
			failed[s.Provider] = !m.apply(s, good)
		}
		if !acted {
			m.now = until
		}
	}
	return false
}

// truth is what must be the same however the world was reached.
type truth struct {
	Records   map[string]string // name → slot, what is wanted of it
	Keyspaces []string
	Logs      []string
	Pipelines map[string]string
	Running   map[string]string // name → hash, image, resources
	Announced []string
}

func (m *model) truth() truth {
	t := truth{
		Records: map[string]string{}, Keyspaces: slices.Sorted(maps.Keys(m.keyspaces)),
		Logs: slices.Sorted(maps.Keys(m.logs)), Pipelines: maps.Clone(m.pipelines), Running: map[string]string{},
		Announced: slices.Sorted(maps.Keys(m.announced)),
	}
	for name, p := range m.records {
		text := fmt.Sprintf("slot %d, %s", p.Slot, p.Wanted)
		for _, role := range slices.Sorted(maps.Keys(p.Roles)) {
			w := p.Roles[role]
			text += fmt.Sprintf(", %s: image %q, %v, on trial %v", role, w.Image, w.Resources, w.Trial != nil)
			if w.Reverted != nil {
				text += fmt.Sprintf(", reverted %q", w.Reverted.Image)
			}
		}
		t.Records[name] = text
	}
	for _, roles := range m.instances {
		for _, i := range roles {
			if i.State == runtime.Running {
				t.Running[i.Name] = strings.Join([]string{i.Hash, i.Image, fmt.Sprint(i.Resources)}, " ")
			}
		}
	}
	return t
}
