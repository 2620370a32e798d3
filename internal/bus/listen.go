package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"

	"berth/schema"
)

// listenMost bounds the connections at further addresses.
const listenMost = 4096

// certificate is what the embedded server shows to those who connect by TLS: one for all hosts that it is reached by.
type certificate struct {
	authority *Authority

	mu      sync.Mutex // guards what follows
	hosts   []string
	present *tls.Certificate
}

// add makes the certificate hold for one more host.
func (c *certificate) add(host string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.hosts, host) {
		return nil
	}
	hosts := append(slices.Clone(c.hosts), host)
	cert, key, err := c.authority.Certificate(hosts...)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	c.hosts, c.present = hosts, &pair
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.present, nil
}

// Listen has a server of [ServerOptions.TLS] take connections at one more address, host:port, until it stops, and returns
// the URL there: one of TLS. The host is what clients connect to; it cannot be an unspecified address. Unavailable when
// the address cannot be listened on.
func (s *Server) Listen(ctx context.Context, address string) (url string, err error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() || s.certificate == nil {
		return "", schema.Errorf(schema.Invalid, "NATS cannot be reached by TLS at %q", address).
			WithNext("name the host that clients connect to, and the port").WithCause(err)
	}
	if err := s.certificate.add(host); err != nil {
		return "", err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return "", schema.Errorf(schema.Unavailable, "NATS cannot listen on %s", address).
			WithNext("free the address, or choose another port").WithCause(err)
	}
	r := &relay{listener: listener, to: s.nats.Addr().String(), log: s.log, conns: map[net.Conn]bool{}}
	s.mu.Lock()
	s.relays = append(s.relays, r)
	s.mu.Unlock()
	r.wg.Go(r.run)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return "", err
	}
	return "tls://" + net.JoinHostPort(host, port), nil
}

// relay passes connections of a further address on to the server's own: nats-server listens at one address only. It
// passes bytes; TLS is between the client and the server.
type relay struct {
	listener net.Listener
	to       string
	log      *slog.Logger
	wg       sync.WaitGroup

	mu     sync.Mutex // guards what follows
	conns  map[net.Conn]bool
	closed bool
}

func (r *relay) run() {
	for {
		from, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.log.Warn("a connection to nats was not taken", "error", err)
			continue
		}
		if !r.keep(from) {
			_ = from.Close()
			continue
		}
		r.wg.Go(func() { r.pass(from) })
	}
}

// keep takes note of a connection, to close it; false when there are too many, or none is wanted any more.
func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.conns) >= 2*listenMost {
		return false
	}
	r.conns[c] = true
	return true
}

func (r *relay) drop(c net.Conn) {
	_ = c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// pass passes bytes both ways until either side ends.
func (r *relay) pass(from net.Conn) {
	defer r.drop(from)
	to, err := net.Dial("tcp", r.to) //nolint:noctx // the server of this process, which is closed after the relay
	if err != nil {
		return
	}
	defer r.drop(to)
	if !r.keep(to) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(to, from) // the end of either is the end of both
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to)
	_ = from.Close()
	<-done
}

// close ends the relay and what it passes on.
func (r *relay) close() {
	r.mu.Lock()
	r.closed = true
	_ = r.listener.Close()
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}
