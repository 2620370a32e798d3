package frames

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/ingest/limit"
	"berth/schema"
	"berth/schema/batch"
)

const (
	// maxInHand is how many submissions a connection may have in hand before it reads no more.
	maxInHand = 128
	// maxOut is how many bytes of answers may wait to be written before a connection reads no more.
	maxOut = 32 << 10
)

// session is a connection that speaks Berth frames. Its goroutine reads; Committed is called by the committer's; answers
// are written by a goroutine that lives as long as there are some.
type session struct {
	in   *intake.Intake
	conn *intake.Conn
	id   intake.Identity
	keys *intake.Keys // by which id was last checked

	sender *limit.Sender // whose rate it counts for
	mark   limit.Mark    // it reads on when what it sent is paid for up to here
	came   came

	seq      uint64    // of the last frame
	deadline time.Time // for reading, as last set

	dropped atomic.Pointer[error] // why it is to end

	mu      sync.Mutex // guards what follows
	changed sync.Cond  // signaled when inHand, writing or out change for who waits
	out     []byte     // answers to be written
	ack     uint64     // the highest frame that is in the log
	acked   uint64     // the highest ACK in out or written
	partial []partial  // in the order of their submissions
	inHand  int        // submissions
	writing bool       // a goroutine writes answers
	broken  bool       // answers cannot be written any more
}

// partial is a frame of which some readings were refused: it is the last of a submission of its own making.
type partial struct {
	ack    uint64 // the last frame of the submission that was taken whole; 0: none
	answer []byte // to the frame itself
}

// partialToken marks the token of a submission that ends in such a frame.
const partialToken = 1 << 63

func newSession(in *intake.Intake, c *intake.Conn) *session {
	s := &session{in: in, conn: c}
	s.changed.L = &s.mu
	return s
}

// Identity returns who shows which key.
func (s *session) Identity() intake.Identity { return s.id }

// Drop lets the session end soon, and say why.
func (s *session) Drop(why error) {
	s.dropped.CompareAndSwap(nil, &why)
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; a closed connection needs no waking
	s.mu.Lock()
	s.changed.Broadcast()
	s.mu.Unlock()
}

// errGone ends a session whose peer does not take answers, or has failed.
var errGone = errors.New("the connection is gone")

// serve reads until the session ends, and returns why: io.EOF when the client has closed its side.
func (s *session) serve() error {
	in := s.in.Input(s.conn)
	defer in.Release()
	err := s.hello(&in)
	if err == nil {
		s.say(func(out []byte) []byte { return append(out, "OK\n"...) })
		if err = s.frames(&in); begun(in.Data()) {
			s.in.Committer.Count(commit.Counts{FramesGivenUp: 1})
		}
	}
	return s.reason(err)
}

// begun reports whether a frame has begun.
func begun(data []byte) bool { return len(data) >= 4 && string(data[:4]) == "PUT " }

// reason returns why the session ends, when reading ended with err.
func (s *session) reason(err error) error {
	if why := s.dropped.Load(); why != nil {
		return *why
	}
	_, known := errors.AsType[*schema.Error](err)
	switch {
	case known, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return schema.Errorf(schema.Limited, "nothing more came for too long")
	default:
		return errGone
	}
}

// hello reads the first line and authenticates the sender.
func (s *session) hello(in *intake.Input) error {
	s.setDeadline(s.conn.Deadline)
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

func (s *session) authenticate(line []byte) error {
	h, err := parseHello(line)
	if err != nil {
		return err
	}
	s.keys = s.in.Keys()
	s.id, err = s.keys.Authenticate(s.conn, h.gateway, h.key)
	if err != nil {
		return err
	}
	s.conn.Knows()
	if s.sender, err = s.in.Admit(s.conn, s.id); err != nil {
		return err
	}
	s.mark = s.sender.Mark()
	s.conn.Enter(s) // from now on the gate drops it when its key is revoked
	return s.recheck()
}

// recheck returns an error when the session may not go on: it was dropped, or its key no longer holds.
func (s *session) recheck() error {
	if why := s.dropped.Load(); why != nil {
		return *why
	}
	if keys := s.in.Keys(); keys != s.keys {
		if err := keys.Check(s.id); err != nil {
			return err
		}
		s.keys = keys
	}
	return nil
}

// setDeadline sets the deadline for reading. A session that was dropped is not to wait: a deadline set after the drop
// is seen by recheck, which follows.
func (s *session) setDeadline(at time.Time) {
	s.deadline = at
	_ = s.conn.SetReadDeadline(at) // a closed connection is noticed when it is read
}

// Committed answers the frames of a submission.
func (s *session) Committed(token uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inHand--
	switch {
	case err != nil:
		s.dropped.CompareAndSwap(nil, &err)
		_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	case token&partialToken != 0:
		p := s.partial[0]
		s.partial = append(s.partial[:0], s.partial[1:]...)
		if s.ack = max(s.ack, p.ack); s.ack > s.acked {
			s.out = appendAck(s.out, s.ack)
			s.acked = s.ack
		}
		s.out = append(s.out, p.answer...)
	default:
		s.ack = token
	}
	s.write()
	s.changed.Broadcast()
}

// burst is the frames of one read, on their way to one submission.
type burst struct {
	rows   *batch.Rows
	counts commit.Counts
	last   uint64    // the last frame that was taken whole
	begun  time.Time // when its first frame was there
}

// submit hands the burst over, if there is one.
func (s *session) submit(b *burst, token uint64) error {
	if b.rows == nil {
		return nil
	}
	s.mu.Lock()
	for s.inHand >= maxInHand && s.dropped.Load() == nil {
		s.changed.Wait()
	}
	s.inHand++
	s.mu.Unlock()
	sub := commit.Submission{Rows: b.rows, Counts: b.counts, Waiter: s, Token: token, Received: b.begun}
	*b = burst{}
	err := s.in.Committer.Submit(s.in.Context(), &sub)
	if err != nil {
		commit.GiveRows(sub.Rows)
		s.mu.Lock()
		s.inHand--
		s.mu.Unlock()
	}
	return err
}
