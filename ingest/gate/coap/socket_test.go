package coap

import (
	"encoding/binary"
	"net"
	"testing"

	"berth/ingest/gate/coap/packet"
)

// toldBy returns what Linux says with a datagram that was sent to an address: IP_PKTINFO, or IPV6_PKTINFO.
func toldBy(to string, six bool) []byte {
	ip := net.ParseIP(to)
	body, level, kind := append(make([]byte, 8), ip.To4()...), uint32(0), uint32(8)
	if six {
		body, level, kind = append(append([]byte(nil), ip.To16()...), 1, 0, 0, 0), 41, 50
	}
	b := binary.NativeEndian.AppendUint64(nil, uint64(16+len(body)))
	b = binary.NativeEndian.AppendUint32(b, level)
	b = binary.NativeEndian.AppendUint32(b, kind)
	return append(b, append(body, 0, 0, 0, 0)[:(len(body)+7)/8*8]...)
}

// TestWhatIsSentToMany: RFC 7252 §8.
func TestWhatIsSentToMany(t *testing.T) {
	from := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for _, c := range []struct {
		to   string
		six  bool
		many bool
	}{
		{"224.0.1.187", false, true},
		{"255.255.255.255", false, true},
		{"10.0.0.1", false, false},
		{"ff02::fd", true, true},
		{"224.0.1.187", true, true},
		{"10.0.0.1", true, false},
		{"fe80::1", true, false},
	} {
		if got := isGroup(toldBy(c.to, c.six), from); got != c.many {
			t.Errorf("%s is a group: %v", c.to, got)
		}
	}
}

// TestSeenIsBounded: the oldest is forgotten for the newest, and what was forgotten is taken anew.
func TestSeenIsBounded(t *testing.T) {
	var s seen
	s.begin()
	for key := range uint64(maxSeen + 10) {
		s.add(key, 1)
		s.settle(s.find(key, 1), packet.BadRequest, "why")
	}
	if len(s.ring) != maxSeen || len(s.byKey) != maxSeen || len(s.texts) > maxTexts {
		t.Errorf("%d, %d, %d are remembered", len(s.ring), len(s.byKey), len(s.texts))
	}
	if s.find(9, 1) != nil || s.find(10, 1) == nil || s.find(maxSeen+9, 1).code != packet.BadRequest {
		t.Error("others are remembered")
	}
	over := uint32(2 + lifetime.Seconds())
	if s.find(20, over) != nil {
		t.Error("one is remembered beyond its lifetime")
	}
	s.add(20, over)
	s.forget(20)
	s.add(20, over)
	for key := range uint64(maxSeen - 2) {
		s.add(1<<40+key, over)
	}
	if s.find(20, over) == nil {
		t.Error("one that was forgotten and came again is forgotten with its older self")
	}
}
