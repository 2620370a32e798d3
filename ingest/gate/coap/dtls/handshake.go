package dtls

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
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
	psk      []byte
	master   []byte // nil until the client's key exchange has come
	keys     *keys
}

// hello takes a handshake record in clear.
func (s *Server) hello(from netip.AddrPort, r *record, now time.Time) {
	for rest := r.body; len(rest) > 0; {
		m, after, ok := parseMessage(rest)
		if !ok {
			return
		}
		rest = after
		switch h := s.halves[from]; {
		case m.kind == clientHelloType:
			s.clientHello(from, r, &m, now)
		case m.kind == clientKeyExchangeType && h != nil && h.master == nil:
			s.keyExchange(from, h, &m)
		}
	}
}

// clientHello answers a ClientHello: without its cookie by the cookie, of which nothing is kept (RFC 6347 §4.2.1), else by
// what begins the handshake.
func (s *Server) clientHello(from netip.AddrPort, r *record, m *message, now time.Time) {
	hello, ok := parseHello(m.body)
	if !ok {
		return
	}
	cookie := s.cookie(from, &hello)
	if !hmac.Equal(cookie, hello.cookie) {
		body := append([]byte{0xfe, 0xff, byte(len(cookie))}, cookie...)
		s.plain(from, typeHandshake, r.number, appendMessage(nil, helloVerifyType, 0, body))
		return
	}
	if h := s.halves[from]; h != nil && bytes.Equal(h.hello.random, hello.random) {
		if h.master == nil { // it has not heard us
			s.say(from, h)
		}
		return
	}
	s.drop(from)
	if hello.suite == 0 {
		s.plain(from, typeAlert, r.number, []byte{alertFatal, handshakeFailure})
		return
	}
	if len(s.halves) >= maxHalf || s.each[from.Addr()] >= maxHalfEach {
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
	s.each[from.Addr()]++
	s.say(from, h)
}

// cookie returns the cookie of an address for a ClientHello.
func (s *Server) cookie(from netip.AddrPort, h *clientHello) []byte {
	mac := hmac.New(sha256.New, s.secret[:])
	address, _ := from.MarshalBinary() // it never returns an error
	mac.Write(address)
	mac.Write(h.random)
	mac.Write(h.session)
	return mac.Sum(nil)[:16]
}

// drop forgets a handshake.
func (s *Server) drop(from netip.AddrPort) {
	if s.halves[from] == nil {
		return
	}
	delete(s.halves, from)
	if s.each[from.Addr()]--; s.each[from.Addr()] <= 0 {
		delete(s.each, from.Addr())
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
	if h.psk = s.psk(h.identity); len(h.psk) == 0 {
		h.psk = make([]byte, 32)
		_, _ = rand.Read(h.psk)
		h.identity = ""
	}
	h.transcript = append(h.transcript, m.raw...)
	pre := prf.PSKPreMasterSecret(h.psk)
	var err error
	if h.hello.ems { // RFC 7627 §4
		hash := sha256.Sum256(h.transcript)
		h.master, err = prf.ExtendedMasterSecret(pre, hash[:], sha256.New)
	} else {
		h.master, err = prf.MasterSecret(pre, h.hello.random, h.random, sha256.New)
	}
	if err == nil {
		h.keys, err = newKeys(h.hello.suite, h.master, h.hello.random, h.random)
	}
	if err != nil {
		s.drop(from)
	}
}

// maxIdentity is the longest identity, in bytes (RFC 4279 §5.3).
const maxIdentity = 128

// finish takes the client's Finished, which proves that it has the key (RFC 5246 §7.4.9).
func (s *Server) finish(from netip.AddrPort, r *record, now time.Time) {
	h := s.halves[from]
	if h == nil || h.master == nil || r.epoch != 1 || r.kind == typeCID && (!h.hello.hasCID || r.cid != h.cid) {
		return
	}
	kind, plain, err := h.keys.openRecord(r)
	if err == nil && kind != typeHandshake {
		return // it is early
	}
	m, _, ok := parseMessage(plain)
	var want []byte
	if err == nil && ok && m.kind == finishedType {
		want, err = prf.VerifyDataClient(h.master, h.transcript, sha256.New)
	}
	if err != nil || want == nil || h.identity == "" || subtle.ConstantTimeCompare(want, m.body) != 1 {
		s.plain(from, typeAlert, h.number, []byte{alertFatal, decryptError})
		s.drop(from)
		return
	}
	h.transcript = append(h.transcript, m.raw...)
	verify, err := prf.VerifyDataServer(h.master, h.transcript, sha256.New)
	if err != nil {
		s.drop(from)
		return
	}
	session := &Session{Identity: h.identity, psk: h.psk, address: from, last: now, keys: h.keys}
	if h.hello.hasCID {
		session.hasCID, session.cid, session.remote = true, h.cid, h.hello.cid
	}
	session.window.add(r.number)
	session.flight = [][]byte{appendHeader(nil, typeChangeCipherSpec, 0, h.number, nil, 1), appendMessage(nil, finishedType, h.seq, verify)}
	s.drop(from)
	s.add(session)
	s.sendFlight(from, session)
}

// sendFlight says the end of the handshake.
func (s *Server) sendFlight(to netip.AddrPort, session *Session) {
	data := append(bytes.Clone(session.flight[0]), 1)
	if data, err := session.seal(data, typeHandshake, session.flight[1]); err == nil {
		s.send(to, data)
	}
}
