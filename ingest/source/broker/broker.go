// Package broker is a connection to somebody's MQTT broker, by which messages are taken one by one and acknowledged when
// their taker says so. It wraps the Paho client.
//
// It gives [Dial], which returns when the broker has granted what is subscribed to, and a connection that ends when anything
// goes wrong. When to connect again is left to its caller. Its one invariant: no message is acknowledged but by its Ack, so
// that the broker keeps it until then, in the session of this client identifier.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"berth/schema"
)

const (
	keepAlive = 30 * time.Second
	// pingLimit is how long a broker may owe the answer to a ping. Answers are read behind messages, so it is also how long a
	// taker may make everything wait before the connection is given up, and the messages come again.
	pingLimit = time.Minute
	// connectLimit bounds everything until the broker has taken the client up; and answerLimit each answer after that.
	connectLimit = 15 * time.Second
	answerLimit  = 15 * time.Second
	// writeLimit is how long a broker may take to take what is sent to it.
	writeLimit = 30 * time.Second
	// goodbyeLimit is how long the end may take.
	goodbyeLimit = time.Second
	// refusedCode is a return code of SUBACK: [MQTT-3.9.3-2].
	refusedCode = 0x80
	// qos is the quality asked for: at least once [MQTT-4.3.2-2].
	qos = 1
)

// Options say where and as whom to connect. Address and ClientID are needed.
type Options struct {
	Address  string      // host:port
	TLS      *tls.Config // nil: plain
	ClientID string      // whose session it is
	Clean    bool        // forget the session [MQTT-3.1.2-6]
	User     string      // empty: none
	Password string
	// Handle takes the messages, one at a time, in the order in which they come. While it does not return nothing more is read;
	// it must when the connection's Done is closed. It is called by another goroutine, also before Dial returns.
	Handle func(*Conn, *Message)
}

// Message is a message that the broker passed on.
type Message struct {
	Topic     string
	Payload   []byte
	Retained  bool // the broker had it when it was subscribed to: it may be old
	Truncated bool // it is longer than [MaxPayload]: the end is missing
	ack       func()
}

// Ack lets the broker forget the message. Acknowledgements go in the order of the messages [MQTT-4.6.0-2]: that is its
// caller's duty. It may wait for the network, as long as the connection lives.
func (m *Message) Ack() { m.ack() }

// Conn is a connection. It does not come back: when it is done, dial anew.
type Conn struct {
	client  mqtt.Client
	raw     net.Conn
	resumed bool
	done    chan struct{}

	mu  sync.Mutex // guards err
	err error
}

// Dial connects. The error says what the broker, or the network, has against it.
func Dial(ctx context.Context, o *Options) (*Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	raw, err := dial(dialing, o)
	if err != nil {
		return nil, err
	}
	c := &Conn{done: make(chan struct{})}
	c.raw = newGuard(raw, c.end)
	c.client = mqtt.NewClient(c.options(o))
	token, ok := c.client.Connect().(*mqtt.ConnectToken)
	if !ok {
		panic("the client's CONNECT has no token of its kind")
	}
	select {
	case <-token.Done():
	case <-dialing.Done():
		c.end(dialing.Err())
		<-token.Done() // the handshake fails on a closed connection
	}
	if err := token.Error(); err != nil {
		c.end(err)
		if cause := c.Err(); ctx.Err() == nil && !errors.Is(cause, err) && token.ReturnCode() == networkError {
			err = cause
		}
		return nil, refusalOf(token.ReturnCode(), err)
	}
	c.resumed = token.SessionPresent()
	return c, nil
}

// dial opens the network connection.
func dial(ctx context.Context, o *Options) (net.Conn, error) {
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}}
	raw, err := dialer.DialContext(ctx, "tcp", o.Address)
	if err != nil {
		return nil, schema.Errorf(schema.Unavailable, "%s cannot be reached: %s", o.Address, plain(err)).WithCause(err)
	}
	if o.TLS == nil {
		return raw, nil
	}
	secure := tls.Client(raw, o.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, schema.Errorf(schema.Unavailable, "%s and TLS: %s", o.Address, plain(err)).
			WithNext("give the certificate of whoever signed the broker's: --ca").WithCause(err)
	}
	return secure, nil
}

// plain is what a network error says, without addresses that its reader knows.
func plain(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// options returns the client's options. It never connects again by itself.
func (c *Conn) options(o *Options) *mqtt.ClientOptions {
	options := mqtt.NewClientOptions().AddBroker((&url.URL{Scheme: "tcp", Host: o.Address}).String())
	options.SetClientID(o.ClientID).SetCleanSession(o.Clean).SetProtocolVersion(4)
	options.SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(connectLimit)
	options.SetKeepAlive(keepAlive).SetPingTimeout(pingLimit)
	options.SetAutoAckDisabled(true).SetOrderMatters(true)
	if o.User != "" {
		options.SetUsername(o.User).SetPassword(o.Password)
	}
	options.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return c.raw, nil })
	options.SetConnectionLostHandler(func(_ mqtt.Client, err error) { c.end(err) })
	options.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		message := &Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), ack: m.Ack}
		if len(message.Payload) > MaxPayload {
			message.Payload, message.Truncated = message.Payload[:MaxPayload], true
		}
		if o.Handle != nil {
			o.Handle(c, message)
		}
	})
	return options
}

// The return codes of CONNACK; table 3.1. networkError is the client's own: there was none.
const (
	badVersion   = 1
	badID        = 2
	unavailable  = 3
	badPassword  = 4
	notAllowed   = 5
	networkError = 0xfe
)

// refusalOf returns why a broker does not take a client up: MQTT 3.1.1 §3.2.2.3.
func refusalOf(code byte, err error) error {
	switch code {
	case badVersion:
		return schema.Errorf(schema.Invalid, "the broker does not speak MQTT 3.1.1")
	case badID:
		return schema.Errorf(schema.Forbidden, "the broker does not take the client identifier").WithNext("give another: --client-id")
	case unavailable:
		return schema.Errorf(schema.Unavailable, "the broker says that it is unavailable")
	case badPassword:
		return schema.Errorf(schema.Unauthorized, "the broker does not know the user name and password").WithNext("add the source again, with --user and --password-file")
	case notAllowed:
		return schema.Errorf(schema.Unauthorized, "the broker does not let the client in (not authorised)").WithNext("add the source again, with --user and --password-file")
	default:
		return schema.Errorf(schema.Unavailable, "the broker ends the connection: %s", plain(err)).WithCause(err)
	}
}

// Resumed reports whether the broker had kept the session.
func (c *Conn) Resumed() bool { return c.resumed }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection has ended; nil: it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Subscribe subscribes to filters and returns those that the broker refuses. The error is that the connection is of no use.
func (c *Conn) Subscribe(ctx context.Context, filters []string) (refused []string, err error) {
	for _, filter := range filters { // each by itself: what comes of it is this filter's
		token := c.client.Subscribe(filter, qos, nil)
		if err := c.wait(ctx, token, "subscribe to "+filter); err != nil {
			return nil, err
		}
		granted, ok := token.(*mqtt.SubscribeToken)
		if !ok {
			panic("the client's SUBSCRIBE has no token of its kind")
		}
		if code, there := granted.Result()[filter]; !there || code >= refusedCode {
			refused = append(refused, filter)
		}
	}
	return refused, nil
}

// Unsubscribe ends subscriptions of the session.
func (c *Conn) Unsubscribe(ctx context.Context, filters []string) error {
	for _, filter := range filters {
		if err := c.wait(ctx, c.client.Unsubscribe(filter), "unsubscribe from "+filter); err != nil {
			return err
		}
	}
	return nil
}

// wait waits for the broker's answer.
func (c *Conn) wait(ctx context.Context, token mqtt.Token, what string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	select {
	case <-token.Done():
		if err := token.Error(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return schema.Errorf(schema.Unavailable, "the broker does not answer when asked to %s", what).WithCause(ctx.Err())
	}
}

// end takes the connection for ended. The first reason counts.
func (c *Conn) end(why error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = schema.Errorf(schema.Unavailable, "the connection is lost: %s", plain(why)).WithCause(why)
		if known, ok := errors.AsType[*schema.Error](why); ok {
			c.err = known
		}
		close(c.done)
	}
	c.mu.Unlock()
	if first && c.raw != nil {
		_ = c.raw.Close() // it has ended
	}
}

// errClosed ends a connection that nobody wants any more.
var errClosed = schema.Errorf(schema.Unavailable, "the connection was closed")

// Close says goodbye and ends the connection. No message is handled when it has returned.
func (c *Conn) Close() {
	if c.Err() == nil {
		c.client.Disconnect(uint(goodbyeLimit / time.Millisecond))
	}
	c.end(errClosed)
}
