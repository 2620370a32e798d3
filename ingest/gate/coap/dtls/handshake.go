package dtls

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/prf"
)

// half is a handshake that is under way, of an address that has returned its cookie.
type half struct {
	begun      time.Time
	hello      clientHello
	random     []byte // ours
	transcript []byte // all messages so far, with their headers (RFC 6347 §4.2.6)
	flight     []byte // what we said last
	seq        uint16 // of our next message
	number     uint64 // of our next record of epoch 0
	cid        cid

	identity string
	keys     []candidate // nil until the client's key exchange has come
}

// candidate is one of the keys that the client may have. While a gateway is given another it may have either; which, its Finished
// tells.
type candidate struct {
	psk, master []byte
	keys        *keys
}

// hello takes a handshake record in clear; false: nothing more of its datagram is to be taken.
func (s *Server) hello(from netip.AddrPort, r *record, now time.Time) bool {
	for rest := r.body; len(rest) > 0; {
		m, after, ok := parseMessage(rest)
		if !ok {
			return false
		}
		rest = after
		switch h := s.halves[from]; {
		case m.kind == clientHelloType:
			s.clientHello(from, r, &m, now)
			return false
		case m.kind == clientKeyExchangeType && h != nil && h.keys == nil:
			s.keyExchange(from, h, &m)
		}
	}
	return true
}

// clientHello answers a ClientHello: without its cookie by the cookie, of which nothing is kept (RFC 6347 §4.2.1), else by
// what begins the handshake.
func (s *Server) clientHello(from netip.AddrPort, r *record, m *message, now time.Time) {
	hello, ok := parseHello(m.body)
	if !ok || len(m.body) > maxHello {
		return
	}
	minute := now.Unix() / 60
	if !hmac.Equal(s.cookie(minute, from, &hello), hello.cookie) && !hmac.Equal(s.cookie(minute-1, from, &hello), hello.cookie) {
		cookie := s.cookie(minute, from, &hello)
		body := append([]byte{0xfe, 0xff, byte(len(cookie))}, cookie...)
		s.asked++
		s.plain(from, typeHandshake, r.number, appendMessage(nil, helloVerifyType, 0, body))
		return
	}
	if h := s.halves[from]; h != nil && bytes.Equal(h.hello.random, hello.random) {
		if h.keys == nil { // it has not heard us
			s.say(from, h)
		}
		return
	}
	s.drop(from)
	if hello.suite == 0 {
		s.plain(from, typeAlert, r.number, []byte{alertFatal, handshakeFailure})
		return
	}
	network := networkOf(from)
	if !s.room(network, now) {
		return // it comes again
	}
	h := &half{begun: now, random: make([]byte, 32), number: r.number, seq: m.seq, transcript: bytes.Clone(m.raw)}
	h.hello, _ = parseHello(h.transcript[messageHeader:]) // of our own copy
	_, _ = rand.Read(h.random)                            // it never returns an error
	_, _ = rand.Read(h.cid[:])
	h.flight = appendMessage(h.flight, serverHelloType, h.seq, h.hello.serverHello(h.random, h.cid))
	h.flight = appendMessage(h.flight, serverHelloDoneType, h.seq+1, nil)
	h.seq += 2
	h.transcript = append(h.transcript, h.flight...)
	s.halves[from] = h
	s.each[network]++
	s.say(from, h)
}

// maxHello is the longest ClientHello that is taken.
const maxHello = 2 << 10

// room makes room for one more handshake of a network; false: it has as many as it may. When there are too many in all, the
// network that has most gives one up, so that nobody keeps others out but who has as many networks.
func (s *Server) room(network netip.Prefix, now time.Time) bool {
	if s.each[network] >= maxHalfEach {
		return s.dropOldest(network, now.Add(-halfLife))
	}
	if len(s.halves) < maxHalf {
		return true
	}
	most := network
	for other, n := range s.each {
		if n > s.each[most] {
			most = other
		}
	}
	return s.dropOldest(most, now)
}

// dropOldest forgets the oldest handshake of a network, if it was begun before a time.
func (s *Server) dropOldest(network netip.Prefix, before time.Time) bool {
	var oldest netip.AddrPort
	for from, h := range s.halves {
		if networkOf(from) == network && (!oldest.IsValid() || h.begun.Before(s.halves[oldest].begun)) {
			oldest = from
		}
	}
	if !oldest.IsValid() || s.halves[oldest].begun.After(before) {
		return false
	}
	s.drop(oldest)
	return true
}

// networkOf returns what is counted as one sender: an address, of IPv6 a /64, of which one subscriber has all.
func networkOf(a netip.AddrPort) netip.Prefix {
	bits := 32
	if a.Addr().Is6() {
		bits = 64
	}
	p, _ := a.Addr().WithZone("").Prefix(bits) // of an address that there is
	return p
}

// cookie returns the cookie of an address for a ClientHello in a minute: it holds for that one and the next, so that cookies
// cannot be gathered, and for the same parameters (RFC 6347 §4.2.1).
func (s *Server) cookie(minute int64, from netip.AddrPort, h *clientHello) []byte {
	mac := hmac.New(sha256.New, s.secret[:])
	address, _ := from.MarshalBinary() // it never returns an error
	for _, part := range [][]byte{address, h.before, h.after} {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write(part)
	}
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(minute)))
	return mac.Sum(nil)[:16]
}

// drop forgets a handshake.
func (s *Server) drop(from netip.AddrPort) {
	if s.halves[from] == nil {
		return
	}
	delete(s.halves, from)
	network := networkOf(from)
	if s.each[network]--; s.each[network] <= 0 {
		delete(s.each, network)
	}
}

// plain sends a record of epoch 0.
func (s *Server) plain(to netip.AddrPort, kind byte, number uint64, body []byte) {
	s.send(to, append(appendHeader(nil, kind, 0, number, nil, len(body)), body...))
}

// say sends our messages in clear.
func (s *Server) say(to netip.AddrPort, h *half) {
	s.plain(to, typeHandshake, h.number, h.flight)
	h.number++
}

// keyExchange derives the keys of whom the client says he is (RFC 4279 §2). Of an identity that there is not it goes on with a
// key that nobody has, so that it is refused no sooner.
func (s *Server) keyExchange(from netip.AddrPort, h *half, m *message) {
	r := reader{m.body}
	identity := r.vector(2)
	if r.failed() || len(r.data) > 0 || len(identity) > maxIdentity {
		s.drop(from)
		return
	}
	h.identity = string(identity)
	psks := s.psks(h.identity)
	if len(psks) == 0 {
		nobodys := make([]byte, 32)
		_, _ = rand.Read(nobodys) // it never returns an error
		h.identity, psks = "", [][]byte{nobodys}
	}
	h.transcript = append(h.transcript, m.raw...)
	for _, psk := range psks {
		c, err := h.derive(psk)
		if err != nil {
			s.drop(from)
			return
		}
		h.keys = append(h.keys, c)
	}
}

// derive derives what goes with a pre-shared key (RFC 4279 §2).
func (h *half) derive(psk []byte) (c candidate, err error) {
	c.psk = psk
	pre := prf.PSKPreMasterSecret(psk)
	if h.hello.ems { // RFC 7627 §4
		hash := sha256.Sum256(h.transcript)
		c.master, err = prf.ExtendedMasterSecret(pre, hash[:], sha256.New)
	} else {
		c.master, err = prf.MasterSecret(pre, h.hello.random, h.random, sha256.New)
	}
	if err != nil {
		return c, err
	}
	c.keys, err = newKeys(h.hello.suite, c.master, h.hello.random, h.random)
	return c, err
}

// maxIdentity is the longest identity, in bytes (RFC 4279 §5.3).
const maxIdentity = 128

// finish takes the client's Finished, which proves that it has the key (RFC 5246 §7.4.9); false: it is of no handshake.
func (s *Server) finish(from netip.AddrPort, r *record, now time.Time) bool {
	h := s.halves[from]
	if h == nil || h.keys == nil || r.epoch != 1 {
		return false
	}
	if byCID := r.kind == typeCID; !byCID && r.kind != typeHandshake || byCID && (!h.hello.hasCID || r.cid != h.cid) {
		return true // it is of a session before, or early
	}
	c, m, early := h.open(r)
	switch {
	case early:
		return true
	case c == nil || h.identity == "":
		s.plain(from, typeAlert, h.number, []byte{alertFatal, decryptError})
		s.drop(from)
		return true
	}
	h.transcript = append(h.transcript, m.raw...)
	verify, err := prf.VerifyDataServer(c.master, h.transcript, sha256.New)
	s.drop(from)
	if err != nil {
		return true
	}
	session := &Session{Identity: h.identity, psk: c.psk, address: from, last: now, keys: c.keys}
	if h.hello.hasCID {
		session.hasCID, session.cid, session.remote = true, h.cid, bytes.Clone(h.hello.cid)
	}
	session.window.add(r.number)
	session.flight = [][]byte{appendHeader(nil, typeChangeCipherSpec, 0, h.number, nil, 1), appendMessage(nil, finishedType, h.seq, verify)}
	s.asked--
	s.add(session)
	s.sendFlight(session)
	return true
}

// open finds the key by which a record is the client's Finished; nil: there is none. early: it is another record.
func (h *half) open(r *record) (c *candidate, m message, early bool) {
	for i := range h.keys {
		c = &h.keys[i]
		kind, plain, err := c.keys.openRecord(r)
		if err != nil {
			continue
		}
		if kind != typeHandshake {
			return nil, m, true
		}
		var ok bool
		if m, _, ok = parseMessage(plain); !ok || m.kind != finishedType {
			return nil, m, false
		}
		want, err := prf.VerifyDataClient(c.master, h.transcript, sha256.New)
		if err != nil || subtle.ConstantTimeCompare(want, m.body) != 1 {
			return nil, m, false
		}
		return c, m, false
	}
	return nil, m, false
}

// sendFlight says the end of the handshake.
func (s *Server) sendFlight(session *Session) {
	data := append(bytes.Clone(session.flight[0]), 1)
	if data, err := session.seal(data, typeHandshake, session.flight[1]); err == nil {
		s.send(session.address, data)
	}
}
