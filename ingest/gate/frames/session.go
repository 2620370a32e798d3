package frames

import (
	"errors"
	"io"
	"os"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/session"
	"berth/schema"
	"berth/schema/batch"
)

// maxInHand is how many submissions a connection may have in hand before it reads no more.
const maxInHand = 128

// connection is a connection that speaks Berth frames. Its goroutine reads; Committed is called by the committer's; answers
// are written by a goroutine that lives as long as there are some.
type connection struct {
	session.Base

	seq uint64 // of the last frame

	// Mu guards what follows.
	ack     uint64    // the highest frame that is in the log
	acked   uint64    // the highest ACK in Out or written
	partial []partial // in the order of their submissions
}

// partial is a frame of which some readings were refused: it is the last of a submission of its own making.
type partial struct {
	ack    uint64 // the last frame of the submission that was taken whole; 0: none
	answer []byte // to the frame itself
}

// partialToken marks the token of a submission that ends in such a frame.
const partialToken = 1 << 63

func newConnection(in *intake.Intake, c *intake.Conn) *connection {
	s := &connection{}
	s.Begin(in, c, s.flush)
	return s
}

// flush appends the ACK of all that is in the log. It is called with Mu held.
func (s *connection) flush(out []byte) []byte {
	if s.ack > s.acked {
		out = appendAck(out, s.ack)
		s.acked = s.ack
	}
	return out
}

// serve reads until the session ends, and returns why: io.EOF when the client has closed its side.
func (s *connection) serve() error {
	in := s.In.Input(s.Conn)
	defer in.Release()
	err := s.hello(&in)
	if err == nil {
		s.Say(func(out []byte) []byte { return append(out, "OK\n"...) })
		if err = s.Read(&in, s.In.Limits.Idle, s.consume); begun(in.Data()) {
			s.In.Committer.Count(commit.Counts{FramesGivenUp: 1})
		}
	}
	return s.reason(err)
}

// begun reports whether a frame has begun.
func begun(data []byte) bool { return len(data) >= 4 && string(data[:4]) == "PUT " }

// reason returns why the session ends, when reading ended with err.
func (s *connection) reason(err error) error {
	if why := s.Dropped(); why != nil {
		return why
	}
	_, known := errors.AsType[*schema.Error](err)
	switch {
	case known, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return schema.Errorf(schema.Limited, "nothing more came for too long")
	default:
		return session.ErrGone
	}
}

// hello reads the first line and authenticates the sender.
func (s *connection) hello(in *intake.Input) error {
	s.SetDeadline(s.Conn.Deadline)
	for {
		line, n, err := cutLine(in.Data())
		if err != nil {
			return err
		}
		if n > 0 {
			in.Consume(n)
			return s.authenticate(line)
		}
		if err := in.Read(maxLine); err != nil {
			return err
		}
	}
}

func (s *connection) authenticate(line []byte) error {
	h, err := parseHello(line)
	if err != nil {
		return err
	}
	if err := s.Authenticate(h.gateway, h.key); err != nil {
		return err
	}
	return s.Admit()
}

// Committed answers the frames of a submission.
func (s *connection) Committed(token uint64, err error) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.InHand--
	switch {
	case err != nil:
		s.Doom(err)
	case token&partialToken != 0:
		p := s.partial[0]
		s.partial = append(s.partial[:0], s.partial[1:]...)
		if s.ack = max(s.ack, p.ack); s.ack > s.acked {
			s.Out = appendAck(s.Out, s.ack)
			s.acked = s.ack
		}
		s.Out = append(s.Out, p.answer...)
	default:
		s.ack = token
	}
	s.Write()
	s.Changed.Broadcast()
}

// burst is the frames of one read, on their way to one submission.
type burst struct {
	rows   *batch.Rows
	counts commit.Counts
	last   uint64    // the last frame that was taken whole
	begun  time.Time // when its first frame was there
}

// submit hands the burst over, if there is one.
func (s *connection) submit(b *burst, token uint64) error {
	if b.rows == nil {
		return nil
	}
	sub := commit.Submission{Rows: b.rows, Counts: b.counts, Waiter: s, Token: token, Received: b.begun}
	*b = burst{}
	return s.Submit(s.In.Context(), &sub, maxInHand)
}
