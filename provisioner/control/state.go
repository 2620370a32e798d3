package control

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"berth/internal/headapi"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema/record"
)

// StateOf returns a provider's state in one word, and what it waits for or what is wrong, by the steps of the plan for all
// and the world they were planned for.
func StateOf(p *record.Provider, steps []plan.Step, actual plan.World) (word, detail string) {
	var own []plan.Step
	for _, step := range steps {
		if step.Provider == p.Name {
			own = append(own, step)
		}
	}
	return stateOf(p, actual.Providers[p.Name], own)
}

// stateOf returns a provider's state in one word, and what it waits for.
func stateOf(p *record.Provider, state plan.State, own []plan.Step) (word, detail string) {
	var waits, beside []string
	acts := ""
	for _, step := range own {
		switch {
		case step.Kind == plan.Wait && step.Role != "":
			beside = append(beside, step.Role+" waits "+step.Why.String())
		case step.Kind == plan.Wait:
			waits = append(waits, step.Why.String())
		case acts == "":
			acts = "to " + string(step.Kind)
		}
	}
	detail = cmp.Or(strings.Join(waits, "; "), acts)
	switch {
	case p.Wanted == record.Removed && acts != "":
		return Removing, detail
	case p.Wanted == record.Removed && p.Purge && state.Log == plan.Absent && state.Keyspace == plan.Absent:
		return Resting, detail
	case p.Wanted == record.Removed && p.Purge:
		return Removing, detail
	case p.Wanted == record.Removed:
		return Removed, detail
	case p.Wanted == record.Stopped && (instances(state) > 0 || state.Announced):
		return Stopping, detail
	case p.Wanted == record.Stopped:
		return Stopped, detail
	// A fresh record that the loop has not been told of yet has no steps and no instances.
	case len(own) == len(beside) && state.Announced && running(state):
		word, detail = atWork(p, state)
		return word, strings.Join(slices.DeleteFunc(append(beside, detail), func(s string) bool { return s == "" }), "; ")
	case state.CrashLooping() != "":
		return Looping, detail
	case state.Announced:
		return Degraded, detail
	default:
		return Starting, detail
	}
}

// atWork returns the state of a provider whose instances all run: ready, unless ingest says that something is wrong.
func atWork(p *record.Provider, state plan.State) (word, detail string) {
	says := state.Services[record.RoleIngest]
	if says.Since.IsZero() {
		return Ready, reverted(p)
	}
	detail = fmt.Sprintf("ingest is %s since %s: %s", says.State, says.Since.UTC().Format("2006-01-02 15:04:05 MST"), says.Detail)
	if says.State == headapi.StateReplaying {
		return Ready, detail
	}
	return Degraded, detail
}

// instances returns how many of a pipeline's instances are there.
func instances(state plan.State) (n int) {
	for _, role := range plan.Roles() {
		if _, ok := state.Instances[role]; ok {
			n++
		}
	}
	return n
}

func running(state plan.State) bool {
	for _, role := range plan.Roles() {
		if state.Instances[role].State != runtime.Running {
			return false
		}
	}
	return true
}

// reverted tells of images that were tried and did not get healthy.
func reverted(p *record.Provider) string {
	var texts []string
	for _, role := range plan.Roles() {
		if w := p.Roles[role]; w.Reverted != nil {
			texts = append(texts, Reverted(role, w))
		}
	}
	return strings.Join(texts, "; ")
}

// Reverted says that a role's image was tried and did not get healthy.
func Reverted(role string, w record.Wish) string {
	return fmt.Sprintf("%s has image %s back: %s, tried until %s, did not get healthy: %s",
		role, plan.ImageName(w.Image), plan.ImageName(w.Reverted.Image), w.Reverted.At.UTC().Format("2006-01-02 15:04:05 MST"), w.Reverted.Why)
}
