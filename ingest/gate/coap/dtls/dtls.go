// Package dtls is the server's side of DTLS 1.2 (RFC 6347) with pre-shared keys (RFC 4279), as CoAP uses it (RFC 7252
// §9.1.3.1): the suites TLS_PSK_WITH_AES_128_CCM_8 and TLS_PSK_WITH_AES_128_GCM_SHA256, extended master secrets (RFC 7627) and
// connection identifiers (RFC 9146). The key derivation and CCM are pion's, which it wraps; pion's server would keep state and
// goroutines for a ClientHello whose address nobody has verified, and can be given no cookie of ours.
//
// What it leaves to others: the socket, what is within, and which keys there are. Its one invariant: nothing is kept of an
// address that has not returned its cookie (RFC 6347 §4.2.1), and no handshake costs a goroutine or more than a few kilobytes.
//
// Handshakes are short: a ClientHello in fragments is not taken, nothing is renegotiated or resumed. The server repeats what it
// said when the client repeats what it answers; it has no timer of its own.
package dtls

import (
	"crypto/rand"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxHalf is how many handshakes may be under way, maxHalfEach how many of one address, and halfLife for how long.
	maxHalf     = 256
	maxHalfEach = 32
	halfLife    = 10 * time.Second
	// maxSessions is how many sessions are kept. Beyond it who was silent for longest is forgotten.
	maxSessions = 16 << 10
	// sessionIdle is how long a session may be silent: gateways that sleep know themselves by a connection identifier.
	sessionIdle = 24 * time.Hour
)

// Server takes the datagrams of DTLS. It is for one goroutine, but for what says otherwise.
type Server struct {
	psk    func(identity string) []byte
	send   func(to netip.AddrPort, data []byte)
	secret [32]byte // of cookies

	halves map[netip.AddrPort]*half
	each   map[netip.Addr]int
	byAddr map[netip.AddrPort]*Session
	byCID  map[cid]*Session
}

// New returns a server. psk returns the key of an identity, nil if there is none; send sends a datagram, which is good until it
// returns.
func New(psk func(identity string) []byte, send func(to netip.AddrPort, data []byte)) *Server {
	s := &Server{
		psk: psk, send: send, halves: map[netip.AddrPort]*half{}, each: map[netip.Addr]int{},
		byAddr: map[netip.AddrPort]*Session{}, byCID: map[cid]*Session{},
	}
	_, _ = rand.Read(s.secret[:]) // it never returns an error
	return s
}

// Begins reports whether a datagram that begins with this byte is one of DTLS: by its content type (RFC 7983 §7). CoAP's first
// byte is from 0x40 to 0x7f.
func Begins(first byte) bool { return first >= typeChangeCipherSpec && first <= typeCID }

// Sessions returns how many sessions there are.
func (s *Server) Sessions() int { return len(s.byAddr) }

// Take takes a datagram. It calls app with what is within it, which is good until that returns.
func (s *Server) Take(from netip.AddrPort, data []byte, now time.Time, app func(session *Session, plain []byte)) (known bool) {
	for len(data) > 0 {
		r, rest, ok := parseRecord(data)
		if !ok {
			return known
		}
		data = rest
		if r.epoch == 0 {
			if r.kind == typeHandshake {
				s.hello(from, &r, now)
			}
			continue
		}
		session := s.byAddr[from]
		if r.kind == typeCID {
			session = s.byCID[r.cid]
		}
		if session == nil || r.kind == typeHandshake && s.halves[from] != nil {
			s.finish(from, &r, now)
			continue
		}
		kind, plain, newest, err := session.open(&r)
		if err != nil {
			s.finish(from, &r, now) // of a new handshake by an address that has a session
			continue
		}
		known = true
		s.heard(session, from, newest, now)
		switch {
		case kind == typeData:
			app(session, plain)
		case kind == typeHandshake: // it has not heard the end of the handshake
			s.sendFlight(from, session)
		case kind == typeAlert && len(plain) == 2 && (plain[0] == alertFatal || plain[1] == closeNotify):
			s.forget(session)
		}
	}
	return known
}

// heard notes that a session was heard, and from where (RFC 9146 §6: only by what is newest).
func (s *Server) heard(session *Session, from netip.AddrPort, newest bool, now time.Time) {
	session.last = now
	if session.address == from || !newest {
		return
	}
	if s.byAddr[session.address] == session {
		delete(s.byAddr, session.address)
	}
	if other := s.byAddr[from]; other != nil {
		s.forget(other)
	}
	session.address = from
	s.byAddr[from] = session
}

// add takes up a session.
func (s *Server) add(session *Session) {
	if old := s.byAddr[session.address]; old != nil {
		s.forget(old)
	}
	if len(s.byAddr) >= maxSessions {
		var longest *Session
		for _, other := range s.byAddr {
			if longest == nil || other.last.Before(longest.last) {
				longest = other
			}
		}
		s.forget(longest)
	}
	s.byAddr[session.address] = session
	if session.hasCID {
		s.byCID[session.cid] = session
	}
}

func (s *Server) forget(session *Session) {
	if s.byAddr[session.address] == session {
		delete(s.byAddr, session.address)
	}
	if session.hasCID {
		delete(s.byCID, session.cid)
	}
}

// Recheck ends the sessions of whom keep refuses, and says so.
func (s *Server) Recheck(keep func(identity string, key []byte) bool) {
	for _, session := range s.byAddr {
		if keep(session.Identity, session.psk) {
			continue
		}
		if data, err := session.seal(nil, typeAlert, []byte{alertFatal, accessDenied}); err == nil {
			s.send(session.address, data)
		}
		s.forget(session)
	}
}

// Sweep forgets handshakes that did not go on, and who was silent for long.
func (s *Server) Sweep(now time.Time) {
	for from, h := range s.halves {
		if now.Sub(h.begun) > halfLife {
			s.drop(from)
		}
	}
	for _, session := range s.byAddr {
		if now.Sub(session.last) > sessionIdle {
			s.forget(session)
		}
	}
}

// Session is one that was agreed upon.
type Session struct {
	Identity string // whose key was shown
	psk      []byte
	address  netip.AddrPort
	last     time.Time
	hasCID   bool
	cid      cid    // by which the client names it
	remote   []byte // by which the client is named
	keys     *keys
	flight   [][]byte // the end of the handshake, to be repeated
	window   window

	mu  sync.Mutex // guards out
	out uint64     // the number of the next record of epoch 1
}

// Key returns the key that was shown.
func (s *Session) Key() []byte { return s.psk }

// Seal appends a record that holds the data. It is for concurrent use.
func (s *Session) Seal(dst, plain []byte) ([]byte, error) { return s.seal(dst, typeData, plain) }
