// Package secure is TLS on the provider's port: 1.2 and later, by Go's crypto/tls. What is spoken within it is left to the
// gate, which recognises it as on a plain connection, once: TLS within TLS is refused.
//
// A stranger costs little until its ClientHello has come whole: that is read into one small buffer and may be no longer.
// Only then crypto/tls is given the connection, and of these handshakes there are so many at a time, and a part of them for
// one address: the others wait their turn until their deadline, which is that of the first frame.
//
// There are no session tickets: each handshake shows its certificates, so that one which is revoked comes in no more, and
// no key lives on that would open what was recorded. crypto/tls renegotiates with no client.
//
// Who sends may show a certificate of its own. Clients are asked for one only where the provider has authorities that sign
// them, and are told which; a certificate that none of these has signed ends the handshake.
package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"berth/ingest/gate/intake"
	"berth/schema"
)

const (
	// Most is how many handshakes there are at a time.
	Most = 256
	// MostOfAddress is how many of them are of one address.
	MostOfAddress = Most / 4
)

// Door opens connections by TLS. It is safe for concurrent use.
type Door struct {
	in          *intake.Intake
	config      atomic.Pointer[tls.Config]
	certificate atomic.Pointer[tls.Certificate]
	handshakes  chan struct{}

	mu     sync.Mutex // guards what follows
	shares map[netip.Addr]*share
}

// share is what one address takes of the handshakes.
type share struct {
	handshakes chan struct{}
	users      int
}

// New returns a door without a certificate: until it has one, handshakes fail.
func New(in *intake.Intake) *Door {
	d := &Door{in: in, handshakes: make(chan struct{}, Most), shares: map[netip.Addr]*share{}}
	d.SetClients(nil)
	return d
}

// SetClients sets who may sign the certificates of the next connections' clients; nil is nobody: they are not asked for one.
func (d *Door) SetClients(signers *x509.CertPool) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true, GetCertificate: d.current}
	if signers != nil {
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, signers
	}
	d.config.Store(config)
}

// SetCertificate replaces the certificate that the next connections are shown; nil is none.
func (d *Door) SetCertificate(c *tls.Certificate) { d.certificate.Store(c) }

func (d *Door) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := d.certificate.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("there is no certificate")
}

// Begins reports whether a connection that begins with this byte speaks TLS: it is the type of a record with a handshake,
// which no other protocol of the port begins with.
func Begins(first byte) bool { return first == recordHandshake }

// Open does the handshake and returns the connection within, or why there is none. What goes over the connection later goes
// over that alone. The caller closes it.
func (d *Door) Open(c *intake.Conn) (*tls.Conn, error) {
	first, err := d.hello(c)
	if err != nil {
		return nil, err
	}
	defer d.in.GiveBuffer(first[:cap(first)])
	leave, err := d.enter(c)
	if err != nil {
		return nil, err
	}
	defer leave()
	outer := &outer{Conn: c.Conn, first: first}
	if err := outer.SetDeadline(c.Deadline); err != nil {
		return nil, err
	}
	inner := tls.Server(outer, d.config.Load())
	if err := inner.Handshake(); err != nil { //nolint:noctx // its deadline is the connection's
		return nil, err
	}
	outer.keep()
	return inner, outer.SetWriteDeadline(time.Time{})
}

// hello reads the first record, which holds the ClientHello or the beginning of one, into a buffer that the caller gives
// back.
func (d *Door) hello(c *intake.Conn) ([]byte, error) {
	if err := c.SetReadDeadline(c.Deadline); err != nil {
		return nil, err
	}
	peeked, err := c.Peek(recordHeader)
	if err != nil {
		return nil, err
	}
	size, refusal := firstRecord(peeked)
	if refusal != nil {
		_ = c.SetWriteDeadline(time.Now().Add(d.in.Limits.Linger)) // a closed connection fails at the write
		_, _ = c.Write(refusal)
		return nil, schema.Errorf(schema.Invalid, "it begins with no ClientHello of TLS, or with too long a one")
	}
	buffer, err := d.in.TakeBuffer(d.in.Context(), intake.SmallBuffer)
	if err != nil {
		return nil, err
	}
	n := copy(buffer, peeked)
	for n < size && err == nil {
		var got int
		got, err = c.Conn.Read(buffer[n:size])
		n += got
	}
	if n < size {
		d.in.GiveBuffer(buffer)
		return nil, err
	}
	return buffer[:n], nil
}

// enter waits for the handshake's turn. leave ends it.
func (d *Door) enter(c *intake.Conn) (leave func(), err error) {
	address := c.Address.Addr()
	s := d.share(address)
	late := time.NewTimer(time.Until(c.Deadline))
	defer late.Stop()
	if !d.take(s.handshakes, late.C) {
		d.unshare(address, s)
		return nil, errLate
	}
	leaveShare := func() {
		<-s.handshakes
		d.unshare(address, s)
	}
	if !d.take(d.handshakes, late.C) {
		leaveShare()
		return nil, errLate
	}
	return func() {
		<-d.handshakes
		leaveShare()
	}, nil
}

// take takes one of so many places, unless it gets late or the gate is stopped.
func (d *Door) take(places chan<- struct{}, late <-chan time.Time) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-late:
	case <-d.in.Context().Done():
	}
	return false
}

var errLate = schema.Errorf(schema.Limited, "there are too many handshakes")

func (d *Door) share(address netip.Addr) *share {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.shares[address]
	if s == nil {
		s = &share{handshakes: make(chan struct{}, MostOfAddress)}
		d.shares[address] = s
	}
	s.users++
	return s
}

func (d *Door) unshare(address netip.Addr, s *share) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(d.shares, address)
	}
}

// outer is the connection below TLS, of which the beginning was read.
type outer struct {
	net.Conn
	first []byte
}

// Read reads the beginning, then from the connection.
func (o *outer) Read(p []byte) (int, error) {
	if len(o.first) == 0 {
		return o.Conn.Read(p)
	}
	n := copy(p, o.first)
	o.first = o.first[n:]
	return n, nil
}

// keep lets go of the buffer of the beginning.
func (o *outer) keep() { o.first = append([]byte(nil), o.first...) }

// Handshakes returns how many there are now.
func (d *Door) Handshakes() int { return len(d.handshakes) }
