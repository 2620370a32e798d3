package mqtt

import (
	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/mqtt/packet"
	"berth/ingest/gate/topics"
	"berth/schema"
	"berth/schema/record"
)

const (
	// maxPacket is the longest packet, in bytes.
	maxPacket = intake.LargeBuffer
	// maxRequest is the longest packet that is no PUBLISH, in bytes.
	maxRequest = intake.MediumBuffer
	// maxSkipped is the longest packet that is skipped when it is too long to be taken.
	maxSkipped = 16 * schema.MaxFrame
)

// errLength is what is wrong with a remaining length of MQTT 5 that could be shorter.
var errLength = &packet.Error{Code: packet.Malformed, Text: "a remaining length has more bytes than it needs"}

// consume takes every packet that is whole, and returns how many bytes the rest lacks at least; 0 when the rest was left
// for the next time, because there was enough.
func (s *connection) consume(in *intake.Input) (missing int, err error) {
	var b burst
	for err == nil {
		if s.Enough() {
			break
		}
		if missing = in.Skipped(); missing > 0 {
			break
		}
		if missing, err = s.next(in, &b); missing > 0 {
			break
		}
	}
	if handed := s.handOver(&b); err == nil {
		err = handed
	}
	return missing, err
}

// next takes the next packet, or returns how many bytes it lacks.
func (s *connection) next(in *intake.Input, b *burst) (missing int, err error) {
	data := in.Data()
	h, err := packet.ParseHeader(data)
	if err == nil && s.version == packet.V5 && h.Size > 0 && !h.Shortest() {
		err = errLength
	}
	if err != nil {
		s.refuseFrame(data, err)
		return 0, err
	}
	if h.Size == 0 {
		return max(2-len(data), 1), nil
	}
	if h.Whole() > maxPacket || h.Type != packet.TypePublish && h.Whole() > maxRequest {
		return s.tooLarge(in, b, h)
	}
	if missing = h.Whole() - len(data); missing > 0 {
		return missing, nil
	}
	s.Came(0, h.Whole())
	body := data[h.Size:h.Whole()]
	err = s.packet(b, h, body)
	if _, wrong := err.(*packet.Error); wrong { //nolint:errorlint // what is wrong with the packet itself
		s.refuseFrame(data[:h.Whole()], err)
	}
	in.Consume(h.Whole())
	if err == nil && b.rows != nil && b.rows.Size() > maxBurst {
		err = s.handOver(b)
	}
	return 0, err
}

// packet takes a packet.
func (s *connection) packet(b *burst, h packet.Header, body []byte) error {
	switch h.Type {
	case packet.TypePublish:
		var p packet.Publish
		if err := packet.ReadPublish(s.version, h, body, &p); err != nil {
			return err
		}
		return s.message(b, &p, len(p.Payload))
	case packet.TypePubrel:
		id, err := packet.ReadAck(s.version, h.Type, body)
		if err != nil {
			return err
		}
		return s.release(b, id)
	case packet.TypePuback, packet.TypePubrec, packet.TypePubcomp: // nothing was published to it, by this process
		_, err := packet.ReadAck(s.version, h.Type, body)
		return err
	case packet.TypeSubscribe:
		return s.subscribe(b, body)
	case packet.TypeUnsubscribe:
		return s.unsubscribe(b, body)
	case packet.TypePingreq:
		if len(body) > 0 {
			return &packet.Error{Code: packet.Malformed, Text: "a PINGREQ has something in it"}
		}
		s.Say(packet.AppendPingresp) // [MQTT-3.12.4-1]
		return nil
	case packet.TypeDisconnect:
		return s.disconnect(body)
	case packet.TypeConnect:
		return &packet.Error{Code: packet.ProtocolError, Text: "there is a second CONNECT"} // [MQTT-3.1.0-2]
	default:
		return &packet.Error{Code: packet.ProtocolError, Text: "a packet is none that a client sends"}
	}
}

// disconnect ends the session as the client wishes.
func (s *connection) disconnect(body []byte) error {
	d, err := packet.ReadDisconnect(s.version, body)
	if err != nil {
		return err
	}
	if d.HasExpiry {
		if s.expiry == 0 && d.ExpirySecs > 0 {
			return &packet.Error{Code: packet.ProtocolError, Text: "a session that was not to be kept is to be"} // §3.14.2.2.2
		}
		s.expiry = min(seconds(d.ExpirySecs), maxExpiry)
	}
	if d.Code == packet.Success {
		s.will = nil // [MQTT-3.14.4-3] [MQTT5-3.1.2-10]
	}
	return errBye
}

// tooLarge ends the session for a packet that is too long. A PUBLISH of 3.1.1, where nothing tells the client so, is
// skipped, kept as far as that goes, and answered: the client would send it for ever.
func (s *connection) tooLarge(in *intake.Input, b *burst, h packet.Header) (missing int, err error) {
	why := &packet.Error{Code: packet.TooLarge, Text: "a packet is longer than it may be"} // MQTT 5 §3.1.2.11.4
	if s.version == packet.V5 || h.Type != packet.TypePublish || h.Whole() > maxSkipped {
		s.refuseFrame(in.Data(), why)
		return 0, why
	}
	const names = 2 + topics.Longest + 2
	if missing = h.Size + names - len(in.Data()); missing > 0 {
		return missing, nil
	}
	var p packet.Publish
	if err := packet.ReadPublish(s.version, h, in.Data()[h.Size:h.Size+names], &p); err != nil {
		s.refuseFrame(in.Data()[:h.Size+names], err)
		return 0, err
	}
	size := h.Length - (names - len(p.Payload))
	in.Consume(h.Size)
	in.Skip(h.Length)
	p.Payload = nil
	return 0, s.message(b, &p, size)
}

// refuseFrame counts and keeps a packet that ends the session, which is told why.
func (s *connection) refuseFrame(data []byte, why error) {
	code, reason := packet.Malformed, why.Error()
	if e, ok := why.(*packet.Error); ok { //nolint:errorlint // what is wrong with the packet itself
		code, reason = e.Code, e.Text
	}
	counted := intake.ReasonFrame
	known := record.Reject{
		Gateway: s.ID.Gateway, Relay: s.ID.Relay, Protocol: name, Address: s.Conn.Address.String(), Code: schema.Invalid,
		Reason: reason, Size: len(data),
	}
	if code == packet.TooLarge {
		counted, known.Code = intake.ReasonFrameSize, schema.TooLarge
	}
	report := format.Report{Reasons: map[string]int{counted: 1}}
	s.In.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
	refused := s.In.Refused()
	refused.Add(data, false)
	s.In.Reject(known, refused)
}
