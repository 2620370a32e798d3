package mqtt

import (
	"time"
	"unicode/utf8"

	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/mqtt/packet"
	"berth/ingest/gate/topics"
	"berth/schema"
	"berth/schema/batch"
)

// maxBurst is the size of rows beyond which a burst is handed over before everything that was read is decoded.
const maxBurst = 64 << 10

// burst is the messages of one read, on their way to one submission and one entry of answers.
type burst struct {
	rows   *batch.Rows
	counts commit.Counts
	begun  time.Time // when its first message was there
	entry  *entry    // nil: there is nothing in it yet
}

// message takes a PUBLISH, whose payload is size bytes long. Without its payload it is too large.
func (s *connection) message(b *burst, p *packet.Publish, size int) error {
	if err := s.alias(p); err != nil {
		return err
	}
	if p.QoS > 0 && s.version == packet.V5 && s.unanswered() >= receiveMaximum {
		return &packet.Error{Code: packet.ReceiveExceeded, Text: "more messages are unanswered than the Receive Maximum"} // [MQTT5-3.3.4-7]
	}
	e, err := s.open(b)
	if err != nil {
		return err
	}
	if p.QoS == 2 {
		again, full := s.state.receive(p.ID)
		switch {
		case again: // it is in the log, or on its way there: what is answered is answered in order
			e.answer(s, p, packet.Success, "")
			return nil
		case full:
			return &packet.Error{Code: packet.ReceiveExceeded, Text: "more than 4096 messages are not released"}
		}
		e.ids = append(e.ids, p.ID)
		s.changes(e)
	}
	s.count(p.QoS)
	r, err := s.route(&topics.Message{Topic: p.Topic, ContentType: p.ContentType, Payload: p.Payload})
	switch {
	case size > schema.MaxFrame || p.Payload == nil:
		return s.refuseTooLarge(e, p, r, size)
	case err != nil:
		return s.refuse(e, p, r, topics.Refusal(err))
	case p.IsText && !utf8.Valid(p.Payload):
		return s.refuse(e, p, r, &format.Report{ // §3.3.2.3.2
			Code: schema.Invalid, Reason: "the payload is said to be UTF-8, and is not", Reasons: map[string]int{format.ReasonTextEncoding: 1},
		})
	}
	if full := s.In.Full(); full != nil {
		return s.refuseFull(e, p, r, full)
	}
	return s.take(b, p, r)
}

// route returns what a message says of itself.
func (s *connection) route(m *topics.Message) (topics.Route, error) {
	return topics.Of(s.Keys, s.ID, m, nil)
}

// take decodes a message into the burst.
func (s *connection) take(b *burst, p *packet.Publish, r topics.Route) error {
	if b.rows == nil {
		b.rows, b.begun = commit.TakeRows(), time.Now()
	}
	load := intake.Payload{Format: r.Format, Sensor: r.Sensor, Data: p.Payload}
	report, err := s.In.Decode(s.Keys, r.ID, &load, b.rows)
	s.Came(report.Accepted+report.Rejected, 0)
	if err != nil || report.Rejected > 0 && report.Accepted == 0 {
		if b.counts.Frames == 0 {
			commit.GiveRows(b.rows)
			b.rows = nil
		}
		return s.refuse(b.entry, p, r, &report)
	}
	b.counts.Frames++
	b.counts.Accepted += uint64(report.Accepted)
	b.counts.Timeless += uint64(report.Timeless)
	if report.Rejected == 0 {
		b.entry.answer(s, p, packet.Success, "")
		return nil
	}
	b.counts.Rejected += uint64(report.Rejected)
	b.counts.Reasons = report.Reasons
	s.answerRefused(b.entry, p, r, &report, len(p.Payload), intake.Partly(&report))
	return s.handOver(b)
}

// alias puts the topic that an alias stands for into a PUBLISH of MQTT 5, or remembers it. Aliases are of the connection
// [MQTT5-3.3.2-7].
func (s *connection) alias(p *packet.Publish) error {
	switch {
	case p.Alias == 0:
		return nil
	case p.Alias > aliasMaximum:
		return &packet.Error{Code: packet.TopicAliasInvalid, Text: "a topic alias is beyond the maximum"} // [MQTT5-3.3.2-9]
	case p.Topic == "":
		if s.options != nil {
			p.Topic = s.options.aliases[p.Alias]
		}
		if p.Topic == "" {
			return &packet.Error{Code: packet.ProtocolError, Text: "a topic alias stands for nothing"} // §3.3.2.3.4
		}
		return nil
	case len(p.Topic) > topics.Longest:
		return &packet.Error{Code: packet.TopicNameInvalid, Text: "a topic that takes no readings is given an alias"} // it is not kept
	}
	if s.options == nil {
		s.options = &options{}
	}
	if s.options.aliases == nil {
		s.options.aliases = make(map[uint16]string)
	}
	s.options.aliases[p.Alias] = p.Topic
	return nil
}

// release ends the exchange of a message of QoS 2. An identifier that is not known is no harm.
func (s *connection) release(b *burst, id uint16) error {
	known, early := s.state.release(id)
	if early {
		return &packet.Error{Code: packet.ProtocolError, Text: "a message is released before it was received"}
	}
	e, err := s.open(b)
	if err != nil {
		return err
	}
	s.changes(e) // also if it is not known: the log may know it still
	code := packet.Success
	switch {
	case known:
		e.acked++
	case !s.resumed: // else the PUBCOMP of a connection before this was lost: "not an error during recovery", table 3-8
		code = packet.IdentifierNotFound // 3.1.1 has no codes
	}
	e.answers = packet.AppendAck(e.answers, s.version, packet.TypePubcomp, id, code, "") // [MQTT-4.3.3-2] [MQTT5-4.3.3-11]
	return nil
}

// unanswered returns how many messages of QoS 1 and 2 are not answered in full.
func (s *connection) unanswered() int {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	return s.inFlight
}

// count counts a message that is to be answered.
func (s *connection) count(qos byte) {
	if qos > 0 {
		s.answered(-1)
	}
}

// answered counts messages that are answered in full. Those of QoS 2 that an earlier connection received do not count.
func (s *connection) answered(n int) {
	s.Mu.Lock()
	s.inFlight = max(0, s.inFlight-n)
	s.Mu.Unlock()
}
