package plan

import (
	"fmt"
	"time"

	"berth/provisioner/runtime"
)

// A crash loop is slowed to a start a minute, and said; it is never given up. What broke the instance is as often as not
// outside of it (a disk, a keyspace, a file that an operator restores, who knows nothing of Berth), so it has to come back
// by itself; and a start a minute costs the others next to nothing. A runtime that starts ended instances by itself is
// stopped from doing so by halting the instance: then the pauses are the plan's alone.

// Halted is an instance that its runtime started again and again, and that was stopped for it.
type Halted struct {
	runtime.Instance // as it was last
	At               time.Time
}

// Until returns when it may be started again.
func (h Halted) Until() time.Time { return h.At.Add(LoopPause) }

// RestartAt returns when an instance that ended may be started again.
func RestartAt(i runtime.Instance) time.Time {
	if i.Failures >= LoopAfter {
		return i.Ended.Add(LoopPause)
	}
	return i.Ended.Add(backOff(RestartFirst, RestartMost, i.Failures-2))
}

// CrashLooping returns the first role of a pipeline that is in a crash loop, or nothing. One that was started again and has
// got healthy is not.
func (s *State) CrashLooping() (role string) {
	for _, role := range Roles() {
		i := s.Instances[role]
		_, halted := s.Halted[role]
		well := i.State == runtime.Running && Healthy(s.Services[role])
		if (halted || i.Failures >= LoopAfter) && !well {
			return role
		}
	}
	return ""
}

// startedAgain reports whether an instance runs only since its runtime starts it again and again. One that was halted for
// it before is told by its first end.
func startedAgain(i runtime.Instance, before bool) bool {
	return i.Restarts > 0 && (i.Failures >= LoopAfter || before && i.Failures > 0)
}

// failing returns what an instance waits for that ended soon after its start.
func failing(u Unit, i runtime.Instance) string {
	if i.Failures >= LoopAfter {
		return looping(u, i)
	}
	return fmt.Sprintf("to start %s again: it ended %d times soon after its start%s%s", u.Role, i.Failures, since(i), lastly(i))
}

// looping returns what there is to say of an instance in a crash loop.
func looping(u Unit, i runtime.Instance) string {
	text := fmt.Sprintf("%s is crash-looping%s: it ended %d times soon after its start%s; it is tried once a minute", u.Role, since(i), i.Failures, lastly(i))
	if u.Provider != "" {
		text += "; after mending it: provisioner restart " + u.Provider
	}
	return text
}

func since(i runtime.Instance) string {
	if i.Failing.IsZero() {
		return ""
	}
	return " since " + moment(i.Failing)
}

func lastly(i runtime.Instance) string {
	switch {
	case i.Reason == "":
		return ""
	case i.Error == "":
		return ", last by " + i.Reason
	default:
		return ", last by " + i.Reason + ": " + i.Error
	}
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
