package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"berth/provisioner/runtime"
	"berth/schema/record"
)

// Orphan is an instance of this installation that no record wants.
type Orphan struct {
	runtime.Instance
	Why string `json:"why"`
}

// Orphans returns the instances that no record wants: of providers without a record, and of roles that there are not. Those
// of a provider that is stopped or being removed are none. The records must have been read after the instances: a record
// is made before its instances, and goes after them.
func Orphans(records []record.Provider, instances []runtime.Instance, site Site) []Orphan {
	known := map[string]bool{}
	for i := range records {
		known[records[i].Name] = true
	}
	var orphans []Orphan
	for _, i := range instances {
		switch {
		case i.Provider == "" && i.Role == record.RoleWeb && site.Web != "":
		case i.Provider == "" && i.Role == record.RoleWeb:
			orphans = append(orphans, Orphan{i, "no web is to run"})
		case i.Provider == "":
			orphans = append(orphans, Orphan{i, "the house has no such role"})
		case !known[i.Provider]:
			orphans = append(orphans, Orphan{i, "there is no provider " + i.Provider})
		case !slices.Contains(Roles(), i.Role):
			orphans = append(orphans, Orphan{i, "a pipeline has no such role"})
		}
	}
	slices.SortFunc(orphans, func(a, b Orphan) int { return cmp.Compare(a.Name, b.Name) })
	return orphans
}

// Collect returns the steps that remove orphans of at least the given age, and a wait for each that is younger.
func Collect(orphans []Orphan, grace time.Duration, now time.Time) []Step {
	var steps []Step
	for _, o := range orphans {
		s := Step{Provider: o.Provider, Kind: Stop, Role: o.Role, Record: record.Provider{Name: o.Provider}}
		why, last := fmt.Sprintf("%s, and it runs since %s", o.Why, moment(o.Started)), o.Started
		if o.State == runtime.Ended {
			why, last = fmt.Sprintf("%s, and it ended at %s", o.Why, moment(o.Ended)), o.Ended
		}
		if until := last.Add(grace); now.Before(until) {
			s.Kind, s.Until = Wait, until
			why = fmt.Sprintf("to stop %s: %s; it is left alone until %s", o.Name, why, moment(until))
		}
		s.Why = InWords(why)
		steps = append(steps, s)
	}
	return steps
}
