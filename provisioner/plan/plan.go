// Package plan is the provisioner's judgement: a pure function from what is wanted and what is to the steps between.
// It also gives slots. It touches nothing: provisioner/world observes and acts, provisioner/loop repeats.
//
// Its one invariant: steps carried out in order, cut off anywhere and planned anew, lead to the same world.
package plan

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"berth/internal/headapi"
	"berth/provisioner/runtime"
	"berth/schema/record"
)

// Times that the plan keeps.
const (
	// Rest is how long a freed port is given to nobody, so that late senders to the old provider reach no new one.
	Rest = 10 * time.Minute
	// RestartFirst is the pause before the second start in a row; it doubles up to RestartMost. The first start after
	// an instance that ran well is at once.
	RestartFirst = 250 * time.Millisecond
	// RestartMost is the longest pause between two starts, until there were LoopAfter of them.
	RestartMost = 15 * time.Second
	// LoopAfter is how many ends in a row, each soon after its start, are a crash loop.
	LoopAfter = 10
	// LoopPause is the pause between two starts in a crash loop.
	LoopPause = time.Minute
	// TrialMost is how long a new image may take to get healthy, before the one before it comes back.
	TrialMost = time.Minute
	// TrialLeast is how long a new image's instance must have run healthily to be kept: as long as an end counts as one soon
	// after the start.
	TrialLeast = 5 * time.Second
	// TrialFailures is how many ends in a row, or failed starts, show before that time that it will not.
	TrialFailures = 3
	// OrphanGrace is how long an orphan is left alone at least, if nothing else is asked for.
	OrphanGrace = 10 * time.Minute
	// SilenceMost is how long a running instance may say nothing before it is taken for one that hangs, and is replaced.
	// One that reads a long log says so all the while.
	SilenceMost = 30 * time.Second
	// StartMost is how long a new instance may take until it first says something: it may wait for what the one before it
	// still holds.
	StartMost = 2 * time.Minute
	// RetryFirst is the pause after a step's first failure; it doubles up to RetryMost.
	RetryFirst = 250 * time.Millisecond
	// RetryMost is the longest pause between two tries of a step.
	RetryMost = 30 * time.Second
	// LookAgain is how often something that sends no news is looked at again.
	LookAgain = time.Second
)

// Plan returns the steps from what is to what is wanted, the house's first, then provider by provider in order of
// names. Steps of one provider are done in order until one fails; a Wait holds up nothing: what depends on it is left
// out until it is over. An empty plan means that all is as wanted.
func Plan(desired []record.Provider, actual World, now time.Time) []Step {
	steps := cooled(planHouse(actual, now), actual.House.Trouble, now)
	wanted := map[string]*record.Provider{}
	for i := range desired {
		wanted[desired[i].Name] = &desired[i]
	}
	names := slices.Collect(maps.Keys(wanted))
	for name := range actual.Providers {
		if wanted[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		steps = append(steps, planProvider(name, wanted[name], actual, now)...)
	}
	return steps
}

func planProvider(name string, p *record.Provider, actual World, now time.Time) []Step {
	state := actual.Providers[name]
	var steps []Step
	switch {
	case p == nil:
		steps = planUnwanted(name, state)
	case p.Wanted == record.Removed:
		steps = planRemoval(p, state, now)
	case p.Wanted == record.Stopped:
		steps = planStopped(p, state, actual.Site, now)
	default:
		steps = planActive(p, state, actual.Site, now)
	}
	return cooled(steps, state.Trouble, now)
}

// cooled puts a wait in the place of a step that failed a moment ago, and of all after it.
func cooled(steps []Step, t Trouble, now time.Time) []Step {
	until := t.At.Add(backOff(RetryFirst, RetryMost, t.Times-1))
	if t.Step == "" || !now.Before(until) {
		return steps
	}
	for i, s := range steps {
		if s.Key() == t.Step {
			why := because("again", "step", what(s), "cause", t.Text)
			return append(steps[:i:i], Step{Provider: s.Provider, Kind: Wait, Why: why, Until: until, Record: s.Record})
		}
	}
	return steps
}

func what(s Step) string {
	if s.Role == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + " " + s.Role
}

func planHouse(actual World, now time.Time) []Step {
	if actual.Site.Web == "" {
		return nil
	}
	return planUnit(webUnit(actual.Site), actual.House, record.Provider{}, now)
}

// planData makes what a provider's data lack: keyspace, log, and the settings and the port's certificate beside it. A keyspace
// that cannot be made, or found, now goes last: where the log holds something, ingest needs only that. So does a certificate
// that cannot be had: plain connections need none.
func planData(p *record.Provider, state State, site Site, now time.Time) (steps, last []Step) {
	add := func(kind Kind, why Reason) {
		steps = append(steps, Step{Provider: p.Name, Kind: kind, Why: why, Record: *p})
	}
	keyspace := Step{Provider: p.Name, Kind: CreateKeyspace, Why: because("keyspace_"+state.Keyspace.unsure(), "keyspace", p.Keyspace), Record: *p}
	if state.Keyspace == Present {
		keyspace.Why = because("access", "secret", Access(p))
	}
	switch away := state.Trouble.Step == keyspace.Key(); {
	case state.Keyspace == Present && state.Access == Access(p):
	case away:
		last = append(last, keyspace)
	default:
		steps = append(steps, keyspace)
	}
	if state.Log != Present {
		add(CreateLog, because("log_"+state.Log.unsure()))
	}
	if want := PipelineFingerprint(p); state.Pipeline != want {
		add(WritePipeline, because("settings", "settings", want))
	}
	if s, ok := planCertificate(p, state, site, now); ok && state.Trouble.Step == s.Key() {
		last = append(last, s)
	} else if ok {
		steps = append(steps, s)
	}
	return steps, last
}

// planCertificate replaces a certificate of the port that was made of something else than is wanted, or is soon to end.
func planCertificate(p *record.Provider, state State, site Site, now time.Time) (s Step, ok bool) {
	s = Step{Provider: p.Name, Kind: WriteCertificate, Record: *p}
	switch {
	case site.Certificate == "":
		return s, false
	case state.Certificate != site.Certificate:
		s.Why = because("certificate", "certificate", site.Certificate)
	case !state.Renew.IsZero() && !now.Before(state.Renew):
		s.Why = because("renewal", "since", state.Renew.Format(time.RFC3339))
	default:
		return s, false
	}
	return s, true
}

// planActive makes what a provider lacks: data, instances, and their announcement once they are healthy.
func planActive(p *record.Provider, state State, site Site, now time.Time) []Step {
	steps, last := planData(p, state, site, now)
	add := func(kind Kind, why Reason) {
		steps = append(steps, Step{Provider: p.Name, Kind: kind, Why: why, Record: *p})
	}
	var updates []Step
	missing, lacks, until := "", "", time.Time{}
	for _, role := range Roles() {
		unit := providerUnit(p, role, site)
		verdict := planTrial(p, unit, state, now)
		steps = append(steps, verdict...)
		if len(verdict) == 0 || verdict[0].Kind != Revert { // else the record will want another unit
			steps = append(steps, planUnit(unit, state, *p, now)...)
		}
		updates = append(updates, planResources(p, unit, state)...)
		if i, ok := state.Instances[role]; !ok || i.State != runtime.Running || i.Hash != unit.Hash() || !Healthy(state.Services[role]) {
			if missing == "" {
				missing, lacks = role, says(i, state, role)+tried(p.Roles[role])
			}
		}
		until = next(now, until, state.Silent[role].Until())
		until = next(now, until, trialEnd(p, unit, state))
	}
	switch {
	case missing != "":
		code := "lacks"
		if !state.Announced {
			code = "unannounced"
		}
		add(Wait, because(code+lackOf[lacks], "role", missing, "state", lacks))
		steps[len(steps)-1].Until = until
	case !state.Announced:
		add(Announce, because("ready"))
	}
	return slices.Concat(steps, updates, last) // nothing that runs waits for its resources
}

// planUnit replaces an instance of another hash and one that hangs, halts one that its runtime starts again and again, and
// starts one that does not run once nothing stands against it.
func planUnit(u Unit, state State, p record.Provider, now time.Time) []Step {
	start := Step{Provider: u.Provider, Kind: Start, Role: u.Role, Unit: &u, Record: p}
	wait := Step{Provider: u.Provider, Kind: Wait, Record: p}
	i, ok := state.Instances[u.Role]
	silence, silent := state.Silent[u.Role]
	replace := func(why, after Reason) []Step {
		start.Why = after
		return []Step{{Provider: u.Provider, Kind: Stop, Role: u.Role, Why: why, Unit: &u, Record: p}, start}
	}
	halted := state.Halted[u.Role]
	switch {
	case !ok && halted.Hash == u.Hash() && now.Before(halted.Until()):
		wait.Until, wait.Why = halted.Until(), InWords(looping(u, halted.Instance))
		return []Step{wait}
	case !ok:
		start.Why, start.Again = because("idle"), halted.Hash == u.Hash()
	case i.Hash != u.Hash() && i.State == runtime.Running:
		return replace(because("replaced", "is", i.Hash, "wanted", u.Hash()), because("after_replaced"))
	case i.State == runtime.Running && silent && !now.Before(silence.Until()):
		start.Again = true
		return replace(because("silent", "silence", silence.String()), because("after_silent"))
	case i.State == runtime.Running && startedAgain(i, halted.Hash == u.Hash()):
		return []Step{{Provider: u.Provider, Kind: Halt, Role: u.Role, Why: InWords(looping(u, i)), Record: p}}
	case i.State == runtime.Running && i.Unhealthy != "": // its check waits some rounds before it says so: that is the pause
		start.Again = true
		return replace(because("unhealthy", "cause", i.Unhealthy), because("after_unhealthy"))
	case i.State == runtime.Running:
		return nil
	default:
		start.Why, start.Again = because("ended", "time", i.Ended.UTC().Format(time.TimeOnly), "cause", i.Reason), true
		if until := RestartAt(i); i.Hash == u.Hash() && now.Before(until) {
			wait.Until, wait.Why = until, InWords(failing(u, i))
			return []Step{wait}
		}
	}
	if u.Role == record.RoleIngest && state.Held != "" {
		wait.Until = now.Add(LookAgain)
		wait.Why = because("held", "role", u.Role, "port", strconv.Itoa(u.Slot.Port(u.PortBase)), "holder", state.Held)
		return []Step{wait}
	}
	return []Step{start}
}

// planRemoval takes down what an active provider has, in the reverse order. Its data stay unless they are to be purged;
// then its record stays until its port has rested.
func planRemoval(p *record.Provider, state State, now time.Time) []Step {
	steps := takeDown(p, state, because("removed"))
	add := func(kind Kind, why Reason) {
		steps = append(steps, Step{Provider: p.Name, Kind: kind, Why: why, Record: *p})
	}
	if !p.Purge {
		return steps
	}
	if state.Log != Absent {
		add(RemoveLog, because("purged"))
	}
	if state.Keyspace != Absent {
		add(DropKeyspace, because("purged"))
	}
	if len(steps) > 0 {
		return steps
	}
	if until := RestsUntil(p); now.Before(until) {
		steps = append(steps, Step{Provider: p.Name, Kind: Wait, Why: because("rests", "slot", strconv.Itoa(int(p.Slot))), Until: until, Record: *p})
		return steps
	}
	add(Forget, because("rested"))
	return steps
}

// planStopped takes down the instances, in the reverse order, and keeps all else as it should be: keys and settings can be
// changed meanwhile.
func planStopped(p *record.Provider, state State, site Site, now time.Time) []Step {
	steps, last := planData(p, state, site, now)
	return slices.Concat(takeDown(p, state, because("stopped")), steps, last)
}

// takeDown withdraws a provider and stops its instances, in the reverse order of their starts.
func takeDown(p *record.Provider, state State, why Reason) []Step {
	var steps []Step
	if state.Announced {
		steps = append(steps, Step{Provider: p.Name, Kind: Withdraw, Why: why, Record: *p})
	}
	for _, role := range slices.Backward(Roles()) {
		if _, ok := state.Instances[role]; ok {
			steps = append(steps, Step{Provider: p.Name, Kind: Stop, Role: role, Why: why, Record: *p})
		}
	}
	return steps
}

// planUnwanted withdraws what no record wants. Its instances are orphans: a record that is lost must not end what runs.
func planUnwanted(name string, state State) []Step {
	if !state.Announced {
		return nil
	}
	return []Step{{Provider: name, Kind: Withdraw, Why: because("unwanted"), Record: record.Provider{Name: name}}}
}

// Healthy reports whether an instance that says this of itself does its work. One that is slow, or has its gateways wait
// for the log or the disk, is at work too: another start would not help it. One that is still reading its log takes
// readings and answers as far as it can, and says how far that is.
func Healthy(s record.Service) bool {
	switch s.State {
	case headapi.StateReady, headapi.StateReplaying, headapi.StateSlow, headapi.StateFull, headapi.StateDisk, headapi.StateStalled,
		headapi.StateQuota, headapi.StateAside, headapi.StateSource:
		return true
	default:
		return false
	}
}

// RestsUntil returns when a removed provider's slot may be given again.
func RestsUntil(p *record.Provider) time.Time { return p.Removed.Add(Rest) }

// next returns the earlier of two moments that are not over; the zero time is none.
func next(now, a, b time.Time) time.Time {
	if b.After(now) && (a.IsZero() || b.Before(a)) {
		return b
	}
	return a
}

// backOff returns first doubled n times, at most most; nothing for a negative n.
func backOff(first, most time.Duration, n int) time.Duration {
	if n < 0 {
		return 0
	}
	return min(first<<min(n, 20), most)
}

// lackOf ends the codes of what says says without more.
var lackOf = map[string]string{"does not run": "_idle", "is ready": "_ready", "has not answered yet": "_unheard"}

func says(i runtime.Instance, state State, role string) string {
	s := state.Services[role]
	silence, silent := state.Silent[role]
	switch {
	case i.State != runtime.Running:
		return "does not run"
	case s.State == "" && silent:
		return silence.String()
	case s.State == "":
		return "has not answered yet"
	case s.Detail != "":
		return "is " + s.State + ": " + s.Detail
	default:
		return "is " + s.State
	}
}

func (k Knowledge) unsure() string {
	if k == Absent {
		return "absent"
	}
	return "unsure"
}
