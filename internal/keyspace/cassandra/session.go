package cassandra

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocql/gocql"

	"berth/schema"
)

// Times of connections and statements.
const (
	connectTimeout = 5 * time.Second
	timeout        = 10 * time.Second // above the server's own limits
	reconnectEvery = time.Second
	agreementWait  = 30 * time.Second
	retries        = 2
)

// connect opens a session without a keyspace: a missing one would look like a node that is down.
func connect(a *address, breaks *atomic.Uint64, log *slog.Logger) (*gocql.Session, error) {
	c := gocql.NewCluster(a.hosts...)
	c.Timeout, c.ConnectTimeout = timeout, connectTimeout
	c.Consistency, c.SerialConsistency = a.consistency, a.serial
	c.ReconnectInterval = reconnectEvery
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 3, Interval: reconnectEvery / 2}
	c.MaxWaitSchemaAgreement = agreementWait
	c.WriteCoalesceWaitTime = 0                                                               // a statement that waits for others waits a timer's millisecond, and a question puts some one after the other
	c.RetryPolicy, c.DefaultIdempotence = &gocql.SimpleRetryPolicy{NumRetries: retries}, true // all but those that say otherwise
	c.Logger = driverLog{log}
	c.Dialer = &dialer{breaks: breaks}
	c.SslOpts = a.tls
	if a.user != "" {
		c.Authenticator = gocql.PasswordAuthenticator{Username: a.user, Password: a.password}
	}
	fallback := gocql.RoundRobinHostPolicy()
	if a.dc != "" {
		fallback = gocql.DCAwareRoundRobinPolicy(a.dc)
	}
	c.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(fallback)
	s, err := c.CreateSession()
	if err != nil {
		return nil, schema.Errorf(schema.Unavailable, "Cassandra does not answer at %s", strings.Join(a.hosts, ", ")).
			WithNext("see that it runs, and that the keyspaces' URL is right").WithCause(err)
	}
	return s, nil
}

// dialer counts connections that end: what was written before may be lost then, if the node was killed.
type dialer struct{ breaks *atomic.Uint64 }

// DialContext opens a connection.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := net.Dialer{Timeout: connectTimeout}
	c, err := plain.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("dial %s: %T is no TCP connection", addr, c)
	}
	return &counted{TCPConn: tcp, breaks: d.breaks}, nil
}

// counted is a connection whose end is counted. That it is a TCP connection lets the driver write many frames at once.
type counted struct {
	*net.TCPConn
	once   sync.Once
	breaks *atomic.Uint64
}

// Close closes the connection. The driver calls it when the connection broke, too.
func (c *counted) Close() error {
	c.once.Do(func() { c.breaks.Add(1) })
	return c.TCPConn.Close()
}

// driverLog takes what the driver says.
type driverLog struct{ log *slog.Logger }

func (l driverLog) say(text string) {
	l.log.Debug("the driver of Cassandra says", "text", strings.TrimSpace(text))
}

// Print logs.
func (l driverLog) Print(v ...any) { l.say(fmt.Sprint(v...)) }

// Printf logs.
func (l driverLog) Printf(format string, v ...any) { l.say(fmt.Sprintf(format, v...)) }

// Println logs.
func (l driverLog) Println(v ...any) { l.say(fmt.Sprintln(v...)) }

// each calls fn for 0 to n-1, as many at a time as the backend lets be in flight. It returns the first error, after which
// it starts no more.
func (b *Backend) each(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(n, b.address.inFlight) {
		running.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				select {
				case b.slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				err := fn(ctx, i)
				<-b.slots
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}
