// Package batch is the message of a provider's log: the readings of many frames, committed together, or a claim by
// which an ingest instance takes the log over. Both carry the provider's running totals, so that these survive any
// kill.
//
// It gives the rows that decoders fill, the encoding of rows into a message and back, and an interner that keeps one
// Shape for all rows of a series. It leaves the cutting of batches to ingest/commit. Its one invariant: the ordinal of
// a reading, the second half of its position in the log, is its index in the values of the message, and encoding and
// decoding keep it.
//
//	message   magic "BTHB" · version 1 byte (1 or 2) · kind 1 byte (1 claim, 2 data) · header · body · CRC-32C 4 bytes
//	header    claim text · created 8 bytes · 8 totals uvarint · reasons uvarint · reasons × (name text · number uvarint); the
//	          one named log_bytes is no reason, but Totals.Bytes, which releases before it carry along as a reason ·
//	          of version 2 only: sessions from uvarint · sessions
//	sessions  number uvarint · each: key text · left 8 bytes · expiry uvarint · received uvarint · received × (identifier
//	          minus that of the one before, uvarint) · filters uvarint · filters × (name text · QoS 1 byte)
//	body      of data only: readings uvarint · text bytes uvarint · layouts · shapes · rows
//	layouts   number uvarint · each: sensors uvarint · sensors × (kind 1 byte · name coded against the name before it)
//	shapes    number uvarint · each: layout uvarint · gateway coded against the shape before · attributes uvarint ·
//	          attributes × (name · value, each coded against the same attribute of the shape before)
//	rows      number uvarint · each: shape<<1 | arrival uvarint · time minus that of the row before, zigzag uvarint ·
//	          the values of its layout's sensors in their order
//	value     float: 8 bytes · int: zigzag uvarint · bool: 1 byte, 0 or 1 · text: text
//	text      length uvarint · that many bytes
//	coded     bytes shared at the start uvarint · bytes shared at the end uvarint · text between them
//
// Integers of fixed size are little-endian. The CRC-32C covers everything before it. Version 2 is written only while there
// are sessions to carry, so that a release before it reads what it would have written itself; whoever changes the drawing
// raises the version and keeps reading the one before.
package batch

import "berth/schema/internal/wire"

// The fixed parts of a message.
const (
	magic        = "BTHB"
	version      = 1 // without sessions
	withSessions = 2
	crcSize      = wire.ChecksumSize
)

// Bounds that hold for every message. Decoders of frames refuse what is beyond them, so that a row always fits a
// message of 1 MiB, and Decode refuses it too.
const (
	// MaxRowSensors is the most sensors a row may have.
	MaxRowSensors = 2048
	// MaxRowText is the most bytes the texts of one row may have together.
	MaxRowText = 256 << 10
	// MaxAttributes is the most attributes a shape may have.
	MaxAttributes = 32
	// MaxAttribute is the longest name or value of an attribute, in bytes.
	MaxAttribute = 255
	// MaxReasons is the most reasons that totals carry; what is beyond them is counted under OtherReasons.
	MaxReasons = 64
	// MaxReason is the longest reason, in bytes; a longer one is counted under OtherReasons.
	MaxReason = 64
	// bytesReason is the name under which Totals.Bytes stands among the reasons.
	bytesReason = "log_bytes"
	// OtherReasons is the reason under which reasons beyond the bounds are counted.
	OtherReasons = "other"
)

// Kind says what a message is.
type Kind uint8

// The kinds of message. The numbers are stored; they never change.
const (
	Claim Kind = 1 // an instance takes the log over; every message after it is chained to it
	Data  Kind = 2 // readings
)

// Header is what every message carries.
type Header struct {
	Kind    Kind
	Claim   string // the id of the claim that the message is, or is chained to
	Created int64  // nanoseconds; for data the arrival time of those readings that came without a time
	Totals  Totals

	Sessions     []Session // what has changed of them, each whole
	SessionsFrom uint64    // whoever reads the sessions of all messages from here on knows every one; 0: there are none
}

// Totals are a provider's running totals, up to and with the message that carries them.
type Totals struct {
	FramesReceived  uint64
	FramesCommitted uint64
	FramesRejected  uint64
	FramesGivenUp   uint64
	Accepted        uint64 // readings
	Rejected        uint64 // readings
	Timeless        uint64 // readings that came without a time
	Strangers       uint64 // connections that ended without a valid key
	Bytes           uint64 // of the messages of data before the one that carries them: who reads that adds its own
	Reasons         map[string]uint64
}

// numbers returns the totals in the order in which they are stored.
func (t *Totals) numbers() [8]*uint64 {
	return [8]*uint64{
		&t.FramesReceived, &t.FramesCommitted, &t.FramesRejected, &t.FramesGivenUp,
		&t.Accepted, &t.Rejected, &t.Timeless, &t.Strangers,
	}
}
