package frames

import (
	"context"
	"errors"
	"io"
	"time"
)

// say appends an answer to those to be written. While many wait to be written it waits.
func (s *session) say(answer func(out []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.out) > maxOut && !s.broken {
		s.changed.Wait()
	}
	s.out = answer(s.out)
	s.write()
}

// write has the answers written, unless somebody is at it. It is called with mu held.
func (s *session) write() {
	if s.writing || s.broken || len(s.out) == 0 && s.ack <= s.acked {
		return
	}
	s.writing = true
	go s.writeAll()
}

// writeAll writes answers until there are none.
func (s *session) writeAll() {
	for {
		s.mu.Lock()
		if s.ack > s.acked {
			s.out = appendAck(s.out, s.ack)
			s.acked = s.ack
		}
		out := s.out
		s.out = nil
		if len(out) == 0 || s.broken {
			s.writing = false
			s.changed.Broadcast()
			s.mu.Unlock()
			return
		}
		s.changed.Broadcast()
		s.mu.Unlock()
		_ = s.conn.SetWriteDeadline(time.Now().Add(s.in.Limits.Write)) // a closed connection fails at the write
		if _, err := s.conn.Write(out); err != nil {
			s.mu.Lock()
			s.broken = true
			s.mu.Unlock()
			s.Drop(errGone)
		}
	}
}

// end answers what is in hand, says why the session ends unless the client wished it, and closes the connection.
func (s *session) end(why error) {
	s.drain(func() bool { return s.inHand == 0 && !s.writing || s.broken })
	if dropped := s.dropped.Load(); dropped != nil {
		why = *dropped
	}
	if !errors.Is(why, io.EOF) && !errors.Is(why, errGone) {
		s.say(func(out []byte) []byte { return appendErr(out, why) })
		s.drain(func() bool { return !s.writing || s.broken })
		s.conn.Linger(s.in.Limits.Linger)
	}
	s.mu.Lock()
	s.broken = true
	s.mu.Unlock()
	_ = s.conn.Close() // nothing depends on how it ended
	s.drain(func() bool { return !s.writing })
}

// drain waits until it is done, or for as long as that may take. done is called with mu held.
func (s *session) drain(done func() bool) {
	ctx, cancel := context.WithTimeout(s.in.Context(), s.in.Limits.Drain)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		s.changed.Broadcast()
		s.mu.Unlock()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !done() && ctx.Err() == nil {
		s.changed.Wait()
	}
}
