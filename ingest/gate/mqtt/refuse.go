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

// refuse answers, counts and keeps a message of which nothing was taken. That a gateway waits for approval passes: a client
// of 3.1.1, which could only be told that it was taken, is closed upon and keeps it [MQTT-3.3.5-2].
func (s *connection) refuse(e *entry, p *packet.Publish, r topics.Route, report *format.Report) error {
	if report.Code == schema.Pending && p.QoS > 0 && s.version != packet.V5 {
		s.In.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
		s.forget(e, p)
		return schema.Errorf(report.Code, "%s", report.Reason)
	}
	s.In.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
	s.answerRefused(e, p, r, report, len(p.Payload), report.Reason)
	return nil
}

// refuseTooLarge refuses a message that was skipped, or whose payload is too long.
func (s *connection) refuseTooLarge(e *entry, p *packet.Publish, r topics.Route, size int) error {
	why := schema.Errorf(schema.TooLarge, "a message of %d bytes is longer than %d", size, schema.MaxFrame)
	report := format.Report{Code: why.Code, Reason: why.Text, Reasons: map[string]int{intake.ReasonFrameSize: 1}}
	s.In.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
	s.answerRefused(e, p, r, &report, size, report.Reason)
	return nil
}

// refuseFull refuses a message because the keyspace is full. That passes: a client of 3.1.1, which could only be told that
// it was taken, is closed upon and keeps it [MQTT-3.3.5-2].
func (s *connection) refuseFull(e *entry, p *packet.Publish, r topics.Route, full *schema.Error) error {
	report := format.Report{Code: full.Code, Reason: full.Shown(), Reasons: map[string]int{intake.ReasonKeyspace: 1}}
	if p.QoS > 0 && s.version != packet.V5 {
		s.In.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
		s.forget(e, p)
		return full
	}
	return s.refuse(e, p, r, &report)
}

// answerRefused answers and keeps what was refused of a message whose payload is size bytes long. Where the protocol cannot
// say that it was refused, it is kept first.
func (s *connection) answerRefused(e *entry, p *packet.Publish, r topics.Route, report *format.Report, size int, reason string) {
	known, refused := s.rejectOf(p, r, report, size)
	if p.QoS == 0 || s.version == packet.V5 {
		s.In.Reject(known, refused)
		if p.QoS == 2 { // the exchange ends with the PUBREC: §4.3.3
			s.forget(e, p)
		}
		e.answer(s, p, pubackOf(report.Code), reason)
		return
	}
	s.Mu.Lock()
	e.waits++
	s.Mu.Unlock()
	s.In.RejectThen(known, refused, func(err error) { s.settle(e, err) })
	e.answer(s, p, packet.Success, "") // [MQTT-3.3.5-2]
}

// forget takes a message of QoS 2 out of the entry: it is not received.
func (s *connection) forget(e *entry, p *packet.Publish) {
	if p.QoS == 2 {
		e.ids = e.ids[:len(e.ids)-1]
		s.state.forget(p.ID)
	}
}

// rejectOf returns what is kept of a message.
func (s *connection) rejectOf(p *packet.Publish, r topics.Route, report *format.Report, size int) (record.Reject, *intake.Refused) {
	refused := s.In.Refused()
	refused.Add(report.Refusals(r.Format, p.Payload), r.Format == "line")
	known := record.Reject{
		Gateway: r.ID.Gateway, Relay: r.ID.Relay, Protocol: name, Format: r.Format, Sensor: r.Sensor, Address: s.Conn.Address.String(),
		Code: report.Code, Reason: report.Reason, Lines: report.Lines, Readings: uint64(report.Rejected), Size: size,
		Part: report.Accepted > 0,
	}
	if p.Payload == nil { // it was skipped
		known.Refused = size
	}
	return known, refused
}
