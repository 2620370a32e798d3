package survey

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"berth/internal/headapi"
	"berth/internal/metrics"
	"berth/provisioner/control"
	"berth/provisioner/doctor"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema/record"
)

// Thresholds of checks, in percent of what may be, but the last.
const (
	logWarn     = 50 // gateways wait from 90
	shelfWarn   = 80
	limitWarn   = 90
	loopsAfter  = 2 // ends in a row after which an instance is said to end again and again
	rejectsMost = 1 // percent of what came between two surveys that may be refused before it is worth a word
)

// sick is what an instance says of itself that is out of the ordinary, as the doctor shows it.
type sick struct {
	check string
	state doctor.State
	next  string // %s is the provider
}

// episodes is the table of the states that instances announce.
var episodes = map[string]sick{
	headapi.StateReplaying: {"head", doctor.Warn, "wait: readings are taken, and shown as far as they have been followed; the cause, if it goes on: provisioner logs %s --role ingest"},
	headapi.StateSlow:      {"keyspace", doctor.Fail, "readings are taken until the log is full: make the keyspace writable (its disk, its owner), and it goes on by itself; the cause: provisioner logs %s --role ingest"},
	headapi.StateFull:      {"log", doctor.Fail, "gateways wait, nothing acknowledged is lost: mend what keeps the log from being stored (see the other lines), and they go on by themselves; the cause: provisioner logs %s --role ingest"},
	headapi.StateDisk:      {"disk", doctor.Fail, "gateways wait, nothing acknowledged is lost: free some of the disk, or keep less: provisioner set %s --retention 90d"},
	headapi.StateStalled:   {"log", doctor.Fail, "gateways wait, nothing acknowledged is lost: see the line nats; the cause: provisioner logs %s --role ingest"},
	headapi.StateQuota:     {"limits", doctor.Fail, "frames are refused, what was acknowledged is stored: keep less (--retention), or allow more: provisioner set %s --keyspace-bytes"},
	headapi.StateSource:    {"sources", doctor.Warn, "everything else is taken, and the broker keeps what it is set to keep: mend what is named; it goes on by itself: provisioner source ls %s"},
	headapi.StateAside:     {"set aside", doctor.Warn, "look at it, then feed it again or give it up: provisioner aside ls %s"},
}

// unknownEpisode is of a state that the table lacks.
var unknownEpisode = sick{"state", doctor.Warn, "provisioner show %s"}

// Checks returns what the doctor finds in a survey; before is one taken a little earlier, nil if there is none. There is
// one line for each thing that is wrong, and one for each check that found nothing.
func (v *Survey) Checks(before *Survey) []doctor.Check {
	c := &checks{}
	for i := range v.Providers {
		if p := &v.Providers[i]; p.Wanted == record.Active {
			c.provider(v, before, p)
		}
	}
	for i := range v.Instances {
		c.instance(v, &v.Instances[i])
	}
	c.orphans(v)
	c.steps(v)
	return c.list(v)
}

// orphans names what runs and is wanted by no record.
func (c *checks) orphans(v *Survey) {
	for _, o := range v.Orphans {
		c.bad(o.Provider, doctor.Warn, "orphans", "it is left alone; if nothing is missing (provisioner ls), remove it: provisioner gc --apply",
			"%s is %s and no record wants it: %s", o.Name, o.State, o.Why)
	}
}

// checks gathers what is wrong.
type checks struct{ found []doctor.Check }

func (c *checks) bad(provider string, state doctor.State, name, next, format string, args ...any) {
	check := doctor.Bad(state, name, next, format, args...)
	check.Provider = provider
	c.found = append(c.found, check)
}

// provider checks what a provider's instances say and answer.
func (c *checks) provider(v, before *Survey, p *record.Provider) {
	state := v.World.Providers[p.Name]
	said := map[string]bool{}
	for _, role := range plan.Roles() {
		for _, e := range state.Services[role].Episodes {
			if e.State == headapi.StateDamaged {
				continue // the check "stored data" names what
			}
			s, ok := episodes[e.State]
			if !ok {
				s = unknownEpisode
			}
			said[s.check] = true
			c.bad(p.Name, s.state, s.check, fmt.Sprintf(s.next, p.Name), "%s since %s: %s", e.State, moment(e.From), e.Detail)
		}
	}
	for _, role := range plan.Roles() {
		if w := p.Roles[role]; w.Reverted != nil {
			c.bad(p.Name, doctor.Warn, "instances", fmt.Sprintf("try another image, or stay with this one: provisioner update %s --role %s --image %s",
				p.Name, role, cmp.Or(w.Image, "default")), "%s", control.Reverted(role, w))
		}
	}
	if state.Held != "" {
		c.bad(p.Name, doctor.Fail, "ports", "stop who holds it: the provider starts by itself", "its port is held by %s", state.Held)
	}
	a := v.answer(p.Name, record.RoleIngest)
	if a == nil {
		return // the check of instances says so
	}
	if !said["log"] {
		c.log(p, a)
	}
	c.shelves(p, a)
	if !said["limits"] {
		c.limits(p, a)
	}
	if old := before.answer(p.Name, record.RoleIngest); old != nil {
		c.rejects(p, old, a)
	}
}

// log warns of a log that fills.
func (c *checks) log(p *record.Provider, a *metrics.Answer) {
	bytes, _ := a.Value(metrics.LogBytes)
	quota, _ := a.Value(metrics.LogQuota)
	if full := percent(bytes, quota); full >= logWarn {
		age, _ := a.Value(metrics.LogAge)
		c.bad(p.Name, doctor.Warn, "log", fmt.Sprintf("at 90 %% gateways will wait; see why it is not stored faster: provisioner logs %s --role ingest", p.Name),
			"%.0f %% full (%s of %s), the oldest not yet stored came %v ago", full, size(bytes), size(quota), (time.Duration(age) * time.Second).Round(time.Second))
	}
}

// shelves warns of stores for what was refused or set aside that are nearly full.
func (c *checks) shelves(p *record.Provider, a *metrics.Answer) {
	bytes, _ := a.Value(metrics.RejectsBytes)
	quota, _ := a.Value(metrics.RejectsQuota)
	if full := percent(bytes, quota); full >= shelfWarn {
		c.bad(p.Name, doctor.Warn, "rejects", "the oldest make room for the newest; look at them, then remove them: provisioner rejects ls "+p.Name,
			"the store of rejects is %.0f %% full", full)
	}
	bytes, _ = a.Value(metrics.AsideBytes)
	quota, _ = a.Value(metrics.AsideQuota)
	if full := percent(bytes, quota); full >= shelfWarn {
		c.bad(p.Name, doctor.Fail, "set aside", "when it is full, sealing waits: feed it again or give it up: provisioner aside ls "+p.Name,
			"what is set aside fills its store to %.0f %%", full)
	}
}

// limits warns of a provider that is near one of its limits. That of the log is checked with the log.
func (c *checks) limits(p *record.Provider, a *metrics.Answer) {
	for _, l := range record.EachLimit() {
		used, _ := a.Value(metrics.LimitUsed, l.Name)
		limit, _ := a.Value(metrics.Limit, l.Name)
		if l.Name == "log_bytes" || percent(used, limit) < limitWarn {
			continue
		}
		flag, words := strings.ReplaceAll(l.Name, "_", "-"), strings.ReplaceAll(l.Name, "_", " ")
		c.bad(p.Name, doctor.Warn, "limits", fmt.Sprintf("beyond it senders are slowed or refused; if that is not meant: provisioner set %s --%s", p.Name, flag),
			"%.0f of at most %.0f %s", used, limit, words)
	}
}

// rejects warns when more than a little of what came between two looks was refused.
func (c *checks) rejects(p *record.Provider, old, a *metrics.Answer) {
	most, reason, refused := 0.0, "", 0.0
	for i := range a.Samples {
		s := &a.Samples[i]
		if s.Name != metrics.Rejected.Name {
			continue
		}
		was, _ := old.Value(metrics.Rejected, s.Labels...)
		n := s.Value - was
		refused += n
		if n > most {
			most, reason = n, s.Labels[0]
		}
	}
	now, _ := a.Value(metrics.Readings, "accepted")
	was, _ := old.Value(metrics.Readings, "accepted")
	if refused > 0 && percent(refused, refused+now-was) > rejectsMost {
		c.bad(p.Name, doctor.Warn, "rejects", "see what was sent, and by whom: provisioner rejects ls "+p.Name,
			"%.0f readings or frames were refused in the last seconds, and %.0f taken; mostly for %s", refused, now-was, reason)
	}
}

// instance checks that an instance runs, stays and answers.
func (c *checks) instance(v *Survey, at *Instance) {
	state, logs := v.World.House, "provisioner logs web"
	if at.Provider != "" {
		state, logs = v.World.Providers[at.Provider], fmt.Sprintf("provisioner logs %s --role %s", at.Provider, at.Role)
	}
	silent, isSilent := state.Silent[at.Role]
	r := &at.Runtime
	why := ""
	if at.LastError != "" {
		why = ": " + at.LastError
	}
	halted, isHalted := state.Halted[at.Role]
	if isHalted && r.Name == "" {
		r = &halted.Instance
	}
	switch {
	case strings.HasSuffix(r.Reason, fmt.Sprint("status ", exitTakenOver)) && r.State == runtime.Ended:
		c.bad(at.Provider, doctor.Fail, "instances", "look for a second provisioner, or an ingest that somebody started, on the same NATS: of a provider one instance writes",
			"%s was taken over by another instance", at.Role)
	case (isHalted || r.Failures >= plan.LoopAfter) && !at.Up:
		c.bad(at.Provider, doctor.Fail, "instances", loopNext(at.Provider, logs),
			"%s is crash-looping since %s, it ended %d times soon after its start (%s)%s", at.Role, moment(r.Failing), r.Failures, r.Reason, why)
	case r.Failures >= loopsAfter && r.State == runtime.Ended:
		c.bad(at.Provider, doctor.Fail, "instances", "it is tried again by itself; the cause: "+logs, "%s ends again and again, %d times (%s)%s", at.Role, r.Failures, r.Reason, why)
	case r.Failures >= loopsAfter && !at.Up:
		c.bad(at.Provider, doctor.Fail, "instances", "it is tried again by itself; the cause: "+logs, "%s was started again after it ended %d times%s", at.Role, r.Failures, why)
	case isSilent:
		c.bad(at.Provider, doctor.Fail, "instances", "it is replaced by itself; the cause: "+logs, "%s runs and %s", at.Role, silent)
	case r.State == runtime.Running && r.Unhealthy != "":
		c.bad(at.Provider, doctor.Fail, "instances", "it is replaced by itself; the cause: "+logs, "%s runs and is not healthy: %s", at.Role, r.Unhealthy)
	case r.State == runtime.Running && !at.Up:
		c.bad(at.Provider, doctor.Warn, "instances", "look again in a few seconds; the cause, if it stays: "+logs, "%s runs and did not answer within a second", at.Role)
	case r.State != runtime.Running:
		c.bad(at.Provider, doctor.Fail, "instances", "it is started by itself; what it waits for: provisioner plan", "%s does not run%s", at.Role, why)
	}
}

// loopNext says what to do about a crash loop.
func loopNext(provider, logs string) string {
	if provider == "" {
		return "it is tried once a minute by itself; the cause: " + logs
	}
	return fmt.Sprintf("mend the cause, then: provisioner restart %s (it is tried once a minute by itself); the cause: %s", provider, logs)
}

// exitTakenOver is the exit code of an instance that another has taken over from.
const exitTakenOver = 3

// steps names what the loop waits for, of providers of which nothing worse is known.
func (c *checks) steps(v *Survey) {
	unwell := map[string]bool{}
	for i := range c.found {
		unwell[c.found[i].Provider] = true
	}
	for i := range v.Providers {
		p := &v.Providers[i]
		if unwell[p.Name] {
			continue
		}
		switch state, detail := control.StateOf(p, v.Steps, v.World); state {
		case control.Starting, control.Degraded, control.Removing:
			c.bad(p.Name, doctor.Warn, "instances", "see provisioner plan", "%s: %s", state, detail)
		}
	}
}

// list returns the checks, each with a line for what is wrong, or one that says that nothing is.
func (c *checks) list(v *Survey) []doctor.Check {
	running := 0
	for i := range v.Instances {
		if v.Instances[i].Up {
			running++
		}
	}
	var all []doctor.Check
	for _, good := range []doctor.Check{
		doctor.Good("instances", "%d run and answer", running),
		doctor.Good("orphans", "every instance is wanted"),
		doctor.Good("ports", "no provider's port is held by another program"),
		doctor.Good("log", "no provider's log is half full"),
		doctor.Good("head", "every head follows its log"),
		doctor.Good("keyspace", "every keyspace takes what it is given"),
		doctor.Good("disk", "no gateway waits for room on a disk"),
		doctor.Good("sources", "every broker of a provider's own is connected to"),
		doctor.Good("rejects", "little is refused, and kept"),
		doctor.Good("set aside", "nothing that was acknowledged is set aside"),
		doctor.Good("limits", "no provider is near its limits"),
		doctor.Good("state", "no instance says anything else"),
	} {
		n := len(all)
		for _, found := range c.found {
			if found.Name == good.Name {
				all = append(all, found)
			}
		}
		if len(all) == n {
			all = append(all, good)
		}
	}
	return all
}

// answer returns what an instance answered, nil when it did not. A nil survey has no answers.
func (v *Survey) answer(provider, role string) *metrics.Answer {
	if v == nil {
		return nil
	}
	for i := range v.Instances {
		if at := &v.Instances[i]; at.Provider == provider && at.Role == role && at.Up {
			return &at.Answer
		}
	}
	return nil
}

func percent(part, all float64) float64 {
	if all <= 0 {
		return 0
	}
	return part / all * 100
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func size(bytes float64) string {
	if bytes >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", bytes/(1<<30))
	}
	return fmt.Sprintf("%.0f MiB", bytes/(1<<20))
}
