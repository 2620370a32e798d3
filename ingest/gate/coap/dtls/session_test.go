package dtls

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/prf"
)

// peers are a server and who speaks with it.
type peers struct {
	*Server
	t     *testing.T
	psk   [][]byte
	said  map[netip.AddrPort][][]byte // datagrams, by whom they were sent to
	heard []string                    // what came within sessions
}

func newPeers(t *testing.T, psk ...string) *peers {
	p := &peers{t: t, said: map[netip.AddrPort][][]byte{}}
	for _, key := range psk {
		p.psk = append(p.psk, []byte(key))
	}
	p.Server = New(func(string) [][]byte { return p.psk }, func(to netip.AddrPort, data []byte) {
		p.said[to] = append(p.said[to], bytes.Clone(data))
	})
	return p
}

// take gives the server a datagram and returns what it answers to that address.
func (p *peers) take(from netip.AddrPort, now time.Time, data []byte) []byte {
	p.said = map[netip.AddrPort][][]byte{}
	p.Take(from, data, now, func(s *Session, plain []byte) { p.heard = append(p.heard, s.Identity+": "+string(plain)) })
	return bytes.Join(p.said[from], nil)
}

// client is a client's side of a session.
type client struct {
	p          *peers
	from       netip.AddrPort
	random     []byte
	cid        []byte // by which it wants to be named; nil: it offers none
	server     []byte // the server's random
	id         []byte // by which it names the server
	transcript []byte
	keys       *keys
	number     uint64
}

func (p *peers) client(from netip.AddrPort, random byte, id []byte) *client {
	return &client{p: p, from: from, random: bytes.Repeat([]byte{random}, 32), cid: id}
}

// hello returns a ClientHello.
func (c *client) hello(seq uint16, cookie []byte, suites ...byte) []byte {
	body := append([]byte{0xfe, 0xfd}, c.random...)
	body = append(append(body, 0, byte(len(cookie))), cookie...)
	body = append(append(body, 0, byte(len(suites))), suites...)
	body = append(body, 1, 0)
	if c.cid != nil {
		n := byte(len(c.cid))
		body = append(append(body, 0, n+5, 0, extensionCID, 0, n+1, n), c.cid...)
	}
	return appendMessage(nil, clientHelloType, seq, body)
}

func inRecord(kind byte, number uint64, body []byte) []byte {
	return append(appendHeader(nil, kind, 0, number, nil, len(body)), body...)
}

// begin goes as far as the server's hello.
func (c *client) begin(now time.Time) {
	c.p.t.Helper()
	verify := c.p.take(c.from, now, inRecord(typeHandshake, 0, c.hello(0, nil, 0xc0, 0xa8)))
	hello := c.hello(1, verify[len(verify)-16:], 0xc0, 0xa8)
	flight := c.p.take(c.from, now, inRecord(typeHandshake, 1, hello))
	if len(flight) < 60 || flight[recordHeader] != serverHelloType {
		c.p.t.Fatalf("answered %x", flight)
	}
	flight = flight[recordHeader:]
	c.server = flight[messageHeader+2 : messageHeader+34]
	if at := bytes.Index(flight, []byte{0, extensionCID, 0, cidLength + 1, cidLength}); at > 0 {
		c.id = flight[at+5 : at+5+cidLength]
	}
	c.transcript = append(bytes.Clone(hello), flight...)
}

// end returns the client's end of the handshake, with a key.
func (c *client) end(identity, psk string) []byte {
	c.p.t.Helper()
	exchange := appendMessage(nil, clientKeyExchangeType, 2, append([]byte{0, byte(len(identity))}, identity...))
	c.transcript = append(c.transcript, exchange...)
	master, err := prf.MasterSecret(prf.PSKPreMasterSecret([]byte(psk)), c.random, c.server, sha256.New)
	if err != nil {
		c.p.t.Fatal(err)
	}
	k, err := newKeys(pskCCM8, master, c.random, c.server)
	if err != nil {
		c.p.t.Fatal(err)
	}
	c.keys = &keys{local: k.remote, localIV: k.remoteIV, remote: k.local, remoteIV: k.localIV}
	finished, err := prf.VerifyDataClient(master, c.transcript, sha256.New)
	if err != nil {
		c.p.t.Fatal(err)
	}
	out := inRecord(typeHandshake, 2, exchange)
	out = append(out, inRecord(typeChangeCipherSpec, 3, []byte{1})...)
	return append(out, c.seal(typeHandshake, appendMessage(nil, finishedType, 3, finished))...)
}

// seal returns a record of the session.
func (c *client) seal(kind byte, plain []byte) []byte {
	c.p.t.Helper()
	s := Session{keys: c.keys, remote: c.id, out: c.number}
	data, err := s.seal(nil, kind, plain)
	if err != nil {
		c.p.t.Fatal(err)
	}
	c.number++
	return data
}

// connect goes through the handshake and returns whether the client is let in.
func (c *client) connect(now time.Time, identity, psk string) bool {
	c.p.t.Helper()
	c.begin(now)
	answer := c.p.take(c.from, now, c.end(identity, psk))
	return len(answer) > 0 && answer[0] == typeChangeCipherSpec
}

func (p *peers) expect(want ...string) {
	p.t.Helper()
	if !slices.Equal(p.heard, want) {
		p.t.Errorf("heard %q, want %q", p.heard, want)
	}
	p.heard = nil
}

// TestEitherKeyIsGoodWhileOneIsReplaced: RFC 4279 leaves the identity the same.
func TestEitherKeyIsGoodWhileOneIsReplaced(t *testing.T) {
	p := newPeers(t, "new", "old")
	for i, key := range []string{"old", "new"} {
		c := p.client(somewhere, byte(i), nil)
		if !c.connect(at, "g", key) {
			t.Fatalf("the %s key is refused", key)
		}
		p.take(somewhere, at, c.seal(typeData, []byte(key)))
		p.expect("g: " + key)
		if got := string(p.byAddr[somewhere].Key()); got != key {
			t.Errorf("it is said to have shown %q", got)
		}
	}
	for _, key := range []string{"other", ""} {
		if p.client(elsewhere, 3, nil).connect(at, "g", key) {
			t.Errorf("%q is let in", key)
		}
	}
	p.psk = p.psk[:1]
	if p.client(elsewhere, 4, nil).connect(at, "g", "old") {
		t.Error("the key before is let in after its end")
	}
}

// TestAReplayedRecordChangesNothing: RFC 6347 §4.1.2.6. It is neither taken nor answered, and the session goes on.
func TestAReplayedRecordChangesNothing(t *testing.T) {
	for name, id := range map[string][]byte{"with an identifier": {1, 2}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			p := newPeers(t, "key")
			c := p.client(somewhere, 1, id)
			c.begin(at)
			end := c.end("g", "key")
			p.take(somewhere, at, end)
			var sent [][]byte
			for n := range 3 {
				sent = append(sent, c.seal(typeData, fmt.Append(nil, n)))
			}
			late := c.seal(typeData, []byte("late"))
			for _, data := range append(sent, c.seal(typeData, []byte("4"))) {
				p.take(somewhere, at, data)
			}
			p.expect("g: 0", "g: 1", "g: 2", "g: 4")
			for _, from := range []netip.AddrPort{somewhere, elsewhere} {
				for _, data := range append(sent, end) {
					p.take(from, at, data)
					if len(p.said) > 0 {
						t.Errorf("a record that came again is answered %x", p.said)
					}
				}
			}
			p.take(somewhere, at, late)
			p.expect("g: late")
			changed := c.seal(typeData, []byte("5"))
			changed[len(changed)-1] ^= 1
			p.take(somewhere, at, changed)
			changed[len(changed)-1] ^= 1
			p.take(somewhere, at, changed)
			p.expect("g: 5")
			for range 70 {
				c.number++ // lost on the way
			}
			p.take(somewhere, at, c.seal(typeData, []byte("6")))
			p.take(somewhere, at, late)
			p.expect("g: 6")
			if n := p.Sessions(); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

// TestAddressesMove: only by what is newest, and into nobody else's place (RFC 9146 §6).
func TestAddressesMove(t *testing.T) {
	p := newPeers(t, "key")
	other := p.client(elsewhere, 9, nil)
	if !other.connect(at, "other", "key") {
		t.Fatal("it is not let in")
	}
	c := p.client(somewhere, 1, []byte{1})
	if !c.connect(at, "g", "key") {
		t.Fatal("it is not let in")
	}
	session := p.byName["g"][0]
	late := c.seal(typeData, []byte("late"))
	p.take(elsewhere, at, c.seal(typeData, []byte("moved")))
	if session.Address() != elsewhere {
		t.Error("it has not moved")
	}
	p.take(somewhere, at, late)
	if session.Address() != elsewhere {
		t.Error("it has moved by a record that was late")
	}
	forged := c.seal(typeData, []byte("forged"))
	forged[len(forged)-1] ^= 1
	p.take(somewhere, at, forged)
	if session.Address() != elsewhere {
		t.Error("it has moved by a record of somebody else")
	}
	p.take(elsewhere, at, other.seal(typeData, []byte("here")))
	p.expect("g: moved", "g: late", "other: here")
	if p.Sessions() != 2 {
		t.Errorf("%d sessions", p.Sessions())
	}
	long := p.client(somewhere, 2, make([]byte, maxRemoteCID+1))
	if !long.connect(at, "g", "key") || long.id != nil {
		t.Error("an identifier that is too long for every answer is agreed upon")
	}
}

// TestAHandshakeOutlivesWhatIsLate: a record of the session before, that comes again while the same address begins anew, does not end
// the handshake (RFC 6347 §4.2.8).
func TestAHandshakeOutlivesWhatIsLate(t *testing.T) {
	p := newPeers(t, "key")
	before := p.client(somewhere, 1, nil)
	before.connect(at, "g", "key")
	data := before.seal(typeData, []byte("a"))
	p.take(somewhere, at, data)
	c := p.client(somewhere, 2, nil)
	c.begin(at)
	end := c.end("g", "key")
	finished := len(end) - (recordHeader + explicitNonce + messageHeader + 12 + 8)
	p.take(somewhere, at, end[:finished])
	p.take(somewhere, at, data)
	p.take(somewhere, at, before.seal(typeData, []byte("b")))
	if answer := p.take(somewhere, at, end[finished:]); len(answer) == 0 || answer[0] != typeChangeCipherSpec {
		t.Errorf("the handshake is answered %x", answer)
	}
	p.take(somewhere, at, c.seal(typeData, []byte("c")))
	p.expect("g: a", "g: b", "g: c")
	if p.Sessions() != 1 {
		t.Errorf("%d sessions", p.Sessions())
	}
}

// TestCookiesEnd: after two minutes, and they are good for what they were asked with (RFC 6347 §4.2.1).
func TestCookiesEnd(t *testing.T) {
	p := newPeers(t, "key")
	c := p.client(somewhere, 1, nil)
	ask := func(suites ...byte) []byte {
		answer := p.take(somewhere, at, inRecord(typeHandshake, 0, c.hello(0, nil, suites...)))
		return answer[len(answer)-16:]
	}
	begins := func(now time.Time, cookie []byte, suites ...byte) bool {
		p.take(somewhere, now, inRecord(typeHandshake, 1, c.hello(1, cookie, suites...)))
		begun := p.halves[somewhere] != nil
		p.drop(somewhere)
		return begun
	}
	cookie := ask(0xc0, 0xa8)
	if !begins(at, cookie, 0xc0, 0xa8) || !begins(at.Add(time.Minute), cookie, 0xc0, 0xa8) {
		t.Error("a cookie is not good for a minute")
	}
	if begins(at.Add(2*time.Minute), cookie, 0xc0, 0xa8) {
		t.Error("a cookie is good for two minutes")
	}
	if begins(at, cookie, 0xc0, 0xa8, 0, 0xa8) {
		t.Error("a cookie is good for other suites")
	}
	if nothing := p.Sweep(at); nothing == 0 || p.Sweep(at) != 0 {
		t.Errorf("%d handshakes came to nothing", nothing)
	}
	p.client(elsewhere, 2, nil).connect(at, "g", "key")
	if nothing := p.Sweep(at); nothing != 0 {
		t.Errorf("%d handshakes came to nothing", nothing)
	}
}

// TestAnswersToStrangersAreNoLongerThanTheyAsked: whatever comes, of whatever length, in a datagram of somebody who has not
// returned a cookie, is answered by less than came, and by one datagram at most.
func TestAnswersToStrangersAreNoLongerThanTheyAsked(t *testing.T) {
	p := newPeers(t, "key")
	c := p.client(somewhere, 1, []byte{1})
	hello := c.hello(0, nil, 0xc0, 0xa8)
	shortest := c.hello(0, nil)
	many := bytes.Repeat(inRecord(typeHandshake, 0, hello), 20)
	for name, data := range map[string][]byte{
		"a hello": inRecord(typeHandshake, 0, hello), "a hello without suites": inRecord(typeHandshake, 0, shortest), "many hellos": many,
		"many hellos in a record": inRecord(typeHandshake, 0, bytes.Repeat(hello, 20)), "an alert": inRecord(typeAlert, 0, []byte{2, 40}),
		"a long hello": inRecord(typeHandshake, 0, c.hello(0, nil, make([]byte, 250)...)), "data": {typeData, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0},
		"a key exchange": inRecord(typeHandshake, 0, appendMessage(nil, clientKeyExchangeType, 0, []byte{0, 1, 'g'})),
		"of a session":   append([]byte{typeCID, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 20}, make([]byte, 20)...),
		"ended":          {typeHandshake, 0xfe}, "empty": inRecord(typeHandshake, 0, nil),
	} {
		answer := p.take(elsewhere, at, data)
		if len(answer) > len(data) || len(p.said[elsewhere]) > 1 || len(p.said) > len(p.said[elsewhere]) {
			t.Errorf("%s: %d bytes are answered by %d", name, len(data), len(answer))
		}
		if len(p.halves)+p.Sessions() > 0 {
			t.Fatalf("%s: something is kept", name)
		}
	}
}

// TestSessionsAreBounded: who has most gives up the one that was silent for longest, so that nobody keeps others out.
func TestSessionsAreBounded(t *testing.T) {
	p := newPeers(t, "key")
	add := func(n int, identity string) *Session {
		s := &Session{Identity: identity, address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 1), last: at.Add(time.Duration(n))}
		if n%2 > 0 {
			s.hasCID, s.cid = true, [cidLength]byte{byte(n >> 16), byte(n >> 8), byte(n)}
		}
		p.add(s)
		return s
	}
	one := add(0, "one")
	first := add(2, "many")
	for n := range maxSessions {
		add(n+10, "many")
	}
	if p.Sessions() != maxSessions || len(p.byName["many"]) != maxSessions-1 {
		t.Errorf("%d sessions", p.Sessions())
	}
	if p.byAddr[one.address] != one || p.byAddr[first.address] != nil {
		t.Error("another was forgotten than the oldest of who has most")
	}
	p.Sweep(at.Add(2 * sessionIdle))
	if p.Sessions()+len(p.byName) > 0 {
		t.Errorf("%d sessions of %d are kept", p.Sessions(), len(p.byName))
	}
}

// TestTheEndOfASessionIsAnswered: RFC 5246 §7.2.1.
func TestTheEndOfASessionIsAnswered(t *testing.T) {
	p := newPeers(t, "key")
	c := p.client(somewhere, 1, nil)
	c.connect(at, "g", "key")
	r, _, ok := parseRecord(p.take(somewhere, at, c.seal(typeAlert, []byte{alertWarning, closeNotify})))
	if !ok || r.kind != typeAlert {
		t.Fatalf("answered %+v", r)
	}
	if _, plain, err := c.keys.openRecord(&r); err != nil || !bytes.Equal(plain, []byte{alertWarning, closeNotify}) {
		t.Errorf("answered %x, %v", plain, err)
	}
	if p.Sessions() > 0 {
		t.Error("the session goes on")
	}
}
