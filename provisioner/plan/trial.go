package plan

import (
	"fmt"
	"time"

	"berth/provisioner/runtime"
	"berth/schema/record"
)

// planTrial decides about an image that is on trial: it stays once its instance is healthy, and the one before it comes
// back when that takes too long. Until it is known which, nothing is decided.
func planTrial(p *record.Provider, u Unit, state State, now time.Time) (Step, bool) {
	trial := p.Roles[u.Role].Trial
	if trial == nil {
		return Step{}, false
	}
	i, ok := state.Instances[u.Role]
	runs := ok && i.Hash == u.Hash()
	if runs && i.State == runtime.Running && Healthy(state.Services[u.Role]) {
		return Step{Provider: p.Name, Kind: Keep, Role: u.Role, Why: "its image " + ImageName(u.Image) + " is healthy", Record: *p}, true
	}
	why := ""
	if t := state.Trouble; t.Step == (Step{Provider: p.Name, Kind: Start, Role: u.Role}).Key() && t.At.After(trial.Begun) && t.Times >= TrialFailures {
		why = "it cannot be started: " + t.Text
	} else if runs {
		why = unwell(i, state, u.Role, !now.Before(trialEnd(p, u, state)))
	}
	if why == "" {
		return Step{}, false
	}
	return Step{Provider: p.Name, Kind: Revert, Role: u.Role, Why: why, Record: *p}, true
}

// trialEnd returns when an image must have got healthy; the zero time when there is none on trial. The time of an instance
// that was started late, since no provisioner ran, counts from its start.
func trialEnd(p *record.Provider, u Unit, state State) time.Time {
	trial := p.Roles[u.Role].Trial
	if trial == nil {
		return time.Time{}
	}
	if i, ok := state.Instances[u.Role]; ok && i.Hash == u.Hash() && i.State == runtime.Running && i.Started.After(trial.Begun) {
		return i.Started.Add(TrialMost)
	}
	return trial.Begun.Add(TrialMost)
}

// unwell returns why an instance fails its trial, or nothing. One that runs and of which nothing is known (a provisioner
// that was just started has not heard of it yet) fails nothing.
func unwell(i runtime.Instance, state State, role string, over bool) string {
	_, silent := state.Silent[role]
	switch {
	case i.Failures >= TrialFailures:
		return fmt.Sprintf("it ended %d times soon after its start%s", i.Failures, lastly(i))
	case !over:
		return ""
	case i.State != runtime.Running:
		return "it ended" + lastly(i)
	case silent, state.Services[role].State != "":
		return "it " + says(i, state, role)
	default:
		return ""
	}
}

// tried tells of a trial that goes on.
func tried(w record.Wish) string {
	if w.Trial == nil {
		return ""
	}
	return fmt.Sprintf(" (its image %s is on trial; unless it gets healthy %s comes back)", ImageName(w.Image), ImageName(w.Trial.Before))
}

// ImageName returns an image's name as it is shown.
func ImageName(image string) string {
	if image == "" {
		return "of the runtime's own"
	}
	return image
}
