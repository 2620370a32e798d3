// Package gate is a provider's port: it accepts connections, recognises what they speak by their first bytes, and
// leaves them to the listener of that protocol. What comes by UDP to the same port it leaves to CoAP's.
//
// It gives limits on connections, who may send (live: a key that is revoked takes its connections with it), and an
// orderly end. Protocols are packages below it, in one table; what they share is package intake. Its one invariant: a
// connection that has not shown a valid key in time is closed, and costs no more than 16 KB until then.
package gate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/ingest/gate/bare"
	"berth/ingest/gate/coap"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/secure"
	"berth/ingest/witness"
	"berth/schema"
	"berth/schema/record"
)

// Options are what a Gate is made with. All but Keys, Certificate, Rejects, Ready, Memory, Limits and Now are needed.
type Options struct {
	Address     string // host:port; port 0 is any
	Committer   *commit.Committer
	Decoders    *format.Decoders
	Pipeline    *record.Pipeline
	Keys        map[string]record.GatewayKey             // by anything
	Certificate *tls.Certificate                         // that connections by TLS are shown; nil: none yet
	Rejects     func(r *record.Reject, raw []byte) error // keeps a reject of an authenticated sender; called by one goroutine
	Ready       func() bool                              // whether frames can be taken now; nil: while the log takes them
	OpenKey     func(sealed []byte) []byte               // opens gateways' keys that are kept sealed; nil: none can be
	Logger      *slog.Logger
	Memory      int64 // bytes that payloads in the making may take together; intake.DefaultMemory if 0
	Limits      intake.Limits
	Witness     *witness.Witness                        // what is seen of senders; nil: it is forgotten at the end
	Introduced  func(gateway string) (known, sure bool) // whether the provider has the gateway already; nil: it has none
	Now         func() time.Time                        // the wall clock; nil: time.Now
}

// Gate is a provider's port.
type Gate struct {
	o         Options
	in        *intake.Intake
	door      *secure.Door
	listeners []intake.Listener
	bare      *bare.Listener // of what is none of theirs, where the provider allows it
	coap      *coap.Listener // of what comes by UDP
	conns     conns
	listener  net.Listener
	accepting sync.WaitGroup
	serving   sync.WaitGroup
	recheck   chan struct{}
	watching  sync.WaitGroup
}

// New returns a gate; Start opens it.
func New(o Options) (*Gate, error) {
	if o.Committer == nil || o.Decoders == nil || o.Pipeline == nil || o.Logger == nil {
		return nil, schema.Errorf(schema.Invalid, "a gate wants a committer, decoders, a pipeline and a logger")
	}
	if o.Witness == nil {
		o.Witness = witness.New()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Gate{o: o, recheck: make(chan struct{}, 1)}
	g.in = intake.New(intake.Options{
		Committer: o.Committer, Decoders: o.Decoders, Rejects: o.Rejects, Ready: o.Ready, Logger: o.Logger,
		Keys: g.keys(o.Pipeline, o.Keys, nil), Limits: o.Limits, Memory: o.Memory, Now: o.Now,
	})
	g.door = secure.New(g.in)
	g.door.SetCertificate(o.Certificate)
	g.door.SetClients(g.in.Keys().Clients())
	for _, protocol := range protocols {
		g.listeners = append(g.listeners, protocol(g.in))
	}
	g.coap = coap.New(g.in)
	g.bare = bare.New(g.in)
	g.conns.begin(o.Logger)
	return g, nil
}

// keepAlive finds peers that are gone in about two minutes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

// Start opens the port, for TCP and for UDP.
func (g *Gate) Start(ctx context.Context) error {
	listener, datagrams, err := g.listen(ctx)
	if err != nil {
		return fmt.Errorf("open the provider's port: %w", err)
	}
	if err := g.coap.Serve(datagrams); err != nil {
		return errors.Join(fmt.Errorf("open the provider's port by UDP: %w", err), listener.Close(), datagrams.Close())
	}
	g.listener = listener
	g.accepting.Go(g.accept)
	g.watching.Go(g.watchKeys)
	return nil
}

// anyTries is how often a port is sought that is free for both TCP and UDP, where it may be any.
const anyTries = 20

// listen opens the port for TCP, and the same for UDP.
func (g *Gate) listen(ctx context.Context) (listener net.Listener, datagrams *net.UDPConn, err error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	_, port, _ := net.SplitHostPort(g.o.Address)
	for range anyTries {
		if listener, err = config.Listen(ctx, "tcp", g.o.Address); err != nil {
			return nil, nil, err
		}
		var p net.PacketConn
		if p, err = config.ListenPacket(ctx, "udp", listener.Addr().String()); err == nil {
			if udp, ok := p.(*net.UDPConn); ok {
				return listener, udp, nil
			}
			err = errors.Join(errors.ErrUnsupported, p.Close())
		}
		err = errors.Join(err, listener.Close())
		if port != "0" {
			break
		}
	}
	return nil, nil, err
}

// Addr returns where the gate listens.
func (g *Gate) Addr() net.Addr { return g.listener.Addr() }

// Connections returns how many connections there are.
func (g *Gate) Connections() int { return g.conns.count() }

// Use returns how much of the limits is used that the gate keeps: of those for each gateway or address by the one that
// uses most.
func (g *Gate) Use() record.Limits {
	u := g.in.Limiter.Use()
	u.Connections, u.ConnectionsPerAddress = g.conns.used()
	return u
}

// SetFull refuses what comes with the error, until it is nil: the keyspace is full.
func (g *Gate) SetFull(why *schema.Error) { g.in.SetFull(why) }

// SetCertificate replaces the certificate that the next connections by TLS are shown; nil is none.
func (g *Gate) SetCertificate(c *tls.Certificate) { g.door.SetCertificate(c) }

// Feed takes in again what was refused before; see [intake.Intake.Feed].
func (g *Gate) Feed(ctx context.Context, a *intake.Again) (format.Report, error) {
	return g.in.Feed(ctx, a)
}

// Intake returns by what the gate takes payloads in, for what does not come over the port.
func (g *Gate) Intake() *intake.Intake { return g.in }

// accept accepts connections until the listener is closed.
func (g *Gate) accept() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		c, err := g.listener.Accept()
		switch {
		case err == nil:
			g.admit(c)
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		g.o.Logger.Warn("a connection cannot be accepted", "error", err) // too many open files, mostly
		pause.Reset(100 * time.Millisecond)
		select {
		case <-pause.C:
		case <-g.in.Context().Done():
			return
		}
	}
}

// admit serves the connection if there is room for it.
func (g *Gate) admit(raw net.Conn) {
	c := intake.NewConn(raw, time.Now().Add(g.in.Limits.FirstFrame), g.closed)
	no, ok := g.conns.enter(c, &g.in.Keys().Settings.Limits)
	if no.reason != "" {
		g.o.Committer.Count(commit.Counts{Reasons: map[string]int{no.reason: 1}})
	}
	if !ok {
		g.o.Committer.Count(commit.Counts{Strangers: 1})
		_ = raw.Close() // it is one too many even to be told so
		return
	}
	g.serving.Go(func() { g.serve(c, no.why) })
}

// closed forgets a connection that was closed.
func (g *Gate) closed(c *intake.Conn) {
	g.conns.leave(c)
	if c.Stranger() {
		g.o.Committer.Count(commit.Counts{Strangers: 1})
	}
}

// serve leaves the connection to the listener of what it speaks.
func (g *Gate) serve(c *intake.Conn, why error) {
	if c, l := g.recognise(c, why); l != nil {
		l.Serve(c)
	}
}

// recognise finds out what the connection speaks, within TLS if it begins so, and returns the connection and the listener
// for it. Without a listener it was closed, or refused for a reason, which may be why.
//
// It is not inlined, so that what it needs is on the stack no more while the connection is served: a connection that waits
// then has 4 KB of stack instead of 8.
//
//go:noinline
func (g *Gate) recognise(c *intake.Conn, why error) (*intake.Conn, intake.Listener) {
	if c = g.open(c); c == nil {
		return nil, nil
	}
	l := g.sniff(c)
	if plain := g.in.Keys().Admits(c); l != nil && why == nil && plain != nil {
		why = plain
		g.o.Committer.Count(commit.Counts{Reasons: map[string]int{intake.ReasonPlain: 1}})
	}
	if l != nil && why == nil {
		return c, l
	}
	if l != nil {
		_ = c.SetWriteDeadline(time.Now().Add(g.in.Limits.Linger)) // a closed connection fails at the write
		l.Refuse(c, why)
		c.Linger(g.in.Limits.Linger)
	}
	_ = c.Close() // it was told, or is a stranger
	return nil, nil
}

// open returns the connection, or the one within it if it begins with TLS; nil when it came to an end, and was closed.
func (g *Gate) open(c *intake.Conn) *intake.Conn {
	if c.SetReadDeadline(c.Deadline) != nil {
		_ = c.Close() // it is closed
		return nil
	}
	first, err := c.Peek(1)
	if len(first) > 0 && !secure.Begins(first[0]) {
		return c
	}
	if len(first) == 0 {
		_ = err       // it ended, or took too long
		_ = c.Close() // a stranger
		return nil
	}
	inner, err := g.door.Open(c)
	if err != nil {
		c.Linger(g.in.Limits.Linger) // an alert says why
		_ = c.Close()                // a stranger
		return nil
	}
	within := intake.NewConn(inner, c.Deadline, g.closed)
	within.TLS = true
	state := inner.ConnectionState()
	within.Certificate = intake.CertificateOf(&state)
	if !g.conns.replace(c, within) {
		_ = inner.Close() // the gate is being stopped
		return nil
	}
	return within
}

// sniff reads the first bytes and returns the listener for them, or nil.
func (g *Gate) sniff(c *intake.Conn) intake.Listener {
	if c.SetReadDeadline(c.Deadline) != nil {
		return nil
	}
	for n := 1; ; {
		first, err := c.Peek(n)
		if len(first) < n {
			_ = err // it ended, or took too long
			return nil
		}
		l, sure := recognise(g.listeners, first)
		if l != nil {
			return l
		}
		if sure && g.bare.Recognise(first) == intake.Yes && g.in.Keys().AllowsNetwork(c) {
			return g.bare
		}
		if sure {
			g.explain(c, first)
			return nil
		}
		n = len(first) + 1
	}
}

// explain tells a person what the port understands; what does not print gets no answer.
func (g *Gate) explain(c *intake.Conn, first []byte) {
	for _, b := range first {
		if (b < ' ' || b > '~') && b != '\n' && b != '\r' && b != '\t' {
			return
		}
	}
	_ = c.SetWriteDeadline(time.Now().Add(g.in.Limits.Linger)) // a closed connection fails at the write
	_, _ = c.Write([]byte("ERR invalid this port takes HELLO <gateway> <key>, or HTTP: POST /write, /api/v2/write, /api/v1/readings, or MQTT\n"))
	c.Linger(g.in.Limits.Linger)
}

// Stop closes the port, lets what is in hand be answered within ctx, and closes all connections. It may be called more
// than once.
func (g *Gate) Stop(ctx context.Context) error {
	if g.listener != nil {
		_ = g.listener.Close() // nothing is accepted any more, whatever it says
	}
	g.accepting.Wait()
	g.conns.drop(intake.ErrStopping)
	var stopping sync.WaitGroup
	for _, l := range g.listeners {
		stopping.Go(func() { l.Stop(ctx) })
	}
	stopping.Go(func() { g.coap.Stop(ctx) })
	served := make(chan struct{})
	go func() {
		stopping.Wait()
		g.serving.Wait()
		close(served)
	}()
	var err error
	select {
	case <-served:
	case <-ctx.Done():
		err = fmt.Errorf("answer what is in hand: %w", ctx.Err())
	}
	g.in.Stop()
	g.watching.Wait()
	g.conns.closeAll()
	<-served
	return err
}
