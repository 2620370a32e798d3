package plan

import (
	"fmt"
	"time"

	"berth/provisioner/runtime"
	"berth/schema/record"
)

// Site is what the plan must know of the installation.
type Site struct {
	Version     string // of the programs
	Host        string // where providers' ports listen
	PortBase    int
	Web         string // where web listens; empty: none is run
	Certificate string // fingerprint of what ports' certificates are to be made of; empty: they have none
	Mail        string // fingerprint of the settings of the mail server, which web is given; empty: there is none
	Front       string // fingerprint of how browsers reach web, its certificate's too; empty: by plain HTTP, with nothing between
	Told        string // where instances are told that NATS and keyspaces are; empty: what they are told lasts as long as they do
}

// World is what is, as last observed.
type World struct {
	Site      Site
	Providers map[string]State // of every provider that has left a trace
	House     State            // of the house's own instances: only Instances, Silent, Halted and Trouble are used
}

// State is what is of one provider.
type State struct {
	Keyspace    Knowledge
	Access      string // fingerprint of the secret that lets its instances into the keyspace; empty: unknown
	Log         Knowledge
	Pipeline    string                      // fingerprint of the pipeline record in the provider's account; empty: unknown
	Certificate string                      // fingerprint of what its port's certificate was made of; empty: unknown
	Renew       time.Time                   // when that is to be replaced; zero: never
	Instances   map[string]runtime.Instance // by role
	Services    map[string]record.Service   // by role: what the running instance says of itself
	Silent      map[string]Silence          // by role: of running instances that are not in Services, as far as can be told
	Halted      map[string]Halted           // by role: stopped for its crash loop, and not well since
	Told        map[string]record.Resources // by role: what a running instance was last told that it may use; missing: unknown
	Announced   bool                        // its services are mirrored into the house
	Held        string                      // who else holds its port: "java(812)"; empty: nobody, or ingest runs
	Trouble     Trouble
}

// Silence is of an instance that runs and says nothing of itself.
type Silence struct {
	Since time.Time
	Never bool // it has not said anything yet
}

// Until returns when a silent instance is taken for one that hangs; the zero time for no silence.
func (s Silence) Until() time.Time {
	if s == (Silence{}) {
		return time.Time{}
	}
	if s.Never {
		return s.Since.Add(StartMost)
	}
	return s.Since.Add(SilenceMost)
}

// String returns the silence as a person says it.
func (s Silence) String() string {
	if s.Never {
		return "has not answered yet"
	}
	return "has not answered since " + s.Since.UTC().Format(time.TimeOnly)
}

// Knowledge is what is known of something that is made and removed. A fresh provisioner knows nothing; making what is
// made, and removing what is gone, changes nothing.
type Knowledge uint8

// What may be known.
const (
	Unknown Knowledge = iota
	Present
	Absent
)

// Trouble is the last step's failure.
type Trouble struct {
	Step  string    // Step.Key of what went wrong; empty: no trouble
	Text  string    // what may be shown of the error
	At    time.Time // of the last time
	Times int       // in a row
}

// Kind is what a step does.
type Kind string

// The kinds of step. Each is small, safe to repeat and safe to be killed in.
const (
	CreateKeyspace   Kind = "create keyspace"
	CreateLog        Kind = "create log"
	WritePipeline    Kind = "write settings"
	WriteCertificate Kind = "write certificate"
	Start            Kind = "start"
	Stop             Kind = "stop"
	Announce         Kind = "announce"
	Withdraw         Kind = "withdraw"
	Update           Kind = "update"           // what an instance may use, in place
	Keep             Kind = "keep image"       // that was on trial
	Revert           Kind = "bring back image" // the one before that which was on trial
	Halt             Kind = "halt"             // an instance that its runtime starts again and again
	RemoveLog        Kind = "remove log"
	DropKeyspace     Kind = "drop keyspace"
	Forget           Kind = "forget"
	Wait             Kind = "wait" // nothing to do; the plan says why, and until when at the latest
)

// Step is one thing to do, or to wait for. An executor needs no more than what it says.
type Step struct {
	Provider string          `json:"provider,omitempty"` // empty: the house
	Kind     Kind            `json:"kind"`
	Role     string          `json:"role,omitempty"` // of what is done to one instance, or of a Wait that goes on beside its work
	Why      Reason          `json:"why"`
	Until    time.Time       `json:"until,omitzero"`  // of Wait: look again then; zero: a change will come
	Unit     *Unit           `json:"unit,omitempty"`  // of Start and Update, and of Stop: what comes after it
	Again    bool            `json:"again,omitempty"` // of Start: it ended, or hung, by itself
	Record   record.Provider `json:"-"`               // as it was when planned
}

// Key tells whether two steps are the same thing to do.
func (s Step) Key() string { return fmt.Sprintf("%s/%s/%s", s.Provider, s.Kind, s.Role) }

// String returns what the step does and why, for a person.
func (s Step) String() string {
	who := s.Provider
	if who == "" {
		who = "house"
	}
	what := string(s.Kind)
	if s.Role != "" {
		what += " " + s.Role
	}
	return fmt.Sprintf("%s: %s (%s)", who, what, s.Why)
}
