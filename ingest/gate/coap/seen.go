package coap

import (
	"berth/ingest/gate/coap/packet"
)

const (
	// maxSeen is how many messages are remembered: of more than 500 a second, not for all of their lifetime. A repetition
	// that comes later is taken again, which changes nothing of readings that have a time.
	maxSeen = 128 << 10
	// maxTexts is how many of them are remembered with what was said of them.
	maxTexts = 4 << 10
)

// exchange is what is remembered of a message.
type exchange struct {
	key   uint64
	at    uint32      // when it came, in seconds
	code  packet.Code // it was answered with; Empty: it is on its way into the log
	acked bool        // an acknowledgement without an answer was sent, so the answer is a response of its own
	gone  bool        // it is not remembered any more

	response uint16 // the identifier of that
}

// seen are the messages of the last minutes, in the order in which they came. It is not for concurrent use.
type seen struct {
	byKey map[uint64]uint32 // place in ring
	ring  []exchange
	next  int // where the next goes once the ring is full: the oldest is there
	texts map[uint64]string
}

func (s *seen) begin() { s.byKey, s.texts = map[uint64]uint32{}, map[uint64]string{} }

// find returns what is remembered of a message, nil if nothing is. It is good until the next add.
func (s *seen) find(key uint64, now uint32) *exchange {
	at, ok := s.byKey[key]
	if !ok {
		return nil
	}
	x := &s.ring[at]
	if now-x.at > uint32(lifetime.Seconds()) && x.code != packet.Empty {
		return nil
	}
	return x
}

// add remembers a message that is on its way.
func (s *seen) add(key uint64, now uint32) {
	s.forget(key)
	x := exchange{key: key, at: now}
	if len(s.ring) < maxSeen && !s.oldestIsOver(now) {
		s.byKey[key] = uint32(len(s.ring))
		s.ring = append(s.ring, x)
		return
	}
	s.drop(&s.ring[s.next])
	s.byKey[key] = uint32(s.next)
	s.ring[s.next] = x
	s.next = (s.next + 1) % len(s.ring)
}

// oldestIsOver reports whether the oldest need not be remembered any more, so that its place can be used again.
func (s *seen) oldestIsOver(now uint32) bool {
	return len(s.ring) > 0 && s.next < len(s.ring) && now-s.ring[s.next].at > uint32(lifetime.Seconds())
}

// forget forgets a message, which is taken anew when it comes again.
func (s *seen) forget(key uint64) {
	if at, ok := s.byKey[key]; ok {
		s.drop(&s.ring[at])
	}
}

func (s *seen) drop(x *exchange) {
	if !x.gone {
		x.gone = true
		delete(s.byKey, x.key)
		delete(s.texts, x.key)
	}
}

// settle remembers how a message was answered.
func (s *seen) settle(x *exchange, code packet.Code, text string) {
	x.code = code
	if text != "" && len(s.texts) < maxTexts {
		s.texts[x.key] = text
	}
}
