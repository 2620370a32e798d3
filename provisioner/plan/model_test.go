package plan_test

import (
	"maps"
	"slices"
	"time"

	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// model is a world in memory: what really is, beside what a provisioner knows of it and forgets when it is killed.
type model struct {
	site      plan.Site
	records   map[string]record.Provider
	keyspaces map[string]bool
	logs      map[string]bool
	pipelines map[string]string
	instances map[string]map[string]runtime.Instance // by provider ("" for the house), role
	silent    map[string]map[string]plan.Silence     // of instances that hang, by provider, role
	announced map[string]bool
	known     map[string]plan.State // keyspace, log, pipeline only
	now       time.Time
	starts    int
}

func newModel(records ...record.Provider) *model {
	m := &model{
		site:    plan.Site{Version: "v1", Host: "127.0.0.1", PortBase: 6000, Web: "127.0.0.1:8080"},
		records: map[string]record.Provider{}, keyspaces: map[string]bool{}, logs: map[string]bool{},
		pipelines: map[string]string{}, instances: map[string]map[string]runtime.Instance{}, announced: map[string]bool{},
		known: map[string]plan.State{}, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
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

// observe returns the world as a provisioner sees it.
func (m *model) observe() plan.World {
	w := plan.World{Site: m.site, Providers: map[string]plan.State{}, House: plan.State{Instances: maps.Clone(m.instances[""]), Silent: maps.Clone(m.silent[""])}}
	names := map[string]bool{}
	for name := range m.records {
		names[name] = true
	}
	for name := range m.instances {
		names[name] = name != ""
	}
	for name := range names {
		if name == "" {
			continue
		}
		state := m.known[name]
		state.Instances = maps.Clone(m.instances[name])
		state.Announced = m.announced[name]
		state.Services = map[string]record.Service{}
		for role, i := range m.instances[name] {
			if _, silent := m.silent[name][role]; i.State == runtime.Running && !silent {
				state.Services[role] = record.Service{Role: role, State: "ready"}
			}
		}
		state.Silent = maps.Clone(m.silent[name])
		w.Providers[name] = state
	}
	return w
}

// apply does one step, as an executor does: without a decision.
func (m *model) apply(s plan.Step) {
	known := m.known[s.Provider]
	switch s.Kind {
	case plan.CreateKeyspace:
		m.keyspaces[s.Record.Keyspace] = true
		known.Keyspace = plan.Present
	case plan.CreateLog:
		m.logs[s.Provider] = true
		known.Log = plan.Present
	case plan.WritePipeline:
		m.pipelines[s.Provider] = plan.PipelineFingerprint(&s.Record)
		known.Pipeline = m.pipelines[s.Provider]
	case plan.Start:
		if m.instances[s.Provider] == nil {
			m.instances[s.Provider] = map[string]runtime.Instance{}
		}
		m.starts++
		m.instances[s.Provider][s.Role] = runtime.Instance{Name: s.Unit.Name(), Role: s.Role, Hash: s.Unit.Hash(), State: runtime.Running}
	case plan.Stop:
		delete(m.instances[s.Provider], s.Role)
		delete(m.silent[s.Provider], s.Role)
		if len(m.instances[s.Provider]) == 0 {
			delete(m.instances, s.Provider)
		}
	case plan.Announce:
		m.announced[s.Provider] = true
	case plan.Withdraw:
		delete(m.announced, s.Provider)
	case plan.RemoveLog:
		delete(m.logs, s.Provider)
		delete(m.pipelines, s.Provider)
		known.Log, known.Pipeline = plan.Absent, ""
	case plan.DropKeyspace:
		delete(m.keyspaces, s.Record.Keyspace)
		known.Keyspace = plan.Absent
	case plan.Forget:
		delete(m.records, s.Provider)
	case plan.Wait:
	}
	m.known[s.Provider] = known
}

// hang lets a running instance say nothing any more.
func (m *model) hang(name, role string, s plan.Silence) {
	if m.instances[name][role].State != runtime.Running {
		return
	}
	if m.silent == nil {
		m.silent = map[string]map[string]plan.Silence{}
	}
	if m.silent[name] == nil {
		m.silent[name] = map[string]plan.Silence{}
	}
	m.silent[name][role] = s
}

// kill is the provisioner's death: its children end with it, and what it knew is gone.
func (m *model) kill() {
	m.instances = map[string]map[string]runtime.Instance{}
	m.silent = nil
	m.announced = map[string]bool{}
	m.known = map[string]plan.State{}
}

// settle repeats the loop until nothing is left to do or to wait for; it gives up after a hundred rounds.
func (m *model) settle() bool {
	for range 100 {
		steps := plan.Plan(m.desired(), m.observe(), m.now)
		if len(steps) == 0 {
			return true
		}
		for _, s := range steps {
			m.apply(s)
			if s.Until.After(m.now) {
				m.now = s.Until
			}
		}
	}
	return false
}

// truth is what must be the same however the world was reached.
type truth struct {
	Records   []string
	Keyspaces []string
	Logs      []string
	Pipelines map[string]string
	Running   map[string]string // name → hash
	Announced []string
}

func (m *model) truth() truth {
	t := truth{
		Records: slices.Sorted(maps.Keys(m.records)), Keyspaces: slices.Sorted(maps.Keys(m.keyspaces)),
		Logs: slices.Sorted(maps.Keys(m.logs)), Pipelines: maps.Clone(m.pipelines), Running: map[string]string{},
		Announced: slices.Sorted(maps.Keys(m.announced)),
	}
	for _, roles := range m.instances {
		for _, i := range roles {
			if i.State == runtime.Running {
				t.Running[i.Name] = i.Hash
			}
		}
	}
	return t
}
