// Package mqtt is the gate's listener for MQTT 3.1.1 and 5, for gateways that publish. It is no broker: what is published
// becomes readings, and nobody receives it.
//
//	readings/<gateway>            JSON, or line protocol; in MQTT 5 the content type says which, or that it is SenML
//	readings/<gateway>/<sensor>   a bare number, true, false or text
//	v1/devices/me/telemetry       JSON, as ThingsBoard's devices send it
//	v1/gateway/telemetry          JSON of many devices, as ThingsBoard's gateways send it, with a relay's key
//
// and before these what the provider's own rules say of a topic (package topics).
//
// The user name is the gateway, the password its key or the enrolment key; a user name without a password is taken for a
// key. Within TLS that was opened with a certificate of the gateway's there is no password, and need be no user name. A client identifier belongs to its user: nobody can take over another gateway's session by its identifier.
//
// PUBACK and PUBREC mean that the message is in the log, on disk; they come in the order of the messages [MQTT-4.6.0-2]
// [MQTT-4.6.0-3]. While the log does not keep up they wait, and PINGREQ is still answered as long as there is memory for
// what the client has in flight. What is refused MQTT 5 is told with a reason code; 3.1.1 has none, so there the message is
// kept among the rejects first and acknowledged then ([MQTT-3.3.5-2] leaves this or closing the connection). While the
// keyspace is full, which passes, 3.1.1 is not acknowledged but closed.
//
// Of QoS 2 a session remembers which messages were received and are not released: a message that comes again meanwhile is
// not taken again. Sessions live for as long as the client asks and a day at most, and survive a restart: what changes them
// rides in the log (saved.go), where it costs no more than its bytes, since it is in the batch that has to be written
// anyway. So Session Present tells the truth, and a reading of QoS 2 that has no time of its own is stored once.
//
// A client that leaves a will has its state as a reading: sensor mqtt.connected of its gateway, true when it connects and
// false when the connection ends, however it does. A will whose topic takes readings is taken as a message there, when it
// is due. When the service is stopped, wills are not published: the gateways are there. While the log takes nothing what
// connections leave at their ends waits, up to a bound (ends.go), beyond which it is counted under a reason of its own.
//
// Retained messages are taken like others: nobody can subscribe to where they would be kept.
//
// Clauses are cited as [MQTT-3.1.2-24] of 3.1.1 and [MQTT5-3.1.2-22] of 5; where both have one number, once. docs/mqtt.md says
// of each by which test it is shown.
package mqtt

import (
	"context"

	"berth/ingest/gate/intake"
	"berth/ingest/gate/mqtt/packet"
)

// Listener serves connections that begin with a CONNECT.
type Listener struct {
	in       *intake.Intake
	sessions sessions
	ends     ends
}

var _ intake.Listener = (*Listener)(nil)

// New returns the listener.
func New(in *intake.Intake) intake.Listener {
	l := &Listener{in: in, ends: ends{in: in, most: maxEnds}}
	l.sessions.begin(in.Committer.Sessions())
	return l
}

// Name is the protocol's name.
func (l *Listener) Name() string { return name }

const name = "mqtt"

// Recognise knows the protocol by a CONNECT, whose length takes one to four bytes, and the name in it [MQTT-3.1.0-1].
func (l *Listener) Recognise(first []byte) intake.Match {
	if first[0] != byte(packet.TypeConnect)<<4 {
		return intake.No
	}
	for i := 1; i < len(first) && i <= 4; i++ {
		if first[i] < 0x80 {
			if i+1 == len(first) {
				return intake.Unsure
			}
			return intake.MatchPrefix(first[i+1:], "\x00\x04MQTT", "\x00\x06MQIsdp")
		}
	}
	if len(first) > 4 {
		return intake.No
	}
	return intake.Unsure
}

// Refuse says why the connection is not served.
func (l *Listener) Refuse(c *intake.Conn, why error) {
	first, _ := c.ReadSmall() // what was recognised; it does not wait
	s := &connection{version: formOf(packet.LevelOf(first)), options: &options{noReasons: true}}
	if h, err := packet.ParseHeader(first); err == nil && h.Size > 0 && len(first) >= h.Whole() {
		if said, err := packet.ReadConnect(first[h.Size:h.Whole()]); err == nil { // it is known what the client takes
			s.options = &options{maximumSize: said.MaximumSize, noReasons: said.NoReasons}
		}
	}
	_, _ = c.Write(s.goodbye(nil, why)) // who is refused need not hear it
}

// formOf returns the version in whose form a client of this level is answered: one of a later version understands 5.
func formOf(level packet.Version) packet.Version {
	if level >= packet.V5 {
		return packet.V5
	}
	return packet.V311
}

// Stop forgets the wills that are not due. The sessions are dropped by the gate.
func (l *Listener) Stop(context.Context) { l.sessions.stop() }

// Serve serves one connection until it ends.
func (l *Listener) Serve(c *intake.Conn) {
	s := newConnection(l, c)
	s.end(s.serve())
}
