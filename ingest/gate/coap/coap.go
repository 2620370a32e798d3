// Package coap is the gate's listener for CoAP (RFC 7252), for gateways that send by UDP.
//
//	POST or PUT /readings/<gateway>?key=<key>            lines, JSON or SenML, as the Content-Format says
//	POST or PUT /readings/<gateway>/<sensor>?key=<key>   a bare number, true, false or text
//
// 2.04 means that the log has the readings, on disk. It comes in the acknowledgement, or as a response of its own when the
// log takes longer than the sender would wait (RFC 7252 §5.2.2). A request that needs no acknowledgement is answered if it
// has a token to answer it by (§5.2.3). Bodies longer than a datagram come in blocks (RFC 7959), as long as a frame may be.
//
// Messages are read and written by the codec of go-coap; the exchanges are ours. go-coap's server has a session and a
// goroutine for every address that a datagram says it is from; here nothing is kept of anybody who has not shown a valid
// key, and of those who have only what each exchange needs: what was received lately, so that it is not taken twice
// (§4.5), is one list of bounded length for all. A message is known again by its address and all its bytes, so a sender that
// uses an identifier again too early is never told that something else was stored.
// The same port takes DTLS with pre-shared keys, told by its first byte; see package dtls. The identity is the gateway, the key
// the one of its own, and ?key= is left out.
//
// Nobody can be slowed here by reading less, since all share the socket: who sends faster than a limit is told 4.29, and
// while the log cannot keep up 5.03, both with when to come again. Any answer is at most three times as long as what was asked
// (§11.3), with its repetitions: a key says who asks, but not that it is he who has the address. Nor does DTLS, once an address
// changes. What is sent to many (§8) is not answered, and counted as a stranger's: no group is joined, but others may have.
//
// One goroutine reads datagrams, as many together as there are, and hands what they hold over together; one writes
// answers; a timer acknowledges what takes long and repeats responses of their own.
package coap

import (
	"context"
	"errors"
	"hash/maphash"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"berth/ingest/gate/coap/packet"
	"berth/ingest/gate/intake"
)

const name = "coap"

// The times of an exchange (RFC 7252 §4.8).
const (
	// ackSoon is when a request that is not answered is acknowledged: before its sender repeats it, after ACK_TIMEOUT of 2 s.
	ackSoon = time.Second
	// ackTimeout, and half as much again, is when a response of its own is first repeated; maxRetransmit is how often.
	ackTimeout    = 2 * time.Second
	maxRetransmit = 4
	// lifetime is EXCHANGE_LIFETIME: how long the same message may come again.
	lifetime = 247 * time.Second
)

const (
	// maxOpen is how many requests may be on their way into the log before more are told to come again.
	maxOpen = 16 << 10
	// maxSeparate is how many responses of their own are repeated until they are acknowledged; more are sent once.
	maxSeparate = 4 << 10
	// sweepEvery is how often who is idle is forgotten.
	sweepEvery = 30 * time.Second
)

// Listener serves the provider's port by UDP.
type Listener struct {
	in   *intake.Intake
	seed maphash.Seed
	time func() time.Time // of a clock that never goes back
	zero time.Time

	socket  *socket
	out     outbox
	reading sync.WaitGroup
	writing sync.WaitGroup
	reader  reader // of the reading goroutine alone

	mu        sync.Mutex // guards what follows
	changed   sync.Cond  // signaled when pending becomes shorter
	seen      seen
	pending   []*burst // handed over, in order
	open      int      // requests in them
	separates map[uint16]*separate
	nextID    uint16 // of messages of our own
	timer     *time.Timer
	ticking   bool // the timer runs
	stopped   bool

	recheck atomic.Bool // sessions are to be looked at again
}

// New returns the listener.
func New(in *intake.Intake) *Listener {
	l := &Listener{in: in, seed: maphash.MakeSeed(), time: time.Now, zero: time.Now(), separates: map[uint16]*separate{}}
	l.changed.L = &l.mu
	l.out.begin()
	l.seen.begin()
	l.reader.begin(l)
	l.nextID = uint16(maphash.Comparable(l.seed, 0)) // RFC 7252 §4.4: not the same after each start
	return l
}

// Serve serves what comes over the connection, until Stop.
func (l *Listener) Serve(c *net.UDPConn) error {
	s, err := newSocket(c)
	if err != nil {
		return err
	}
	l.socket = s
	l.reading.Go(l.read)
	l.writing.Go(func() { l.out.writeAll(s) })
	return nil
}

// read reads datagrams until the listener is stopped.
func (l *Listener) read() {
	swept := l.time()
	for {
		_ = l.socket.conn.SetReadDeadline(time.Now().Add(sweepEvery)) // a closed socket fails at the read
		if l.isStopped() {
			return
		}
		l.reader.recheck()
		n, err := l.socket.read()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			// What the network says of an earlier answer, such as that nobody listens there any more.
			l.in.Log.Debug("a datagram cannot be read", "error", err)
			l.rest()
		}
		now := l.time()
		for i := range n {
			data, from, ok := l.socket.datagram(i)
			l.reader.take(data, from, ok, now)
		}
		l.reader.handOver()
		l.out.flush()
		if now.Sub(swept) >= sweepEvery {
			swept = now
			l.reader.sweep(now)
		}
	}
}

// rest lets a little time pass.
func (l *Listener) rest() {
	pause := time.NewTimer(10 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-l.in.Context().Done():
	}
}

func (l *Listener) isStopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

// Stop takes nothing more, answers what is in hand, within ctx, and closes the connection. What is not answered its senders
// repeat, and the next instance answers it.
func (l *Listener) Stop(ctx context.Context) {
	if l.socket == nil {
		return
	}
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	_ = l.socket.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	l.reading.Wait()
	defer context.AfterFunc(ctx, func() {
		l.mu.Lock()
		l.changed.Broadcast()
		l.mu.Unlock()
	})()
	l.mu.Lock()
	for len(l.pending) > 0 && ctx.Err() == nil {
		l.changed.Wait()
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	l.out.close()
	l.writing.Wait()
	_ = l.socket.conn.Close() // nothing depends on how it ended
	l.socket.in = nil
	l.reader.end()
}

// Recheck has sessions ended whose key is good no more.
func (l *Listener) Recheck() {
	l.recheck.Store(true)
	if l.socket != nil {
		_ = l.socket.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
}

// keyOf returns what a message is known by when it comes again: where it is from, and all its bytes.
func (l *Listener) keyOf(from *peer, data []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	from.hash(&h)
	_, _ = h.Write(data) // it never returns an error
	return h.Sum64()
}

// seconds returns a time as the exchanges have it.
func (l *Listener) seconds(at time.Time) uint32 { return uint32(at.Sub(l.zero) / time.Second) }

// reset rejects a message that needs an acknowledgement (RFC 7252 §4.2).
func (l *Listener) reset(to *peer, m *packet.Message) {
	if m.Type == packet.Confirmable {
		l.out.put(to, &packet.Answer{Type: packet.Reset, ID: m.ID}, maxDatagram)
	}
}
