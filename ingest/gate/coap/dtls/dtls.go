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
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// maxHalf is how many handshakes may be under way, maxHalfEach how many of one network, and halfLife for how long.
	maxHalf     = 256
	maxHalfEach = 32
	halfLife    = 10 * time.Second
	// maxSessions is how many sessions are kept. Beyond it the identity that has most gives up the one that was silent for longest.
	maxSessions = 16 << 10
	// sessionIdle is how long a session may be silent: gateways that sleep know themselves by a connection identifier.
	sessionIdle = 24 * time.Hour
)

// Server takes the datagrams of DTLS. It is for one goroutine, but for what says otherwise.
type Server struct {
	psks   func(identity string) [][]byte
	send   func(to netip.AddrPort, data []byte)
	secret [32]byte // of cookies

	halves map[netip.AddrPort]*half
	each   map[netip.Prefix]int        // of them, by network
	byAddr map[netip.AddrPort]*Session // without a connection identifier
	byCID  map[cid]*Session            // with one, wherever they are
	byName map[string][]*Session       // all, by identity
	made   uint64                      // sessions
	asked  int                         // addresses that were asked for a cookie, less those that went on to a session; since the last Sweep
}

// New returns a server. psks returns the keys of an identity that are good now: none, one, or while it is given another, two.
// send sends a datagram, which is good until it returns.
func New(psks func(identity string) [][]byte, send func(to netip.AddrPort, data []byte)) *Server {
	s := &Server{
		psks: psks, send: send, halves: map[netip.AddrPort]*half{}, each: map[netip.Prefix]int{},
		byAddr: map[netip.AddrPort]*Session{}, byCID: map[cid]*Session{}, byName: map[string][]*Session{},
	}
	_, _ = rand.Read(s.secret[:]) // it never returns an error
	return s
}

// Begins reports whether a datagram that begins with this byte is one of DTLS: by its content type (RFC 7983 §7). CoAP's first
// byte is from 0x40 to 0x7f.
func Begins(first byte) bool { return first >= typeChangeCipherSpec && first <= typeCID }

// Sessions returns how many sessions there are.
func (s *Server) Sessions() int { return len(s.byAddr) + len(s.byCID) }

// Take takes a datagram, and reports whether something of it is no DTLS, or of a session that there is not. It calls app with what
// is within it, which is good until that returns.
func (s *Server) Take(from netip.AddrPort, data []byte, now time.Time, app func(session *Session, plain []byte)) (strange bool) {
	for len(data) > 0 {
		r, rest, ok := parseRecord(data)
		if !ok {
			return true
		}
		data = rest
		if r.epoch == 0 {
			if r.kind == typeHandshake && !s.hello(from, &r, now) {
				return strange // one answer to a datagram of somebody who may be elsewhere is enough
			}
			continue
		}
		session := s.byAddr[from]
		if r.kind == typeCID {
			session = s.byCID[r.cid]
		}
		if session != nil && (r.kind != typeHandshake || s.halves[from] == nil) && s.within(session, from, &r, now, app) {
			continue
		}
		if !s.finish(from, &r, now) && session == nil { // else it is a repetition, or of a new handshake
			strange = true
		}
	}
	return strange
}

// within takes a record of a session; false: it cannot be opened, or came before.
func (s *Server) within(session *Session, from netip.AddrPort, r *record, now time.Time, app func(session *Session, plain []byte)) bool {
	kind, plain, newest, err := session.open(r)
	if err != nil {
		return false
	}
	session.last = now
	if newest { // RFC 9146 §6; what is sent to an address that is not verified yet is left to who answers
		session.address = from
	}
	switch {
	case kind == typeData:
		app(session, plain)
	case kind == typeHandshake: // it has not heard the end of the handshake
		s.sendFlight(session)
	case kind == typeAlert && len(plain) == 2 && plain[1] == closeNotify: // RFC 5246 §7.2.1
		s.alert(session, alertWarning, closeNotify)
		s.forget(session)
	case kind == typeAlert && len(plain) == 2 && plain[0] == alertFatal:
		s.forget(session)
	}
	return true
}

// add takes up a session.
func (s *Server) add(session *Session) {
	if old := s.byAddr[session.address]; old != nil { // RFC 6347 §4.2.8: now that the other is proven
		s.forget(old)
	}
	if s.Sessions() >= maxSessions {
		most := s.byName[session.Identity]
		for _, own := range s.byName {
			if len(own) > len(most) {
				most = own
			}
		}
		s.forget(slices.MinFunc(most, func(a, b *Session) int { return a.last.Compare(b.last) }))
	}
	s.made++
	session.Number = s.made
	s.byName[session.Identity] = append(s.byName[session.Identity], session)
	if session.hasCID {
		s.byCID[session.cid] = session
	} else {
		s.byAddr[session.address] = session
	}
}

func (s *Server) forget(session *Session) {
	if session.hasCID {
		delete(s.byCID, session.cid)
	} else {
		delete(s.byAddr, session.address)
	}
	own := slices.DeleteFunc(s.byName[session.Identity], func(other *Session) bool { return other == session })
	if s.byName[session.Identity] = own; len(own) == 0 {
		delete(s.byName, session.Identity)
	}
}

// all returns the sessions there are.
func (s *Server) all() []*Session {
	return slices.AppendSeq(slices.Collect(maps.Values(s.byAddr)), maps.Values(s.byCID))
}

// alert says something of a session within it.
func (s *Server) alert(session *Session, level, what byte) {
	if data, err := session.seal(nil, typeAlert, []byte{level, what}); err == nil { // else it is used up
		s.send(session.address, data)
	}
}

// Recheck ends the sessions of whom keep refuses, and says so.
func (s *Server) Recheck(keep func(identity string, key []byte) bool) {
	for _, session := range s.all() {
		if !keep(session.Identity, session.psk) {
			s.alert(session, alertFatal, accessDenied)
			s.forget(session)
		}
	}
}

// Sweep forgets handshakes that did not go on, and who was silent for long. It returns how many handshakes were begun since the
// last time that came to nothing.
func (s *Server) Sweep(now time.Time) (nothing int) {
	for from, h := range s.halves {
		if now.Sub(h.begun) > halfLife {
			s.drop(from)
		}
	}
	for _, session := range s.all() {
		if now.Sub(session.last) > sessionIdle {
			s.forget(session)
		}
	}
	nothing, s.asked = max(s.asked, 0), 0
	return nothing
}

// Session is one that was agreed upon.
type Session struct {
	Identity string // whose key was shown
	Number   uint64 // no other has the same
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

// Address returns from where it was heard last; see RFC 9146 §6.
func (s *Session) Address() netip.AddrPort { return s.address }

// Seal appends a record that holds the data. It is for concurrent use.
func (s *Session) Seal(dst, plain []byte) ([]byte, error) { return s.seal(dst, typeData, plain) }
