package mqtt

import (
	"context"
	"strings"
	"time"
)

// maxOut is how many bytes of answers may wait to be written before a connection is read no more.
const maxOut = 32 << 10

// maxReason is the longest reason in an answer, in bytes.
const maxReason = 400

// longAgo is a deadline that wakes who reads.
var longAgo = time.Unix(1, 0)

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

// fitting appends an answer with a reason, or without one where the client does not ask for it [MQTT-3.1.2-29] or its
// Maximum Packet Size leaves no room [MQTT-3.4.2-2] [MQTT-3.14.2-3].
func (s *session) fitting(out []byte, answer func(out []byte, reason string) []byte, reason string) []byte {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	most := uint32(0)
	if s.options != nil {
		if most = s.options.maximumSize; s.options.noReasons {
			reason = ""
		}
	}
	with := answer(out, reason)
	if reason != "" && most > 0 && len(with)-len(out) > int(most) {
		return answer(out, "")
	}
	return with
}

// write has the answers written, unless somebody is at it. It is called with mu held.
func (s *session) write() {
	if s.writing || s.broken || len(s.out) == 0 {
		return
	}
	s.writing = true
	go s.writeAll()
}

// writeAll writes answers until there are none.
func (s *session) writeAll() {
	for {
		s.mu.Lock()
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

// drain waits until it is done, or for so long. done is called with mu held.
func (s *session) drain(most time.Duration, done func() bool) {
	ctx, cancel := context.WithTimeout(s.in.Context(), most)
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
