package record

import (
	"time"
)

// GatewayKeyPrefix begins the keys of GatewayKeys in their bucket; the SHA-256 of the gateway's name follows, hex.
const GatewayKeyPrefix = "gateway."

// GatewayKey says how one gateway shows who it is. A gateway with something of its own to show no longer accepts the
// enrolment key; one that was only approved has nothing of its own, and shows the enrolment key.
type GatewayKey struct {
	Version  int          `json:"version"`
	Gateway  string       `json:"gateway"`
	Hash     string       `json:"hash"`               // SHA-256 of the key, hex; empty: it has none
	Previous *PreviousKey `json:"previous,omitempty"` // the key before, which may still be good
	Relay    bool         `json:"relay,omitempty"`    // may speak for many gateways
	Created  time.Time    `json:"created"`
	Approved time.Time    `json:"approved,omitzero"` // the enrolment key is good for it, though new gateways wait
	Revoked  time.Time    `json:"revoked,omitzero"`  // revoked: nothing that it shows opens the port for it, nor the enrolment key
}

// PreviousKey is a key that was replaced.
type PreviousKey struct {
	Hash      string    `json:"hash"`                 // SHA-256, hex
	Until     time.Time `json:"until"`                // it is good until then
	UntilUsed bool      `json:"until_used,omitempty"` // and no longer than until the new key is first used
}

// Own reports whether the gateway has something of its own to show.
func (k *GatewayKey) Own() bool { return k.Hash != "" }

const (
	// WaitingPrefix begins the keys of Waiting in their bucket; the SHA-256 of the gateway's name follows, hex.
	WaitingPrefix = "waiting."
	// ShownPrefix begins the keys of Shown in their bucket; the SHA-256 of the gateway's name follows, hex, or ShownEnrolment.
	ShownPrefix = "shown."
	// ShownEnrolment is in the place of a gateway's name for the enrolment key.
	ShownEnrolment = "enrolment"
)

// Waiting is a gateway that has shown the enrolment key and waits for approval. Ingest writes it; who approves or refuses
// the gateway removes it.
type Waiting struct {
	Version int       `json:"version"`
	Gateway string    `json:"gateway"`
	Address string    `json:"address,omitempty"` // from which it came last
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`  // to the minute
	Times   uint64    `json:"times"` // how often it came, about
}

// Shown is what ingest has seen of a key: not of each frame, but once and then once a day.
type Shown struct {
	Version int       `json:"version"`
	Gateway string    `json:"gateway,omitempty"` // empty: of the enrolment key
	Hash    string    `json:"hash"`              // of the key; what is said is of no other
	Used    time.Time `json:"used"`              // first
	Clear   time.Time `json:"clear,omitzero"`    // first shown on a plain connection, where others may have read it; zero: never
	Last    time.Time `json:"last,omitzero"`     // last shown so, to the day
}
