package frames

import (
	"time"

	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/schema"
	"berth/schema/record"
)

// maxBurst is the size of rows beyond which a burst is handed over before everything that was read is decoded.
const maxBurst = 64 << 10

// consume takes everything that is whole, and returns how many bytes the rest lacks at least; 0 when the rest was left for
// the next time, because there was enough.
func (s *connection) consume(in *intake.Input) (missing int, err error) {
	var b burst
	for err == nil {
		if s.Enough() {
			break
		}
		if missing = in.Skipped(); missing > 0 {
			break
		}
		line, n, lineErr := cutLine(in.Data())
		if err = lineErr; err != nil || n == 0 {
			missing = 1
			break
		}
		switch {
		case len(line) == 0:
			in.Consume(n)
		case string(line) == "PING":
			in.Consume(n)
			s.Say(func(out []byte) []byte { return append(out, "PONG\n"...) })
		case len(line) > 4 && string(line[:4]) == "PUT ":
			missing, err = s.put(in, &b, line, n)
			if missing > 0 {
				return missing, s.handOver(&b, err)
			}
		default:
			err = schema.Errorf(schema.Invalid, "%q is no command", line).WithNext(usage)
			s.refuseFrame(intake.ReasonFrame, line, err)
		}
	}
	return missing, s.handOver(&b, err)
}

// handOver submits what is in the burst, also when err ends the session, and returns the first error.
func (s *connection) handOver(b *burst, err error) error {
	if submitErr := s.submit(b, b.last); err == nil {
		err = submitErr
	}
	return err
}

// refuseFrame counts and keeps a frame that ends the session, which is told why.
func (s *connection) refuseFrame(reason string, line []byte, why error) {
	report := format.Report{Code: schema.CodeOf(why), Reason: schema.Show(why), Reasons: map[string]int{reason: 1}}
	s.In.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
	s.keepReject(put{length: len(line)}, line, &report)
}

// put takes the frame whose line, n bytes long with its end, was read, or returns how many bytes it lacks.
func (s *connection) put(in *intake.Input, b *burst, line []byte, n int) (missing int, err error) {
	p, err := parsePut(line)
	if err != nil {
		s.refuseFrame(intake.ReasonFrame, line, err)
		in.Consume(n)
		return 0, err
	}
	if p.seq != s.seq+1 {
		err = schema.Errorf(schema.Invalid, "PUT %d does not follow %d: numbers rise from 1 by 1", p.seq, s.seq)
		s.refuseFrame(intake.ReasonSequence, line, err)
		in.Consume(n)
		return 0, err
	}
	if p.length > schema.MaxFrame {
		return 0, s.tooLarge(in, p, n)
	}
	if missing := n + p.length - len(in.Data()); missing > 0 {
		return missing, nil
	}
	payload := in.Data()[n : n+p.length]
	s.Came(0, n+p.length)
	err = s.take(b, p, payload)
	in.Consume(n + p.length)
	s.seq = p.seq
	if err == nil && b.rows != nil && b.rows.Size() > maxBurst {
		err = s.submit(b, b.last)
	}
	return 0, err
}

// tooLarge refuses a frame and skips its payload; one that is far too large ends the session.
func (s *connection) tooLarge(in *intake.Input, p put, n int) error {
	why := schema.Errorf(schema.TooLarge, "a frame of %d bytes is longer than %d", p.length, schema.MaxFrame)
	report := format.Report{Code: why.Code, Reason: why.Text, Reasons: map[string]int{intake.ReasonFrameSize: 1}}
	s.refuse(p, nil, &report)
	in.Consume(n)
	if p.length > maxSkipped {
		return schema.Errorf(schema.TooLarge, "a frame is longer than %d bytes", maxSkipped)
	}
	in.Skip(p.length)
	s.seq = p.seq
	return nil
}

// take decodes a frame into the burst.
func (s *connection) take(b *burst, p put, payload []byte) error {
	if full := s.In.Full(); full != nil {
		report := format.Report{Code: full.Code, Reason: full.Shown(), Reasons: map[string]int{intake.ReasonKeyspace: 1}}
		s.refuse(p, payload, &report)
		return nil
	}
	if b.rows == nil {
		b.rows, b.begun = commit.TakeRows(), time.Now()
	}
	load := intake.Payload{Format: p.format, Data: payload}
	report, err := s.In.Decode(s.Keys, s.ID, &load, b.rows)
	s.Came(report.Accepted+report.Rejected, 0)
	if err != nil || report.Rejected > 0 && report.Accepted == 0 {
		s.refuse(p, payload, &report)
		if b.counts.Frames == 0 {
			commit.GiveRows(b.rows)
			b.rows = nil
		}
		return nil
	}
	b.counts.Frames++
	b.counts.Accepted += uint64(report.Accepted)
	b.counts.Timeless += uint64(report.Timeless)
	if report.Rejected == 0 {
		b.last = p.seq
		return nil
	}
	b.counts.Rejected += uint64(report.Rejected)
	b.counts.Reasons = report.Reasons
	s.keepReject(p, payload, &report)
	s.Mu.Lock()
	s.partial = append(s.partial, partial{ack: b.last, answer: appendNak(nil, p.seq, report.Code, intake.Partly(&report))})
	s.Mu.Unlock()
	return s.submit(b, p.seq|partialToken)
}

// refuse answers, counts and keeps a frame of which nothing was taken.
func (s *connection) refuse(p put, payload []byte, report *format.Report) {
	s.In.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
	s.keepReject(p, payload, report)
	s.Say(func(out []byte) []byte { return appendNak(out, p.seq, report.Code, report.Reason) })
}

func (s *connection) keepReject(p put, payload []byte, report *format.Report) {
	refused := s.In.Refused()
	refused.Add(report.Refusals(p.format, payload), p.format == "line")
	known := record.Reject{
		Gateway: s.ID.Gateway, Relay: s.ID.Relay, Protocol: "berth", Format: p.format, Address: s.Conn.Address.String(),
		Code: report.Code, Reason: report.Reason, Lines: report.Lines, Readings: uint64(report.Rejected), Size: p.length,
		Part: report.Accepted > 0,
	}
	if payload == nil { // it was skipped
		known.Refused = p.length
	}
	s.In.Reject(known, refused)
}
