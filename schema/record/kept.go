package record

import (
	"time"

	"berth/schema"
)

// Reject is what is known of a frame, or of lines of one, that was refused. It is kept as JSON beside the refused bytes.
type Reject struct {
	Version   int           `json:"version"`
	Time      time.Time     `json:"time"`                // of its arrival
	Gateway   string        `json:"gateway"`             // the sender; empty: a sender with the enrolment key and no name
	Relay     bool          `json:"relay,omitempty"`     // the sender may speak for others
	Protocol  string        `json:"protocol"`            // berth, http, mqtt
	Format    string        `json:"format"`              // line, json, value
	Sensor    string        `json:"sensor,omitempty"`    // that a value is of
	Precision time.Duration `json:"precision,omitempty"` // of times in the line format, ns; 0: nanoseconds
	Address   string        `json:"address"`             // of the sender
	Code      schema.Code   `json:"code"`
	Reason    string        `json:"reason"`
	Lines     []RejectLine  `json:"lines,omitempty"` // the first lines refused, when others were stored
	Readings  uint64        `json:"readings"`        // how many were refused
	Size      int           `json:"size"`            // of the whole payload
	Refused   int           `json:"refused"`         // bytes that were refused; when fewer are kept, it was cut short
	Part      bool          `json:"part,omitempty"`  // other lines of the payload were stored: these are those that were not
}

// RejectLine is a line that was refused, from 1, and why.
type RejectLine struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// The forms of what is set aside.
const (
	FormMessage = "message" // of the log, schema/batch
	FormBlock   = "block"   // schema/block
	FormTail    = "tail"    // of a gateway's row, schema/catalog
	FormRollup  = "rollup"  // schema/rollup: no readings of its own
)

// Aside is what is known of what was acknowledged and could not be stored. It is kept as JSON beside the bytes.
type Aside struct {
	Version  int         `json:"version"`
	Time     time.Time   `json:"time"` // when it was set aside
	Gateway  string      `json:"gateway,omitempty"`
	What     string      `json:"what"` // log, block, tail, row, rollup: where it was to go or to come from
	Form     string      `json:"form"` // of the bytes
	Sequence uint64      `json:"sequence,omitempty"`
	Readings uint64      `json:"readings"` // as far as known
	Code     schema.Code `json:"code"`
	Reason   string      `json:"reason"`
	Size     int         `json:"size"`
}
