package mqtt

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/mqtt/packet"
	"berth/ingest/limit"
	"berth/schema"
)

// session is a connection that speaks MQTT. Its goroutine reads; the committer's and that which keeps rejects settle what
// was taken; answers are written by a goroutine that lives as long as there are some, and so are bursts handed on that the
// committer has no room for.
type session struct {
	l    *Listener
	in   *intake.Intake
	conn *intake.Conn
	id   intake.Identity
	keys *intake.Keys // by which id was last checked

	sender *limit.Sender // whose rate it counts for
	mark   limit.Mark    // it reads on when what it sent is paid for up to here
	came   came

	version  packet.Version
	accepted bool // a CONNACK said so
	state    *state
	gone     chan struct{} // closed when another connection of the client may begin
	expiry   time.Duration // of the session, after the connection
	will     *packet.Will  // nil: none, or not any more
	willed   bool          // there was one: the gateway's state is kept
	options  *options      // of MQTT 5; nil: none that matter
	silence  time.Duration // how long nothing may come
	deadline time.Time     // for reading, as last set

	dropped atomic.Pointer[error] // why it is to end

	mu         sync.Mutex // guards what follows
	changed    sync.Cond  // signaled when any of it changes for who waits
	out        []byte     // answers to be written
	queue      []*entry   // what was taken and is not answered, oldest first
	waiting    []*entry   // of these, those that the committer had no room for
	held       int64      // bytes of memory that these take
	submitting bool       // a goroutine hands them on
	stop       context.CancelFunc
	inFlight   int  // messages of QoS 1 and 2 that are not answered in full
	mute       bool // something was lost: what comes after it is not answered
	writing    bool // a goroutine writes answers
	broken     bool // answers cannot be written any more
}

// options are what a client of MQTT 5 asks for that few do.
type options struct {
	aliases     map[uint16]string
	maximumSize uint32 // of packets to it; 0: any
	noReasons   bool
}

func newSession(l *Listener, c *intake.Conn) *session {
	s := &session{l: l, in: l.in, conn: c, version: packet.V311, gone: make(chan struct{})}
	s.changed.L = &s.mu
	return s
}

// Identity returns who shows which key.
func (s *session) Identity() intake.Identity { return s.id }

// Drop lets the session end soon, and say why.
func (s *session) Drop(why error) {
	s.dropped.CompareAndSwap(nil, &why)
	_ = s.conn.SetReadDeadline(longAgo) // wakes the reader; a closed connection needs no waking
	s.mu.Lock()
	s.changed.Broadcast()
	s.mu.Unlock()
}

var (
	// errGone ends a session whose peer has failed, or does not take answers.
	errGone = errors.New("the connection is gone")
	// errBye ends a session whose client said DISCONNECT.
	errBye = errors.New("the client disconnects")
)

// serve reads until the session ends, and returns why: errBye or io.EOF when the client ends it.
func (s *session) serve() error {
	in := s.in.Input(s.conn)
	defer in.Release()
	err := s.connect(&in)
	if err == nil {
		if err = s.packets(&in); begun(in.Data()) {
			s.in.Committer.Count(commit.Counts{FramesGivenUp: 1})
		}
	}
	return s.reason(err)
}

// begun reports whether a PUBLISH has begun.
func begun(data []byte) bool { return len(data) > 0 && packet.Type(data[0]>>4) == packet.TypePublish }

// reason returns why the session ends, when reading ended with err.
func (s *session) reason(err error) error {
	if why := s.dropped.Load(); why != nil {
		return *why
	}
	_, known := errors.AsType[*schema.Error](err)
	_, wrong := errors.AsType[*packet.Error](err)
	switch {
	case known, wrong, errors.Is(err, io.EOF), errors.Is(err, errBye):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	default:
		return errGone
	}
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

// end ends the session for a reason: the client's state is left, what is in hand is answered, the client is told why unless
// it wished it, the connection is closed, and the will is published if it is due.
func (s *session) end(why error) {
	takenOver := errors.Is(why, errTakenOver)
	farewell := s.farewell(why)
	if takenOver { // who takes over waits: what is in hand is answered nowhere
		s.say(func(out []byte) []byte { return s.goodbye(out, why) })
		s.drain(s.in.Limits.Linger, func() bool { return !s.writing || s.broken })
		s.close()
	}
	if s.state != nil {
		left := s.l.sessions.leave(s, s.state, s.expiry)
		farewell.delayed = farewell.delayed && left
	}
	close(s.gone)
	s.drain(s.in.Limits.Drain, func() bool { return len(s.queue) == 0 && !s.writing || s.broken && !s.submitting })
	if dropped := s.dropped.Load(); dropped != nil {
		why = *dropped
	}
	if !takenOver && !errors.Is(why, io.EOF) && !errors.Is(why, errGone) && !errors.Is(why, errBye) {
		s.say(func(out []byte) []byte { return s.goodbye(out, why) })
		s.drain(s.in.Limits.Drain, func() bool { return !s.writing || s.broken })
		s.conn.Linger(s.in.Limits.Linger)
	}
	s.close()
	s.giveUp()
	s.publish(farewell)
}

// goodbye appends what the client is told at the end: a CONNACK if there was none, else a DISCONNECT, which 3.1.1 has not.
func (s *session) goodbye(out []byte, why error) []byte {
	if !s.accepted {
		code, reason := connackOf(why)
		return packet.AppendRefusal(out, s.version, code, reason)
	}
	code, reason := disconnectOf(why)
	return s.fitting(out, func(out []byte, reason string) []byte { return packet.AppendDisconnect(out, s.version, code, reason) }, reason)
}

// close closes the connection, and answers are not written any more.
func (s *session) close() {
	s.mu.Lock()
	s.broken = true
	s.mu.Unlock()
	_ = s.conn.Close() // nothing depends on how it ended
	s.drain(s.in.Limits.Drain, func() bool { return !s.writing })
}

// giveUp gives up what the committer had no room for in all that time.
func (s *session) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
	for s.submitting {
		s.changed.Wait()
	}
}
