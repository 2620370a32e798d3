// Package bare is the gate's listener for line protocol without a key or a frame around it, as Telegraf's socket_writer sends
// it over TCP: for senders in networks that the provider allows, and for no others.
//
//	boiler,gateway=gw1 temperature=21.5 1767225600000000000
//
// Each line names its gateway, by the tag gateway, else host; it may name none that has a key of its own. Nothing is
// acknowledged: there is no way to. Nothing is read on, so that TCP holds the sender back, while the log does not keep up or the
// sender is beyond its rate. A line that is refused is counted with its reason and kept among the rejects. While the keyspace is
// full the connection is closed: its sender sees that, and keeps what it has. A line without its end, when the connection ends, is
// given up: it may be cut. A text may hold lines' ends; one that does not end soon ends with its line, which is refused. What the
// protocols that are told by their first bytes begin with cannot begin the first line.
//
// The gate gives it connections that nothing else is recognised of.
package bare

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/session"
	"berth/schema"
	"berth/schema/record"
)

const (
	// name is the protocol's, as rejects show it.
	name = "line"
	// maxPiece is about how many bytes of lines are taken at once.
	maxPiece = 64 << 10
	// maxInHand is how many pieces a connection may have in hand before it reads no more.
	maxInHand = 8
)

// Listener serves connections of allowed networks.
type Listener struct{ in *intake.Intake }

// New returns the listener.
func New(in *intake.Intake) *Listener { return &Listener{in: in} }

var _ intake.Listener = (*Listener)(nil)

// Name is the protocol's name.
func (l *Listener) Name() string { return name }

// Recognise knows that a connection may be line protocol by its printing.
func (l *Listener) Recognise(first []byte) intake.Match {
	for _, c := range first {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return intake.No
		}
	}
	return intake.Yes
}

// Refuse says nothing: the protocol has no answers.
func (l *Listener) Refuse(*intake.Conn, error) {}

// Stop leaves it to the gate to drop the sessions.
func (l *Listener) Stop(context.Context) {}

// Serve serves one connection until it ends.
func (l *Listener) Serve(c *intake.Conn) {
	s := &connection{}
	s.Begin(l.in, c, nil)
	why := s.serve()
	s.Drain(l.in.Limits.Drain, func() bool { return s.InHand == 0 || s.Broken })
	if !errors.Is(why, io.EOF) {
		c.Linger(l.in.Limits.Linger)
	}
	s.Close()
}

// connection is a connection that sends lines. Its goroutine reads; Committed is called by the committer's.
type connection struct{ session.Base }

// serve reads until the session ends, and returns why.
func (s *connection) serve() error {
	s.Keys = s.In.Keys()
	id, err := s.Keys.AuthenticateByNetwork(s.Conn)
	if err != nil {
		return err
	}
	s.ID = id
	s.Conn.Knows()
	if err := s.Admit(); err != nil {
		return err
	}
	in := s.In.Input(s.Conn)
	defer in.Release()
	err = s.Read(&in, s.In.Limits.Idle, s.consume)
	s.end(&in)
	return err
}

// end refuses the lines of a text that did not end, and gives up what is left after them.
func (s *connection) end(in *intake.Input) {
	if whole := bytes.LastIndexByte(in.Data(), '\n') + 1; whole > 0 && s.Recheck() == nil {
		_ = s.take(in.Data()[:whole]) // the session ends in any case
		in.Consume(whole)
	}
	if len(in.Data()) > 0 {
		s.In.Committer.Count(commit.Counts{FramesGivenUp: 1})
	}
}

// consume takes the lines that are whole, and returns how many bytes the rest lacks at least; 0 when the rest was left for the
// next time, because there was enough.
func (s *connection) consume(in *intake.Input) (missing int, err error) {
	for {
		if s.Enough() {
			return 0, nil
		}
		data := in.Data()
		whole := format.WholeLines(data[:min(len(data), maxPiece)])
		if whole == 0 && len(data) >= maxPiece {
			whole = bytes.IndexByte(data, '\n') + 1 // one long line, or one of a text that does not end
		}
		switch {
		case whole > schema.MaxFrame, whole == 0 && len(data) > schema.MaxFrame:
			return 0, s.tooLong(in, data)
		case whole == 0:
			return 1, nil
		}
		s.Came(0, whole)
		err := s.take(data[:whole])
		in.Consume(whole)
		if err != nil {
			return 0, err
		}
	}
}

// tooLong refuses a line that is too long, and ends the session: where it ends nobody knows.
func (s *connection) tooLong(in *intake.Input, data []byte) error {
	why := schema.Errorf(schema.TooLarge, "a line is longer than %d bytes", schema.MaxFrame)
	s.refuse(data, &format.Report{Code: why.Code, Reason: why.Text, Rejected: 1, Reasons: map[string]int{intake.ReasonFrameSize: 1}})
	in.Consume(len(data))
	return why
}

// take decodes lines and hands them over. An error ends the session.
func (s *connection) take(data []byte) error {
	if full := s.In.Full(); full != nil {
		s.refuse(data, &format.Report{Code: full.Code, Reason: full.Shown(), Reasons: map[string]int{intake.ReasonKeyspace: 1}})
		return full
	}
	rows, begun := commit.TakeRows(), time.Now()
	report, err := s.In.Decode(s.Keys, s.ID, &intake.Payload{Format: "line", Data: data}, rows)
	s.Came(report.Accepted+report.Rejected, 0)
	if err != nil || report.Accepted == 0 {
		commit.GiveRows(rows)
		if err != nil || report.Rejected > 0 { // else there were empty lines, or comments
			s.refuse(data, &report)
		}
		return nil
	}
	counts := commit.Counts{Frames: 1, Accepted: uint64(report.Accepted), Timeless: uint64(report.Timeless)}
	if report.Rejected > 0 {
		counts.Rejected, counts.Reasons = uint64(report.Rejected), report.Reasons
		s.keep(data, &report)
	}
	return s.Submit(s.In.Context(), &commit.Submission{Rows: rows, Counts: counts, Waiter: s, Received: begun}, maxInHand)
}

// refuse counts and keeps lines of which nothing was taken.
func (s *connection) refuse(data []byte, report *format.Report) {
	s.In.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
	s.keep(data, report)
}

// keep keeps what was refused of lines.
func (s *connection) keep(data []byte, report *format.Report) {
	refused := s.In.Refused()
	refused.Add(report.Refusals("line", data), true)
	s.In.Reject(record.Reject{
		Relay: true, Protocol: name, Format: "line", Address: s.Conn.Address.String(), Code: report.Code, Reason: report.Reason,
		Lines: report.Lines, Readings: uint64(report.Rejected), Size: len(data), Part: report.Accepted > 0,
	}, refused)
}

// Committed notes that the log has a piece; without it the session ends, so that its sender sees that something is wrong.
func (s *connection) Committed(_ uint64, err error) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.InHand--
	if err != nil {
		s.Doom(err)
	}
	s.Changed.Broadcast()
}
