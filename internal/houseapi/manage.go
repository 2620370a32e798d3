package houseapi

import "time"

// ManageSubject is the subject of what is to become of a provider. Only an operator is let ask it.
//
// What cannot be asked for here is for whoever has the machine, by the command line: to purge readings, to run a command
// within an instance, to give it another image. So web, which strangers reach, holds no right to any of these.
const ManageSubject = "house.manage"

// LogsSubject is the subject of what an instance writes. Only an operator is shown the answer, which comes in chunks of
// text as it was written, the first of them at once, though it may be empty.
const LogsSubject = "house.logs"

// The acts that may be done to a provider.
const (
	ActAdd     = "add"
	ActRestart = "restart"
	ActStop    = "stop"
	ActStart   = "start"
	ActRemove  = "remove" // its data are kept
)

// ManageRequest asks what an act would come to, or that it is done.
type ManageRequest struct {
	Provider string `json:"provider,omitempty"` // empty, without an act: all, and the house's own instances
	Act      string `json:"act,omitempty"`      // empty: none, and what is done anyway is answered
	Apply    bool   `json:"apply,omitempty"`    // do it; false: say what would be done
	Plan     string `json:"plan,omitempty"`     // do it only if it comes to what was shown under this; empty: whatever it comes to
}

// Managed is what an act came to, or would come to.
type Managed struct {
	Provider string   `json:"provider,omitempty"`
	Act      string   `json:"act,omitempty"`
	Port     int      `json:"port,omitempty"`
	Keyspace string   `json:"keyspace,omitempty"`
	State    string   `json:"state,omitempty"`  // as provisioner ls has it: ready, starting, degraded, ...
	Detail   string   `json:"detail,omitempty"` // what it waits for, or what is wrong
	Applied  bool     `json:"applied"`          // it was done: the steps are under way
	Changed  bool     `json:"changed"`          // it changes what is wanted
	Restored bool     `json:"restored,omitempty"`
	Plan     string   `json:"plan,omitempty"` // tells this plan from others
	Steps    []Step   `json:"steps"`
	Notes    []string `json:"notes,omitempty"` // what the steps do not tell
}

// Step is a step of the plan, as provisioner plan prints it.
type Step struct {
	Provider string            `json:"provider,omitempty"` // empty: the house
	Kind     string            `json:"kind"`
	Role     string            `json:"role,omitempty"`
	Why      string            `json:"why"`            // in English
	Code     string            `json:"code,omitempty"` // of why, by which pages have it in their languages; empty: there are words alone
	Args     map[string]string `json:"args,omitempty"` // that fill the places of the code's text
	Until    time.Time         `json:"until,omitzero"` // of a wait: it is looked again then
	Text     string            `json:"text"`           // all of it, for a person
}

// LogsRequest asks for what an instance wrote.
type LogsRequest struct {
	Provider string `json:"provider,omitempty"` // empty: the house's own
	Role     string `json:"role"`
	Lines    int    `json:"lines"` // the last ones, LogLines at most
	Follow   bool   `json:"follow,omitempty"`
}

const (
	// LogLines is how many lines of the past may be asked for.
	LogLines = 2000
	// LogFollowers is how many may follow logs at once.
	LogFollowers = 24
)
