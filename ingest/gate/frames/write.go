package frames

import (
	"errors"
	"io"

	"berth/ingest/gate/session"
)

// end answers what is in hand, says why the session ends unless the client wished it, and closes the connection.
func (s *connection) end(why error) {
	s.Drain(s.In.Limits.Drain, func() bool { return s.InHand == 0 && !s.Writing || s.Broken })
	if dropped := s.Dropped(); dropped != nil {
		why = dropped
	}
	if !errors.Is(why, io.EOF) && !errors.Is(why, session.ErrGone) {
		s.Say(func(out []byte) []byte { return appendErr(out, why) })
		s.Drain(s.In.Limits.Drain, func() bool { return !s.Writing || s.Broken })
		s.Conn.Linger(s.In.Limits.Linger)
	}
	s.Close()
}
