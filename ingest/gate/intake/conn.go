package intake

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"berth/ingest/limit"
	"berth/schema"
)

// smallRead is what a connection can read into without a buffer: enough to wait for a frame, and for a small one whole.
const smallRead = 256

// Conn is an accepted connection. It is for one reader.
type Conn struct {
	net.Conn
	Address     netip.AddrPort // of the sender
	Deadline    time.Time      // by which it must have shown a valid key
	TLS         bool           // nobody else can read what goes over it
	Certificate *Certificate   // that it was opened with; nil: none

	small   [smallRead]byte // what was read to recognise the protocol, from off to end
	off     uint16
	end     uint16
	known   atomic.Bool
	served  atomic.Bool
	asks    atomic.Uint32
	waits   atomic.Bool
	closed  atomic.Bool
	session atomic.Pointer[Session]
	sender  atomic.Pointer[limit.Sender] // whom it was last admitted as
	onClose func(*Conn)
}

// Session is what a listener knows of a connection that has shown a key and stays open.
type Session interface {
	// Identity returns who shows which key.
	Identity() Identity
	// Drop lets the session end soon: it takes nothing more, answers what it has in hand, says why, and closes.
	Drop(why error)
}

// ErrStopping is why sessions are dropped when the gate is stopped.
var ErrStopping = schema.Errorf(schema.Unavailable, "the service is being stopped").WithNext("connect again in a moment")

// NewConn returns the connection, with what happens when it is closed.
func NewConn(c net.Conn, deadline time.Time, onClose func(*Conn)) *Conn {
	address, _ := netip.ParseAddrPort(c.RemoteAddr().String()) // the zero value where there are no addresses
	return &Conn{Conn: c, Address: address, Deadline: deadline, onClose: onClose}
}

// Peek reads until n bytes have come, or the end, and returns all that came; they remain to be read.
func (c *Conn) Peek(n int) ([]byte, error) {
	for int(c.end) < n {
		got, err := c.Conn.Read(c.small[c.end:])
		c.end += uint16(got)
		if got == 0 && err != nil {
			return c.small[:c.end], err
		}
	}
	return c.small[:c.end], nil
}

// Read reads what was peeked at, then from the connection.
func (c *Conn) Read(p []byte) (int, error) {
	if c.off == c.end {
		return c.Conn.Read(p)
	}
	n := copy(p, c.small[c.off:c.end])
	c.off += uint16(n)
	return n, nil
}

// ReadSmall reads some bytes without a buffer of the caller's. They are good until the next call.
func (c *Conn) ReadSmall() ([]byte, error) {
	if c.off < c.end {
		p := c.small[c.off:c.end]
		c.off = c.end
		return p, nil
	}
	n, err := c.Conn.Read(c.small[:])
	return c.small[:n], err
}

// Knows notes that a valid key was shown: the connection is no stranger's.
func (c *Conn) Knows() { c.known.Store(true) }

// Known reports whether a valid key was shown.
func (c *Conn) Known() bool { return c.known.Load() }

// What a connection that shows no key has done.
const (
	onlyAsked = iota + 1 // how the port is
	didMore
)

// Asks notes that the connection asks how the port is, as load balancers do: that is no harm, though it shows no key.
func (c *Conn) Asks() { c.asks.CompareAndSwap(0, onlyAsked) }

// AsksMore notes that the connection does something else than to ask how the port is.
func (c *Conn) AsksMore() { c.asks.Store(didMore) }

// Waits notes that a valid key was shown by a gateway that waits for approval: it is no stranger, and gets no more time than one.
func (c *Conn) Waits() { c.waits.Store(true) }

// Stranger reports whether the connection counts as a stranger's: no valid key was shown, and it did not only ask.
func (c *Conn) Stranger() bool {
	return !c.known.Load() && !c.waits.Load() && c.asks.Load() != onlyAsked
}

// SetReadDeadline sets the deadline for reading; that of a stranger is never later than Deadline.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if !c.Known() && (t.IsZero() || t.After(c.Deadline)) {
		t = c.Deadline
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Serves notes that the listener closes the connection when it is stopped.
func (c *Conn) Serves() { c.served.Store(true) }

// Served reports whether the listener closes the connection when it is stopped.
func (c *Conn) Served() bool { return c.served.Load() }

// Enter makes the session known to the gate, which drops it when its key is revoked.
func (c *Conn) Enter(s Session) { c.session.Store(&s) }

// Session returns the session of the connection, nil if it has none.
func (c *Conn) Session() Session {
	if s := c.session.Load(); s != nil {
		return *s
	}
	return nil
}

// Close closes the connection. It may be called more than once.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	err := c.Conn.Close()
	c.leave()
	c.onClose(c)
	return err
}

// HangUp closes the connection for its peer: it is its gateway's no more, but one of the provider's until Close.
func (c *Conn) HangUp() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// leave ends what the connection counts for as a gateway's.
func (c *Conn) leave() {
	if s := c.sender.Swap(nil); s != nil {
		s.Leave()
	}
}

// CloseWrite ends our side of the connection: what was written arrives, then the end.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Linger lets the peer read the last answer: it ends our side and discards what still comes, for a while. A connection
// closed with unread bytes would be reset, and the answer might be lost with it.
func (c *Conn) Linger(d time.Duration) {
	if c.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(d)) != nil {
		return
	}
	for left := 64 << 10; left > 0; {
		n, err := c.Conn.Read(c.small[:])
		if err != nil {
			return
		}
		left -= n
	}
}
