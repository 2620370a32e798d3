// Package frames is the gate's listener for Berth frames, for gateways that can be programmed and for anybody with nc:
// text lines around opaque payloads.
//
//	C: HELLO <gateway> <key>                      S: OK                | ERR <code> <reason>
//	C: PUT <seq> <format> <length>\n<payload>     S: ACK <seq>         | NAK <seq> <code> <reason>
//	C: PING                                       S: PONG
//
// Within TLS that was opened with a certificate of the gateway's the key is "-": HELLO <gateway> -
//
// Lines end in \n or \r\n; empty ones, such as after a payload, are skipped. Sequence numbers belong to the connection
// and rise from 1 by 1. ACK n answers all up to n that are not yet answered: they are in the log, on disk. NAK n answers n
// alone: it was refused, or some of its readings were and the reason says how many; a NAK may overtake earlier ACKs. ERR
// ends the connection: what is unanswered is to be sent again on a new one, and so is everything unanswered when a
// connection ends in any other way. When the client closes its side, the server answers what it has and then closes.
//
// A connection takes a goroutine and no buffer while it waits. Answers are written beside it, all that there are at once.
package frames

import (
	"context"

	"berth/ingest/gate/intake"
	"berth/schema"
)

// Listener serves connections that begin with HELLO.
type Listener struct{ in *intake.Intake }

var _ intake.Listener = (*Listener)(nil)

// New returns the listener.
func New(in *intake.Intake) intake.Listener { return &Listener{in: in} }

// Name is the protocol's name.
func (l *Listener) Name() string { return "berth" }

// Recognise knows the protocol by its first line. PING is the first word of somebody who looks whether the port is alive.
func (l *Listener) Recognise(first []byte) intake.Match {
	return intake.MatchPrefix(first, "HELLO ", "PING\n", "PING\r", "PUT 1 line ", "PUT 1 json ")
}

// Refuse says why the connection is not served.
func (l *Listener) Refuse(c *intake.Conn, why error) {
	_, _ = c.Write(appendErr(nil, why)) // who is refused need not hear it
}

// Stop leaves it to the gate to drop the sessions.
func (l *Listener) Stop(context.Context) {}

// Serve serves one connection until it ends.
func (l *Listener) Serve(c *intake.Conn) {
	s := newConnection(l.in, c)
	s.end(s.serve())
}

// maxLine is the longest line, in bytes.
const maxLine = 512

// maxSkipped is the longest payload that is skipped when it is too long to be taken.
const maxSkipped = 16 * schema.MaxFrame
