package record

import "time"

// Change is an entry of the audit log: who changed what, or tried to. It is JSON in the house's stream AUDIT, on the
// subject audit.<provider>, or audit._house for what is no provider's.
type Change struct {
	Version  int       `json:"version"`
	Time     time.Time `json:"time"`
	Provider string    `json:"provider,omitempty"`
	Who      string    `json:"who"`               // a person's or token's name; a role, of who came by a link
	By       By        `json:"by"`                // how they came
	Address  string    `json:"address,omitempty"` // that they came from
	Does     string    `json:"does"`              // what kind of change, such as token.create
	What     string    `json:"what,omitempty"`    // of what
	Failed   string    `json:"failed,omitempty"`  // why nothing was changed; empty: it was done
}

// By says how somebody came who changed something.
type By string

// The ways in.
const (
	ByPerson  By = "person"  // signed in with a password
	ByLink    By = "link"    // signed in by a one-time link
	ByToken   By = "token"   // by an API token
	ByCommand By = "command" // by provisioner's command line
)
