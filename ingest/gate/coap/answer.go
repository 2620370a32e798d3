package coap

import (
	"errors"
	"math/rand/v2"
	"time"

	"berth/ingest/gate/coap/packet"
	"berth/schema"
)

// codes are the codes of errors, as HTTP's statuses are elsewhere (RFC 7252 §5.9, RFC 8516).
var codes = map[schema.Code]packet.Code{
	schema.Invalid:      packet.BadRequest,
	schema.Unauthorized: packet.Unauthorized,
	schema.Pending:      packet.Unauthorized,
	schema.Forbidden:    packet.Forbidden,
	schema.NotFound:     packet.NotFound,
	schema.TooLarge:     packet.TooLarge,
	schema.Limited:      packet.TooManyRequests,
	schema.Unavailable:  packet.Unavailable,
}

// What makes an error another code than its own.
var (
	errFormat     = errors.New("the format is not taken")             // 4.15
	errIncomplete = errors.New("a block is missing")                  // 4.08
	errReadings   = errors.New("the readings themselves are refused") // for good, whatever their code: 4.00
)

// lateError is an error after which it helps to come again, in so many seconds.
type lateError struct {
	error
	age int
}

func later(err error, age int) error { return &lateError{err, age} }

// Unwrap returns why.
func (e *lateError) Unwrap() error { return e.error }

// codeOf returns the code with which an error is answered.
func codeOf(err error) packet.Code {
	switch {
	case errors.Is(err, errFormat):
		return packet.UnsupportedFormat
	case errors.Is(err, errIncomplete):
		return packet.Incomplete
	case errors.Is(err, errReadings) && schema.CodeOf(err) != schema.Forbidden:
		return packet.BadRequest
	}
	if c, ok := codes[schema.CodeOf(err)]; ok {
		return c
	}
	return packet.Internal
}

// refuse answers a request with an error.
func (r *reader) refuse(q *request, err error) {
	a := packet.Answer{Code: codeOf(err), Payload: schema.Show(err)}
	if late, ok := errors.AsType[*lateError](err); ok {
		a.MaxAge = max(late.age, 1) // §5.9.3.4
	}
	if a.Code == packet.TooLarge { // §5.9.2.9
		a.Size1 = schema.MaxFrame
	}
	a.Block, a.HasBlock = q.Block()
	r.answer(q, &a)
	if q.known && q.whole && a.MaxAge == 0 {
		r.l.remember(q, &a)
	}
}

// fail answers a request that is none of readings. It is a stranger's.
func (r *reader) fail(q *request, code packet.Code, text string) {
	r.l.strangers(1)
	r.answer(q, &packet.Answer{Code: code, Payload: text})
}

// answer answers a request at once: in the acknowledgement (RFC 7252 §5.2.1), or as it came (§5.2.3).
func (r *reader) answer(q *request, a *packet.Answer) {
	if q.silent(a.Code) {
		return
	}
	a.Token, a.Type, a.ID = q.Token, packet.Acknowledgement, q.ID
	if q.Type == packet.NonConfirmable {
		r.l.mu.Lock()
		a.Type, a.ID = packet.NonConfirmable, r.l.newID()
		r.l.mu.Unlock()
	}
	r.l.out.put(q.peer, a, q.most())
}

// remember remembers how a request was answered at once.
func (l *Listener) remember(q *request, a *packet.Answer) {
	now := l.seconds(q.came)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen.add(q.key, now)
	l.seen.settle(l.seen.find(q.key, now), a.Code, a.Payload)
}

// again answers a message that came before and is remembered, as it was answered then (RFC 7252 §4.5). One that is on its
// way, and not acknowledged yet, will be soon enough.
func (l *Listener) again(q *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.seen.find(q.key, l.seconds(q.came))
	if x == nil {
		return false
	}
	switch {
	case q.Type == packet.NonConfirmable: // it is not repeated to be acknowledged
	case x.acked: // its answer is a response of its own, which has not arrived if it is not acknowledged
		l.out.put(q.peer, &packet.Answer{Type: packet.Acknowledgement, ID: q.ID}, q.most())
		if s := l.separates[x.response]; s != nil && s.key == q.key {
			l.out.put(s.peer, &s.answer, s.most)
		}
	case x.code != packet.Empty:
		a := packet.Answer{Type: packet.Acknowledgement, Code: x.code, ID: q.ID, Token: q.Token, Payload: l.seen.texts[q.key]}
		a.Block, a.HasBlock = q.Block()
		l.out.put(q.peer, &a, q.most())
	}
	return true
}

// emptyAnswer is how long an acknowledgement without an answer is.
const emptyAnswer = 4

// separate is a response of its own that is not acknowledged yet.
type separate struct {
	key    uint64 // of the request
	peer   *peer
	answer packet.Answer
	most   int // bytes of the answer
	token  [8]byte
	tries  int
	wait   time.Duration
	next   time.Time
}

// respond answers a request that was acknowledged before (RFC 7252 §5.2.2), and returns the identifier of the
// response. It is called with mu held.
func (l *Listener) respond(w *waiting) (id uint16) {
	s := &separate{key: w.key, peer: w.peer, answer: w.answer, token: w.token, most: (w.most - emptyAnswer) / (1 + maxRetransmit)}
	s.answer.Token = s.token[:w.tokenLength]
	s.answer.Type, s.answer.ID = packet.Confirmable, l.newID()
	l.out.put(s.peer, &s.answer, s.most)
	if len(l.separates) >= maxSeparate {
		return s.answer.ID
	}
	s.wait = ackTimeout + rand.N(ackTimeout/2) //nolint:gosec // §4.2: it spreads them, and is no secret
	s.next = l.time().Add(s.wait)
	l.separates[s.answer.ID] = s
	l.tick()
	return s.answer.ID
}

// acknowledged ends the repetition of a response of ours (RFC 7252 §4.2).
func (l *Listener) acknowledged(from *peer, id uint16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.separates[id]; s != nil && s.peer.is(from) {
		delete(l.separates, id)
	}
}

// newID returns the identifier of a message of ours (RFC 7252 §4.4). It is called with mu held.
func (l *Listener) newID() uint16 {
	for range len(l.separates) + 1 {
		if l.nextID++; l.separates[l.nextID] == nil {
			break
		}
	}
	return l.nextID
}

// tickEvery is how exact the timer is.
const tickEvery = 200 * time.Millisecond

// tick has the timer run. It is called with mu held.
func (l *Listener) tick() {
	switch {
	case l.ticking:
	case l.timer == nil:
		l.ticking = true
		l.timer = time.AfterFunc(tickEvery, l.ticked)
	default:
		l.ticking = true
		l.timer.Reset(tickEvery)
	}
}

// ticked acknowledges what takes long, and repeats responses that are not acknowledged.
func (l *Listener) ticked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.time()
	for _, b := range l.pending {
		if now.Sub(b.begun) < ackSoon {
			break
		}
		l.acknowledge(b, now)
	}
	for id, s := range l.separates {
		if now.Before(s.next) {
			continue
		}
		if s.tries++; s.tries > maxRetransmit {
			delete(l.separates, id)
			continue
		}
		s.wait *= 2
		s.next = now.Add(s.wait)
		l.out.put(s.peer, &s.answer, s.most)
	}
	l.out.flush()
	l.ticking = len(l.pending)+len(l.separates) > 0 && !l.stopped
	if l.ticking {
		l.timer.Reset(tickEvery)
	}
}

// acknowledge acknowledges the requests of a burst without an answer (RFC 7252 §5.2.2). It is called with mu held.
func (l *Listener) acknowledge(b *burst, now time.Time) {
	for i := range b.open {
		w := &b.open[i]
		x := l.seen.find(w.key, l.seconds(now))
		if !w.confirmable || x == nil || x.acked {
			continue
		}
		x.acked = true
		l.out.put(w.peer, &packet.Answer{Type: packet.Acknowledgement, ID: w.id}, w.most)
	}
}
