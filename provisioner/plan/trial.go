package plan

import (
	"fmt"
	"time"

	"berth/provisioner/runtime"
	"berth/schema/record"
)

// planTrial decides about an image that is on trial: it stays once its instance has been healthy for long enough, and the
// one before it comes back when that takes too long. Until it is known which, nothing is decided.
func planTrial(p *record.Provider, u Unit, state State, now time.Time) []Step {
	trial := p.Roles[u.Role].Trial
	if trial == nil {
		return nil
	}
	i, ok := state.Instances[u.Role]
	runs := ok && i.Hash == u.Hash()
	s := Step{Provider: p.Name, Role: u.Role, Record: *p}
	if runs && i.State == runtime.Running && i.Failures == 0 && i.Unhealthy == "" && Healthy(state.Services[u.Role]) {
		s.Kind, s.Why = Keep, because("kept", "image", ImageName(u.Image))
		if until := i.Started.Add(TrialLeast); now.Before(until) {
			s.Kind, s.Until, s.Why = Wait, until, because("trial", "image", ImageName(u.Image))
		}
		return []Step{s}
	}
	why := ""
	if t := state.Trouble; t.At.After(trial.Begun) && t.Times >= TrialFailures && ofStart(t.Step, p.Name, u.Role) {
		why = "it cannot be started: " + t.Text
	} else if runs {
		why = unwell(i, state, u.Role, trialEnd(p, u, state), now)
	}
	if why == "" {
		return nil
	}
	s.Kind, s.Why = Revert, InWords(why)
	return []Step{s}
}

// ofStart reports whether a step is of an instance's start, or of the end of the one before it: that is not ended for
// what cannot be started.
func ofStart(key, provider, role string) bool {
	return key == Step{Provider: provider, Kind: Start, Role: role}.Key() || key == Step{Provider: provider, Kind: Stop, Role: role}.Key()
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

// unwell returns why an instance fails its trial, or nothing. One that runs and of which nothing is known fails nothing: a
// provisioner that was just started, or a registry that was, has not heard of it for a moment.
func unwell(i runtime.Instance, state State, role string, end, now time.Time) string {
	silence, silent := state.Silent[role]
	switch {
	case i.Failures >= TrialFailures:
		return fmt.Sprintf("it ended %d times soon after its start%s", i.Failures, lastly(i))
	case i.Unhealthy != "": // its check has failed for a while
		return "it is not healthy: " + i.Unhealthy
	case now.Before(end):
		return ""
	case i.State != runtime.Running:
		return "it ended" + lastly(i)
	case silent && now.Before(silence.Since.Add(SilenceMost)):
		return ""
	case silent, state.Services[role].State != "" && !Healthy(state.Services[role]):
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
	return fmt.Sprintf(" (image %s is on trial; unless it gets healthy, image %s comes back)", ImageName(w.Image), ImageName(w.Trial.Before))
}

// ImageName returns an image's name as it is shown; default is the runtime's own.
func ImageName(image string) string {
	if image == "" {
		return "default"
	}
	return image
}
