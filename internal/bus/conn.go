package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"berth/schema"
)

const (
	reconnectLeast = 100 * time.Millisecond
	reconnectMost  = time.Second
	dialLimit      = 2 * time.Second
	// syncQueue is how many messages wait for whoever asked for them; more would be lost. Portions and windows are
	// bounded below it. Each takes 8 bytes of every question's memory.
	syncQueue = 4096
)

// Credentials are the text of a NATS credentials file: a user's claims and secret.
type Credentials []byte

// Options say how to connect.
type Options struct {
	URL         string // of a server, or of several of a cluster, with commas between them; tls:// means TLS
	Credentials Credentials
	Trust       Trust        // of connections by TLS
	Name        string       // what the server calls the connection
	Replicas    int          // of the streams and buckets that are made or prepared; 0: one
	Logger      *slog.Logger // told when the server goes away and comes back

	within nats.InProcessConnProvider // the server within this process, to need no socket
}

// Conn is a connection to NATS as one user of one account. It reconnects for ever. What cannot be sent now is refused
// now: nothing is kept to be sent later. Its methods may be called concurrently.
type Conn struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	log    *slog.Logger
	copies int // replicas of what is prepared
	closed chan struct{}

	mu    sync.Mutex // guards hooks
	hooks map[int]func(up bool)
	next  int
}

// Connect connects, trying until ctx ends while no server can be reached. Errors: Unauthorized for credentials that the
// server does not accept, Unavailable when ctx ended first.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	c := &Conn{log: o.Logger, copies: max(o.Replicas, 1), closed: make(chan struct{}), hooks: map[int]func(bool){}}
	if err := CheckURL(o.URL); err != nil {
		return nil, err
	}
	trust, err := o.Trust.config()
	if err != nil {
		return nil, err
	}
	options := append(c.options(o), nats.CustomReconnectDelay(reconnectDelay), func(o *nats.Options) error {
		o.TLSConfig = trust // whether it is used the URL says, or the server
		return nil
	})
	if o.within != nil {
		options = append(options, nats.InProcessServer(o.within))
	}
	for said := false; ; said = true {
		var err error
		if c.nc, err = nats.Connect(o.URL, options...); err == nil {
			break
		}
		if errors.Is(err, nats.ErrAuthorization) {
			return nil, failed("connect to NATS at "+o.URL, err)
		}
		if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, fmt.Errorf("connect to NATS at %s: %w", o.URL,
				schema.Errorf(schema.Unauthorized, "the NATS server's certificate is not trusted: %v", untrusted.Err).
					WithNext("give --nats-ca the certificate of the authority that signed it, and use a name that it holds for"))
		}
		if !said {
			o.Logger.Info("no nats server can be reached yet", "error", err)
		}
		if wait(ctx, reconnectDelay(1)) != nil {
			return nil, fmt.Errorf("connect to NATS at %s: %w", o.URL,
				schema.Errorf(schema.Unavailable, "no NATS server can be reached").WithCause(err))
		}
	}
	js, err := jetstream.New(c.nc)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("set up JetStream: %w", err)
	}
	c.js = js
	return c, nil
}

// CheckURL returns an Invalid error unless a URL names NATS servers: nats://host:port or tls://host:port, several with commas
// between them.
func CheckURL(servers string) error {
	scheme := ""
	for server := range strings.SplitSeq(servers, ",") {
		if scheme != "" && !strings.Contains(server, "://") {
			server = scheme + "://" + server
		}
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" || u.User != nil || scheme != "" && scheme != u.Scheme {
			return schema.Errorf(schema.Invalid, "%q is no address of NATS servers", servers).
				WithNext("write nats://host:4222 or tls://host:4222, several with commas between them").WithCause(err)
		}
		scheme = u.Scheme
	}
	return nil
}

func (c *Conn) options(o Options) []nats.Option {
	return []nats.Option{
		nats.UserCredentialBytes(o.Credentials),
		nats.Name(o.Name),
		nats.Timeout(dialLimit),
		nats.MaxReconnects(-1),
		nats.IgnoreDiscoveredServers(), // the URL names those that can be reached from here
		nats.IgnoreAuthErrorAbort(),    // an account may reach the server later than its user
		nats.ReconnectBufSize(-1),
		nats.SyncQueueLen(syncQueue),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.log.Warn("nats went away", "error", err)
			}
			c.tell(false)
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			c.log.Info("nats is back")
			c.tell(true)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			c.log.Warn("nats reports", "subject", subject, "error", err)
		}),
	}
}

// reconnectDelay returns a wait between reconnectLeast and reconnectMost that grows with the attempts, with jitter.
func reconnectDelay(attempts int) time.Duration {
	most := min(reconnectLeast<<min(max(attempts, 1), 8), reconnectMost)
	return reconnectLeast + rand.N(most-reconnectLeast) //nolint:gosec // only spreads reconnects
}

// wait waits for d, or returns ctx's error.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Up reports whether the server was there when it was last heard of. It asks nothing.
func (c *Conn) Up() bool { return c.nc.IsConnected() }

// Ping returns when the server has answered; at once, with Unavailable, while it is away.
func (c *Conn) Ping(ctx context.Context) error {
	if !c.nc.IsConnected() {
		return failed("ping NATS", nats.ErrDisconnected)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
	}
	return failed("ping NATS", c.nc.FlushWithContext(ctx))
}

// Close disconnects and returns when the connection has ended. It may be called twice.
func (c *Conn) Close() {
	c.nc.Close()
	<-c.closed
}

// watchState calls hook, which must not block, when the server goes away and when it is back, until remove is called.
func (c *Conn) watchState(hook func(up bool)) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.next
	c.next++
	c.hooks[id] = hook
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.hooks, id)
	}
}

func (c *Conn) tell(up bool) {
	c.mu.Lock()
	hooks := make([]func(bool), 0, len(c.hooks))
	for _, h := range c.hooks {
		hooks = append(hooks, h)
	}
	c.mu.Unlock()
	for _, h := range hooks {
		h(up)
	}
}
