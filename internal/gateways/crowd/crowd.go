// Package crowd is many connections of gateways to one provider's port that have each sent a reading and then wait, or send
// one now and then: what they cost the port's process is measured from outside of it. Each protocol is a line in a table.
//
// It keeps little itself and says what it sends byte by byte, so that thousands of connections cost their own process
// little too.
package crowd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/internal/gateways"
)

// protocol says what a connection says, and reads what it is answered.
type protocol struct {
	name      string
	datagrams bool                                  // it goes by UDP, and never by TLS
	within    bool                                  // within DTLS, by the crowd's key as that of Relay
	hello     says                                  // at the start; nil: nothing
	says      says                                  // with one reading
	hears     func(c *conn, in *bufio.Reader) error // the answer to either
}

// Relay is whose pre-shared key a crowd shows by DTLS.
const Relay = "crowd"

// says returns what a connection says.
type says func(c *conn) string

// conn is what a connection says of itself.
type conn struct {
	gateway, name, key string
	sent               int // readings
}

// perGateway is how many connections a gateway has: what a gateway costs is not what a connection costs.
const perGateway = 64

// protocols is the table of them.
var protocols = []protocol{
	{
		name:  "berth",
		hello: func(c *conn) string { return "HELLO " + c.gateway + " " + c.key + "\n" },
		says:  func(c *conn) string { return fmt.Sprintf("PUT %d line %d\n%s", c.sent+1, len(reading), reading) },
		hears: func(_ *conn, in *bufio.Reader) error {
			line, err := in.ReadString('\n')
			if err == nil && line != "OK\n" && !strings.HasPrefix(line, "ACK ") {
				err = fmt.Errorf("answered %q", line)
			}
			return err
		},
	},
	{
		name: "http",
		says: func(c *conn) string {
			return fmt.Sprintf("POST /write?u=%s&p=%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", c.gateway, c.key, len(reading), reading)
		},
		hears: func(_ *conn, in *bufio.Reader) error {
			answer, err := http.ReadResponse(in, nil)
			if err != nil {
				return err
			}
			if answer.StatusCode != http.StatusNoContent {
				err = fmt.Errorf("answered %s", answer.Status)
			}
			return errors.Join(err, answer.Body.Close())
		},
	},
	{name: "mqtt", hello: connect("\x04"), says: publish(""), hears: hearMQTT},
	{name: "mqtt5", hello: connect("\x05"), says: publish("\x00"), hears: hearMQTT},
	{name: "coap", datagrams: true, says: func(c *conn) string { return c.post("key=" + c.key) }, hears: hearCoAP},
	{name: "coaps", datagrams: true, within: true, says: func(c *conn) string { return c.post("") }, hears: hearCoAP},
}

// reading is what each sends, without a time, so that each is another.
const reading = "room temperature=21.5\n"

// Protocols returns the names of the protocols.
func Protocols() (names []string) {
	for _, p := range protocols {
		names = append(names, p.name)
	}
	return names
}

// Datagrams reports whether a protocol goes by UDP, and so not by TLS.
func Datagrams(name string) bool {
	return slices.ContainsFunc(protocols, func(p protocol) bool { return p.name == name && p.datagrams })
}

// Within reports whether a protocol goes within DTLS: its crowd shows a key that is Relay's.
func Within(name string) bool {
	return slices.ContainsFunc(protocols, func(p protocol) bool { return p.name == name && p.within })
}

// connect returns a CONNECT of a level that begins a session for the connection.
func connect(level string) says {
	return func(c *conn) string {
		body := field("MQTT") + level + "\xc2\x00\x00" + strings.Repeat("\x00", int(level[0]-4)) + field(c.name) + field(c.gateway) + field(c.key)
		return "\x10" + string([]byte{byte(len(body))}) + body
	}
}

// publish returns a PUBLISH at QoS 1, whose properties are of MQTT 5 or nothing.
func publish(properties string) says {
	return func(c *conn) string {
		body := field("readings/"+c.gateway+"/temperature") + "\x00\x01" + properties + "21.5"
		return "\x32" + string([]byte{byte(len(body))}) + body
	}
}

func field(text string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(text)))) + text
}

// post returns a confirmable request of CoAP (RFC 7252 §3), whose token is how many readings were sent before.
func (c *conn) post(query string) string {
	const post = "\x44\x02"
	request := binary.BigEndian.AppendUint16([]byte(post), uint16(c.sent))
	request = binary.BigEndian.AppendUint32(request, uint32(c.sent))
	option := func(delta byte, value string) {
		if n := len(value); n < 13 {
			request = append(request, delta<<4|byte(n))
		} else {
			request = append(request, delta<<4|13, byte(n-13))
		}
		request = append(request, value...)
	}
	option(11, "readings") // Uri-Path
	option(0, c.gateway)
	option(0, "temperature")
	if query != "" {
		option(4, query) // Uri-Query
	}
	return string(request) + "\xff21.5"
}

// hearCoAP reads datagrams until the answer to the last request has come: in an acknowledgement, or by itself after one.
func hearCoAP(c *conn, in *bufio.Reader) error {
	const acknowledged, changed, head = 0, 2<<5 | 4, 8
	for {
		var m [16]byte
		n, err := in.Read(m[:])
		if err != nil {
			return err
		}
		switch {
		case n >= 4 && m[1] == acknowledged:
		case n < head || binary.BigEndian.Uint32(m[4:]) != uint32(c.sent): // of one before
		case m[1] == changed:
			return nil
		default:
			return fmt.Errorf("answered %d.%02d", m[1]>>5, m[1]&31)
		}
	}
}

// hearMQTT reads a CONNACK or a PUBACK that accepts.
func hearMQTT(_ *conn, in *bufio.Reader) error {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return err
	}
	body := make([]byte, head[1])
	if _, err := io.ReadFull(in, body); err != nil {
		return err
	}
	if head[0] != 0x20 && head[0] != 0x40 || head[0] == 0x20 && body[1] != 0 || head[0] == 0x40 && len(body) > 2 && body[2] != 0 {
		return fmt.Errorf("answered %x %x", head, body)
	}
	return nil
}

// Crowd is connections of one protocol.
type Crowd struct {
	protocol protocol
	key      string
	conns    []net.Conn
	sent     int // readings, by each
}

// Come opens n connections and sends a reading on each. trust is whom to trust by TLS; nil: they are plain. The key is
// the enrolment key, or Relay's within DTLS.
func Come(ctx context.Context, name, address, key string, trust *tls.Config, n int) (*Crowd, error) {
	c := &Crowd{key: key, conns: make([]net.Conn, n)}
	for _, p := range protocols {
		if p.name == name {
			c.protocol = p
		}
	}
	if c.protocol.name == "" {
		return nil, fmt.Errorf("%q is none of %v", name, Protocols())
	}
	err := c.each(func(i int) (err error) {
		if c.conns[i], err = c.protocol.dial(ctx, address, key, trust); err != nil {
			return err
		}
		if c.protocol.hello != nil {
			if err := c.ask(i, c.protocol.hello); err != nil {
				return err
			}
		}
		return c.ask(i, c.protocol.says)
	})
	if err != nil {
		c.Leave()
		return nil, err
	}
	c.sent = 1
	return c, nil
}

// dial opens a connection. What comes by datagrams may be cut off beyond its first bytes.
func (p *protocol) dial(ctx context.Context, address, key string, trust *tls.Config) (net.Conn, error) {
	var d net.Dialer
	switch {
	case p.within:
		return gateways.DialDTLS(ctx, address, Relay, key)
	case p.datagrams:
		return d.DialContext(ctx, "udp", address)
	}
	c, err := d.DialContext(ctx, "tcp", address)
	if err == nil && trust != nil {
		c = tls.Client(c, trust)
	}
	return c, err
}

// each does something with each connection, some at a time.
func (c *Crowd) each(do func(i int) error) error {
	const atOnce = 32
	var group sync.WaitGroup
	failed := make([]error, atOnce)
	for g := range atOnce {
		group.Go(func() {
			for i := g; i < len(c.conns) && failed[g] == nil; i += atOnce {
				failed[g] = do(i)
			}
		})
	}
	group.Wait()
	return errors.Join(failed...)
}

// answerLimit is how long an answer may take.
const answerLimit = 20 * time.Second

// ask says something on a connection and hears the answer.
func (c *Crowd) ask(i int, what says) error {
	tcp := c.conns[i]
	if err := tcp.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	who := conn{gateway: fmt.Sprint(c.protocol.name, i/perGateway), name: fmt.Sprint(c.protocol.name, i), key: c.key, sent: c.sent}
	if _, err := io.WriteString(tcp, what(&who)); err != nil {
		return err
	}
	return c.protocol.hears(&who, bufio.NewReaderSize(tcp, 16))
}

// Work sends readings on all connections, one after the other on each and some connections at a time, until the context
// ends, and returns how many were acknowledged.
func (c *Crowd) Work(ctx context.Context) (acked int, err error) {
	for ctx.Err() == nil {
		if err := c.each(func(i int) error { return c.ask(i, c.protocol.says) }); err != nil {
			return acked, err
		}
		acked += len(c.conns)
		c.sent++
	}
	return acked, nil
}

// Leave closes the connections.
func (c *Crowd) Leave() {
	for _, tcp := range c.conns {
		if tcp != nil {
			_ = tcp.Close() // nothing is on its way
		}
	}
}
