package coap

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/coap/dtls"
	"berth/ingest/gate/coap/packet"
	"berth/ingest/gate/intake"
	"berth/ingest/limit"
	"berth/schema"
)

// reader is what the goroutine that reads has for itself.
type reader struct {
	l       *Listener
	m       packet.Message
	burst   *burst // what was read together; nil: nothing of it goes into the log
	senders map[string]*sender
	bodies  map[uint64]*body // that are received in blocks
	tls     *dtls.Server
	from    *peer // of the datagram that is taken
}

// sender is a gateway that has sent lately, whose rate is kept and which counts as one of its connections.
type sender struct {
	*limit.Sender
	last time.Time
}

// maxSenders is how many gateways are known to send. The provider's own limit of gateways is 100,000 at first.
const maxSenders = 200_000

func (r *reader) begin(l *Listener) {
	r.l, r.senders, r.bodies = l, map[string]*sender{}, map[uint64]*body{}
	r.tls = dtls.New(func(identity string) [][]byte { return l.in.Keys().PSKs(identity) }, r.send)
}

// send sends a datagram of DTLS.
func (r *reader) send(to netip.AddrPort, data []byte) {
	p := r.from
	if p == nil || p.address() != to {
		p = &peer{addr: net.UDPAddrFromAddrPort(to)}
	}
	r.l.out.putRaw(p, data)
}

// recheck ends the sessions whose key is good no more.
func (r *reader) recheck() {
	if !r.l.recheck.Swap(false) {
		return
	}
	keys := r.l.in.Keys()
	r.from = nil
	r.tls.Recheck(func(identity string, key []byte) bool {
		return slices.ContainsFunc(keys.PSKs(identity), func(good []byte) bool { return bytes.Equal(good, key) })
	})
	r.l.out.flush()
}

// end forgets everybody.
func (r *reader) end() {
	r.forgetIdle(r.l.time(), -1)
	for key := range r.bodies {
		r.dropBody(key)
	}
}

// sweep forgets who has been idle.
func (r *reader) sweep(now time.Time) {
	r.l.strangers(r.tls.Sweep(now))
	r.forgetIdle(now, sweepEvery)
	for key, b := range r.bodies {
		if now.Sub(b.last) > bodyIdle {
			r.dropBody(key)
		}
	}
}

func (r *reader) forgetIdle(now time.Time, longer time.Duration) {
	for name, s := range r.senders {
		if now.Sub(s.last) > longer {
			s.Leave()
			delete(r.senders, name)
		}
	}
}

// take takes a datagram. whole is false when it was longer than what is read.
func (r *reader) take(data []byte, from *peer, whole bool, now time.Time) {
	if from.addr == nil || len(data) == 0 || !dtls.Begins(data[0]) {
		r.message(data, from, whole, now)
		return
	}
	if from.group || !whole {
		r.l.strangers(1)
		return
	}
	r.from = from
	if strange := r.tls.Take(from.address(), data, now, func(s *dtls.Session, plain []byte) {
		within := *from
		within.session = s
		if s.Address() != from.address() { // it came late, from where the session is not any more
			within.addr, within.route = net.UDPAddrFromAddrPort(s.Address()), nil
		}
		r.message(plain, &within, true, now)
	}); strange {
		r.l.strangers(1)
	}
}

// message takes a message of CoAP.
func (r *reader) message(data []byte, from *peer, whole bool, now time.Time) {
	l, m := r.l, &r.m
	if from.addr == nil {
		return
	}
	err := packet.Read(data, m)
	switch {
	case err == packet.ErrOther: //nolint:errorlint // it comes as it is
		l.strangers(1)
	case from.group: // §8.1; nothing here is for a group to ask
		l.strangers(1)
	case err != nil && whole:
		l.reset(from, m)
		l.strangers(1)
	case m.Type == packet.Acknowledgement || m.Type == packet.Reset:
		l.acknowledged(from, m.ID) // of whatever code: a response to a response says nothing
	case m.Code == packet.Empty || m.Code.Class() != 0: // a ping (§4.3), a response to nothing, a reserved class (§4.2)
		l.reset(from, m)
	default:
		r.request(&request{Message: m, peer: from, data: data, came: now, whole: whole})
	}
}

// request is a request, and what is found out about it.
type request struct {
	*packet.Message
	peer  *peer
	data  []byte
	came  time.Time
	whole bool // all of it was read

	key   uint64
	known bool // a valid key was shown
	route
	sender *sender
}

// most returns how long an answer may be: three times what was asked, since who asked may have sent another's address (RFC 7252
// §11.3), also within a session, which may have moved.
func (q *request) most() int { return min(3*len(q.data), maxAnswer) }

// maxAnswer is the longest answer: one that needs no fragments anywhere.
const maxAnswer = 512

// request answers a request, or has it on its way into the log.
func (r *reader) request(q *request) {
	first, second := "", ""
	n := 0
	q.Path(func(segment []byte) bool {
		switch n++; n {
		case 1:
			first = known(segment)
		case 2:
			second = known(segment)
		}
		return n < 3
	})
	switch {
	case q.Bad != 0 && q.Type == packet.NonConfirmable: // §5.4.1: it is rejected
		r.l.strangers(1)
	case q.Bad != 0:
		r.fail(q, packet.BadOption, "an option is not understood")
	case q.Proxy: // §5.10.2
		r.fail(q, packet.ProxyingNone, "")
	case first == readingsPath:
		r.readings(q)
	case first == wellKnown && second == core && n == 2:
		r.discover(q)
	default:
		r.fail(q, packet.NotFound, "POST /readings/<gateway>?key=<key>")
	}
}

// known returns a segment that begins a path here, without an allocation.
func known(segment []byte) string {
	switch string(segment) {
	case readingsPath:
		return readingsPath
	case wellKnown:
		return wellKnown
	case core:
		return core
	}
	return ""
}

const (
	readingsPath = "readings"
	wellKnown    = ".well-known"
	core         = "core"
	// links is what there is (RFC 6690). With its header it is less than three times the shortest request for it.
	links = `</readings>;ct="0 50 60 110 112"`
)

// discover says what there is (RFC 7252 §7.2.1).
func (r *reader) discover(q *request) {
	accept, asked := q.Accept()
	switch {
	case q.Code != packet.GET:
		r.fail(q, packet.MethodNotAllowed, "")
	case asked && accept != packet.LinkFormat: // §5.10.4
		r.fail(q, packet.NotAcceptable, "")
	default:
		r.answer(q, &packet.Answer{Code: packet.Content, Format: packet.LinkFormat, Payload: links})
	}
}

// readings takes a request that brings readings.
func (r *reader) readings(q *request) {
	if q.Code != packet.POST && q.Code != packet.PUT {
		r.fail(q, packet.MethodNotAllowed, "POST readings")
		return
	}
	q.key = r.l.keyOf(q.peer, q.data)
	if q.whole && r.l.again(q) {
		return
	}
	if err := r.authenticate(q); err != nil {
		if !schema.Is(err, schema.Pending) {
			r.l.strangers(1)
		}
		r.refuse(q, err)
		return
	}
	if err := r.admit(q); err != nil {
		r.refuse(q, err)
		return
	}
	if !q.whole {
		r.tooLarge(q)
		return
	}
	body, err := r.assemble(q)
	switch {
	case err != nil:
		r.refuse(q, err)
	case body != nil:
		r.put(q, body)
		r.finishBody(q)
	}
}

// authenticate finds out who sends a request, and what of.
func (r *reader) authenticate(q *request) error {
	q.read()
	keys := r.l.in.Keys()
	key, s := q.Query("key"), q.peer.session
	if s != nil {
		key = s.Key()
	}
	id, err := keys.AuthenticateFrom(q.peer.address().Addr(), s != nil, q.gateway, string(key))
	if err != nil {
		return err
	}
	q.keys, q.id, q.known = keys, id, true
	return nil
}

// admit finds the sender's rate, and refuses what is beyond it, or cannot be taken now.
func (r *reader) admit(q *request) error {
	l := r.l
	if full := l.in.Full(); full != nil {
		l.refused(intake.ReasonKeyspace)
		return later(full, fullAge)
	}
	if l.in.Committer.Slow() || l.busy() {
		return later(errSlow, slowAge)
	}
	name := q.id.Gateway
	if q.id.Relay {
		name = "" // as for a connection: it speaks for many
	}
	s := r.senders[name]
	if s == nil {
		if len(r.senders) >= maxSenders {
			return later(errSlow, slowAge)
		}
		entered, err := l.in.Limiter.Enter(name)
		if err != nil {
			l.refused(limit.ReasonGatewayConnections)
			return later(err, fullAge)
		}
		s = &sender{Sender: entered}
		r.senders[name] = s
	}
	s.last, q.sender = q.came, s
	if wait, reason := s.Due(s.Mark()); wait > 0 {
		l.refused(reason)
		return later(s.Error(reason), int((wait+time.Second-1)/time.Second))
	}
	return nil
}

// errSlow is why nothing is taken while the log has no room.
var errSlow = schema.Errorf(schema.Unavailable, "the log cannot keep up")

// When a sender may come again who was told to, in seconds.
const (
	slowAge = 5
	fullAge = 60
)

// refused counts a frame that is refused for a reason.
func (l *Listener) refused(reason string) {
	l.in.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: map[string]int{reason: 1}})
}

// strangers counts datagrams of somebody who shows no valid key.
func (l *Listener) strangers(n int) {
	if n > 0 {
		l.in.Committer.Count(commit.Counts{Strangers: uint64(n)})
	}
}

// busy reports whether as much is on its way into the log as may be.
func (l *Listener) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open >= maxOpen
}
