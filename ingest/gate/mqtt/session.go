package mqtt

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/mqtt/packet"
	"berth/ingest/gate/session"
	"berth/schema"
)

// connection is a connection that speaks MQTT. Its goroutine reads; the committer's and that which keeps rejects settle what
// was taken; answers are written by a goroutine that lives as long as there are some, and so are bursts handed on that the
// committer has no room for.
type connection struct {
	session.Base
	l *Listener

	version  packet.Version
	accepted bool // a CONNACK says so
	state    *state
	resumed  bool          // the state was there before the connection
	left     bool          // the state was left, and belongs to nobody
	ended    bool          // it was left, or another connection began a session anew
	gone     chan struct{} // closed when another connection of the client may begin
	expiry   time.Duration // of the session, after the connection
	will     *packet.Will  // nil: none, or not any more
	willed   bool          // there was one: the gateway's state is kept
	options  *options      // of MQTT 5; nil: none that matter
	silence  time.Duration // how long nothing may come

	// Mu guards what follows.
	queue      []*entry // what was taken and is not answered, oldest first
	waiting    []*entry // of these, those that the committer had no room for
	held       int64    // bytes of memory that these take
	submitting bool     // a goroutine hands them on
	stop       context.CancelFunc
	inFlight   int  // messages of QoS 1 and 2 that are not answered in full
	mute       bool // something was lost: what comes after it is not answered
}

// options are what a client of MQTT 5 asks for that few do.
type options struct {
	aliases     map[uint16]string
	maximumSize uint32 // of packets to it; 0: any
	noReasons   bool
}

func newConnection(l *Listener, c *intake.Conn) *connection {
	s := &connection{l: l, version: packet.V311, gone: make(chan struct{})}
	s.Begin(l.in, c, nil)
	return s
}

// errBye ends a session whose client said DISCONNECT.
var errBye = errors.New("the client disconnects")

// serve reads until the session ends, and returns why: errBye or io.EOF when the client ends it.
func (s *connection) serve() error {
	in := s.In.Input(s.Conn)
	defer in.Release()
	err := s.connect(&in)
	if err == nil {
		if err = s.Read(&in, s.silence, s.consume); begun(in.Data()) {
			s.In.Committer.Count(commit.Counts{FramesGivenUp: 1})
		}
	}
	return s.reason(err)
}

// begun reports whether a PUBLISH has begun.
func begun(data []byte) bool { return len(data) > 0 && packet.Type(data[0]>>4) == packet.TypePublish }

// reason returns why the session ends, when reading ended with err.
func (s *connection) reason(err error) error {
	if why := s.Dropped(); why != nil {
		return why
	}
	_, known := errors.AsType[*schema.Error](err)
	_, wrong := errors.AsType[*packet.Error](err)
	switch {
	case known, wrong, errors.Is(err, io.EOF), errors.Is(err, errBye):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	default:
		return session.ErrGone
	}
}

// end ends the session for a reason: the client's state is left, what is in hand is answered, the client is told why unless
// it wished it, the connection is closed, and the will is published if it is due.
func (s *connection) end(why error) {
	takenOver := errors.Is(why, errTakenOver)
	farewell := s.farewell(why)
	if takenOver { // who takes over waits: what is in hand is answered nowhere
		s.Say(func(out []byte) []byte { return s.goodbye(out, why) })
		s.Drain(s.In.Limits.Linger, func() bool { return !s.Writing || s.Broken })
		s.HangUp() // its place is free when what is in hand is settled, or given up
	}
	if s.state != nil {
		s.l.sessions.leave(s)
		s.hasten(&farewell)
	}
	close(s.gone)
	s.Drain(s.In.Limits.Drain, func() bool { return len(s.queue) == 0 && !s.Writing || s.Broken && !s.submitting })
	if dropped := s.Dropped(); dropped != nil {
		why = dropped
	}
	if !takenOver && !errors.Is(why, io.EOF) && !errors.Is(why, session.ErrGone) && !errors.Is(why, errBye) {
		s.Say(func(out []byte) []byte { return s.goodbye(out, why) })
		s.Drain(s.In.Limits.Drain, func() bool { return !s.Writing || s.Broken })
		s.Conn.Linger(s.In.Limits.Linger)
	}
	s.Close()
	s.giveUp()
	if s.state != nil {
		s.l.sessions.saveLeft(s)
	}
	s.publish(farewell)
}

// goodbye appends what the client is told at the end: a CONNACK if there was none, else a DISCONNECT, which 3.1.1 has not.
func (s *connection) goodbye(out []byte, why error) []byte {
	if !s.accepted {
		code, reason := connackOf(why)
		return s.fitting(out, func(out []byte, reason string) []byte { return packet.AppendRefusal(out, s.version, code, reason) }, reason)
	}
	code, reason := disconnectOf(why)
	return s.fitting(out, func(out []byte, reason string) []byte { return packet.AppendDisconnect(out, s.version, code, reason) }, reason)
}

// giveUp gives up what the committer had no room for in all that time.
func (s *connection) giveUp() {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
	for s.submitting {
		s.Changed.Wait()
	}
}
