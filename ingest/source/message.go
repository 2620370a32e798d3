package source

import (
	"time"

	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/topics"
	"berth/ingest/source/broker"
	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/record"
)

// protocol is what rejects are said to have come by.
const protocol = "mqtt source"

// paceStep is how often a source that is slowed looks whether the limit was changed.
const paceStep = 500 * time.Millisecond

// take takes one message. It returns without one when the connection has ended, or is to end: then the broker keeps it.
func (l *link) take(_ *broker.Conn, m *broker.Message) {
	e := l.open(m)
	if e == nil {
		return
	}
	now := time.Now()
	l.s.count(func(status *headapi.Source) { status.Last = now.UTC() })
	l.keys = l.s.o.Intake.Keys()
	route, err := topics.Of(l.keys, intake.Forwards(), &topics.Message{Topic: m.Topic, Payload: m.Payload}, l.s.rules)
	switch {
	case m.Truncated:
		why := schema.Errorf(schema.TooLarge, "a message is longer than %d bytes", schema.MaxFrame)
		e.refuse(route, &format.Report{Code: why.Code, Reason: why.Text, Reasons: map[string]int{intake.ReasonFrameSize: 1}})
	case err != nil:
		e.refuse(route, topics.Refusal(err))
	default:
		if full := l.s.o.Intake.Full(); full != nil { // that passes: the broker keeps it
			l.fail(full)
			return
		}
		l.decode(e, route, now)
	}
	e.settle(nil) // it is handed over
	l.pace()
}

// decode decodes a message and hands it over.
func (l *link) decode(e *entry, r topics.Route, now time.Time) {
	in := l.s.o.Intake
	rows := commit.TakeRows()
	load := intake.Payload{Format: r.Format, Sensor: r.Sensor, Data: e.message.Payload}
	report, err := in.Decode(l.keys, r.ID, &load, rows)
	l.mark = l.sender.Spend(report.Accepted+report.Rejected, e.size)
	retained := e.message.Retained && report.Timeless > 0
	refused := err != nil || report.Rejected > 0 && report.Accepted == 0
	if refused || retained {
		commit.GiveRows(rows)
		if refused {
			e.refuse(r, &report)
		} else {
			e.pass()
		}
		return
	}
	counts := commit.Counts{
		Frames: 1, Accepted: uint64(report.Accepted), Rejected: uint64(report.Rejected), Timeless: uint64(report.Timeless), Reasons: report.Reasons,
	}
	if report.Rejected > 0 {
		e.keep(r, &report)
	}
	e.waitFor()
	sub := commit.Submission{Rows: rows, Counts: counts, Waiter: e, Received: now}
	if err := in.Committer.Submit(l.ctx, &sub); err != nil {
		commit.GiveRows(rows)
		l.fail(err)
	}
}

// pass passes over a retained message whose readings have no time; see the package.
func (e *entry) pass() {
	e.refused = true
	e.l.s.o.Intake.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: map[string]int{intake.ReasonRetained: 1}})
	e.l.s.count(func(status *headapi.Source) { status.Retained++ })
}

// refuse counts and keeps a message of which nothing was taken: it is acknowledged, since it would come again for ever.
func (e *entry) refuse(r topics.Route, report *format.Report) {
	e.refused = true
	e.l.s.o.Intake.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
	e.l.s.count(func(status *headapi.Source) { status.Refused++ })
	e.keep(r, report)
}

// keep keeps what was refused of a message, before it is acknowledged.
func (e *entry) keep(r topics.Route, report *format.Report) {
	in := e.l.s.o.Intake
	refused := in.Refused()
	refused.Add(report.Refusals(r.Format, e.message.Payload), r.Format == "line")
	address, _ := e.l.s.record.Address()
	known := record.Reject{
		Gateway: r.ID.Gateway, Relay: true, Protocol: protocol, Format: r.Format, Sensor: r.Sensor, Address: address,
		Code: report.Code, Reason: report.Reason, Lines: report.Lines, Readings: uint64(report.Rejected), Size: e.size,
		Part: report.Accepted > 0,
	}
	e.waitFor()
	in.RejectThen(known, refused, e.settle)
}

// pace waits until what came is paid for. Nothing is read meanwhile.
func (l *link) pace() {
	wait, reason := l.sender.Due(l.mark)
	if wait <= 0 {
		return
	}
	l.s.o.Intake.Slowed(reason)
	for ; wait > 0 && sleep(l.ctx, min(wait, paceStep)); wait, _ = l.sender.Due(l.mark) {
	}
}
