package dtls

import (
	"net/netip"
	"testing"
	"time"
)

var (
	somewhere = netip.MustParseAddrPort("127.0.0.1:5684")
	elsewhere = netip.MustParseAddrPort("127.0.0.2:5684")
	at        = time.Date(2026, 5, 4, 12, 0, 30, 0, time.UTC)
)

// aHello returns a record with a ClientHello of two suites, with a cookie.
func aHello(cookie string) []byte {
	body := append([]byte{0xfe, 0xfd}, make([]byte, 32)...)
	body = append(body, 0, byte(len(cookie)))
	body = append(body, cookie...)
	body = append(body, 0, 4, 0xc0, 0xa8, 0x00, 0xff, 1, 0)
	body = append(body, 0, 9, 0, 54, 0, 5, 4, 'a', 'b', 'c', 'd')
	m := appendMessage(nil, clientHelloType, 1, body)
	return append(appendHeader(nil, typeHandshake, 0, 7, nil, len(m)), m...)
}

func TestHelloIsRead(t *testing.T) {
	r, rest, ok := parseRecord(aHello("cookie"))
	if !ok || len(rest) > 0 || r.number != 7 {
		t.Fatalf("%+v, %x", r, rest)
	}
	m, _, ok := parseMessage(r.body)
	if !ok || m.seq != 1 || m.kind != clientHelloType {
		t.Fatalf("%+v", m)
	}
	h, ok := parseHello(m.body)
	if !ok || h.suite != pskCCM8 || !h.renegotiation || h.ems || string(h.cid) != "abcd" || string(h.cookie) != "cookie" {
		t.Fatalf("%+v", h)
	}
	for n := range len(m.body) {
		if _, ok := parseHello(m.body[:n]); ok && n != 34+1+7+6+2 { // without extensions it is whole
			t.Errorf("the first %d bytes are a ClientHello", n)
		}
	}
}

// TestNothingIsKeptWithoutACookie: RFC 6347 §4.2.1.
func TestNothingIsKeptWithoutACookie(t *testing.T) {
	var said []byte
	s := New(nil, func(_ netip.AddrPort, data []byte) { said = append([]byte(nil), data...) })
	now := time.Now()
	for _, cookie := range []string{"", "cookie"} {
		s.Take(somewhere, aHello(cookie), now, nil)
		if len(s.halves) > 0 || len(said) == 0 || said[recordHeader] != helloVerifyType || len(said) > len(aHello("")) {
			t.Fatalf("%d handshakes, said %x", len(s.halves), said)
		}
	}
	cookie := string(said[len(said)-16:])
	s.Take(netip.AddrPortFrom(somewhere.Addr(), 1), aHello(cookie), now, nil)
	if len(s.halves) > 0 {
		t.Error("the cookie of another address is taken")
	}
	s.Take(somewhere, aHello(cookie), now, nil)
	if len(s.halves) != 1 || said[recordHeader] != serverHelloType {
		t.Fatalf("%d handshakes, said %x", len(s.halves), said)
	}
	s.Sweep(now.Add(halfLife + time.Second))
	if len(s.halves)+len(s.each) > 0 {
		t.Errorf("%d handshakes are kept", len(s.halves))
	}
}

// TestHandshakesAreBounded: of one address, and of all.
func TestHandshakesAreBounded(t *testing.T) {
	var said []byte
	s := New(nil, func(_ netip.AddrPort, data []byte) { said = append([]byte(nil), data...) })
	for a := range 20 {
		for port := range 100 {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(a)}), uint16(port+1))
			s.Take(from, aHello(""), time.Now(), nil)
			s.Take(from, aHello(string(said[len(said)-16:])), time.Now(), nil)
			if s.each[networkOf(from)] > maxHalfEach {
				t.Fatal("one address has too many")
			}
		}
	}
	if len(s.halves) != maxHalf {
		t.Errorf("%d handshakes are under way, want %d", len(s.halves), maxHalf)
	}
	total := 0
	for _, n := range s.each {
		total += n
	}
	if total != maxHalf {
		t.Errorf("%d are counted", total)
	}
}

// TestHandshakesThatStopKeepNobodyOut: who has some networks, of IPv6 any number of addresses, fills all places with handshakes
// that do not go on, and another is let in all the same.
func TestHandshakesThatStopKeepNobodyOut(t *testing.T) {
	var said []byte
	s := New(nil, func(_ netip.AddrPort, data []byte) { said = append([]byte(nil), data...) })
	begin := func(from netip.AddrPort) {
		s.Take(from, aHello(""), at, nil)
		s.Take(from, aHello(string(said[len(said)-16:])), at, nil)
	}
	for network := range 12 {
		for n := range 2 * maxHalfEach {
			begin(netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(network), 15: byte(n)}), 1))
		}
	}
	if len(s.halves) != maxHalf {
		t.Fatalf("%d handshakes are under way", len(s.halves))
	}
	begin(somewhere)
	if s.halves[somewhere] == nil || len(s.halves) != maxHalf {
		t.Error("who has begun none is kept out")
	}
}

func TestWindow(t *testing.T) {
	var w window
	for _, c := range []struct {
		number      uint64
		had, newest bool
	}{{0, false, true}, {0, true, false}, {5, false, true}, {3, false, false}, {3, true, false}, {69, false, true}, {5, true, false}, {6, false, false}, {200, false, true}, {137, false, false}, {136, true, false}} {
		if had := w.has(c.number); had != c.had {
			t.Fatalf("record %d came: %v", c.number, had)
		} else if !had && w.add(c.number) != c.newest {
			t.Fatalf("record %d is the newest: %v", c.number, !c.newest)
		}
	}
}

// FuzzTake: whatever comes, also of an address whose cookie is right, nobody gets a session, and little is kept.
func FuzzTake(f *testing.F) {
	f.Add(aHello(""), uint8(0))
	f.Add(aHello("cookie"), uint8(1))
	key := appendMessage(nil, clientKeyExchangeType, 2, []byte{0, 1, 'g'})
	f.Add(append(append(appendHeader(nil, typeHandshake, 0, 8, nil, len(key)), key...), appendHeader(nil, typeHandshake, 1, 0, nil, 40)...), uint8(1))
	f.Add([]byte{typeCID, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 9}, uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, begun uint8) {
		var said []byte
		s := New(func(string) [][]byte { return [][]byte{[]byte("key"), []byte("before")} }, func(_ netip.AddrPort, data []byte) { said = append([]byte(nil), data...) })
		if begun > 0 {
			s.Take(somewhere, aHello(""), time.Now(), nil)
			s.Take(somewhere, aHello(string(said[len(said)-16:])), time.Now(), nil)
		}
		s.Take(somewhere, data, time.Now(), func(*Session, []byte) { t.Error("something is within") })
		if s.Sessions() > 0 || len(s.halves) > 1 {
			t.Errorf("%d sessions, %d handshakes", s.Sessions(), len(s.halves))
		}
	})
}
