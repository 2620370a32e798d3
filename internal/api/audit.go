package api

import "time"

// Finding is something that does not balance, or cannot be read.
type Finding struct {
	What  string `json:"what"`  // books, log, block, row, rollup, latest, lost, incomplete: one word
	Where string `json:"where"` // the gateway, or the message of the log
	Text  string `json:"text"`
	Next  string `json:"next,omitempty"` // what to do now
}

// What a finding may be about.
const (
	FoundBooks      = "books"      // the running totals contradict each other, or what is stored
	FoundLog        = "log"        // a message of the log cannot be read, or does not follow the one before it
	FoundBlock      = "block"      // a stored block cannot be read, or is not what its key says
	FoundRow        = "row"        // a gateway's row cannot be read
	FoundRollup     = "rollup"     // a rollup that counts says something else than the readings
	FoundLatest     = "latest"     // the newest reading that is known is not the newest that is stored
	FoundLost       = "lost"       // a reading of the log is neither in the head nor in the keyspace
	FoundIncomplete = "incomplete" // what is not stored yet could not be asked for
)

// Audit is what a recount came to.
type Audit struct {
	Provider string    `json:"provider"`
	Begun    time.Time `json:"begun"`
	Ended    time.Time `json:"ended"`
	Balanced bool      `json:"balanced"` // nothing was found
	Findings []Finding `json:"findings"` // the first of them
	Found    int       `json:"found"`    // how many there are in all
	Books    Books     `json:"books"`    // after the recount

	Log struct {
		First    uint64 `json:"first"` // messages from First up to Last were read, each held against the one before it
		Last     uint64 `json:"last"`
		Messages uint64 `json:"messages"`
		Readings uint64 `json:"readings"` // that they hold, each looked up in the head and the keyspace
		Expired  uint64 `json:"expired"`  // of these, too old to be shown
		Trimmed  uint64 `json:"trimmed"`  // messages that were trimmed while they were being read
	} `json:"log"`
	Keyspace struct {
		Gateways   int    `json:"gateways"`
		Blocks     uint64 `json:"blocks"`     // decoded whole
		Tails      uint64 `json:"tails"`      // blocks in the rows' tails and in the head
		Stored     uint64 `json:"stored"`     // readings in all of them
		Identities uint64 `json:"identities"` // those of them that differ in gateway, sensor or time
		Rollups    uint64 `json:"rollups"`    // compared with the readings
		Moving     uint64 `json:"moving"`     // rollups that do not count now, or changed while they were looked at
		Latest     uint64 `json:"latest"`     // newest readings compared
	} `json:"keyspace"`
}

// AuditEvent is a line of an audit's answer: how far it is, something that was found, or, last, all of it.
type AuditEvent struct {
	Progress string   `json:"progress,omitempty"`
	Finding  *Finding `json:"finding,omitempty"`
	Result   *Audit   `json:"result,omitempty"`
}
