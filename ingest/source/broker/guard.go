package broker

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"time"

	"berth/schema"
)

const (
	// MaxPayload is the longest payload that is handed on.
	MaxPayload = schema.MaxFrame
	// maxBody is how much of a PUBLISH the client gets to see: of one that is longer the payload is longer than MaxPayload,
	// whatever its topic is. The rest is skipped, so that memory is bounded and what comes behind it is read.
	maxBody = MaxPayload + 2 + 0xffff + 2 + 1
	// maxOther is the longest packet of another kind.
	maxOther = 1 << 10
	// subackBody is the length of a SUBACK of one subscription [MQTT-3.8.4-5]; the client would trust another.
	subackBody = 3
	// The kinds of packet that are told apart; table 2.1.
	publish, suback = 3, 9
	// readBuffer is how much is read at once.
	readBuffer = 16 << 10
)

// errGivenUp ends a connection that the client itself closes.
var errGivenUp = errors.New("the broker does not answer pings, or does not speak MQTT")

// guard stands between the network and the client, which takes any length for granted and waits for ever to write. It has one
// reader.
type guard struct {
	net.Conn
	in    *bufio.Reader
	ended func(why error)

	head []byte // of a packet: what is left of it for the client
	body int    // what is left of the body for the client
	skip int    // what comes after it, and is not for the client
}

func newGuard(c net.Conn, ended func(why error)) *guard {
	return &guard{Conn: c, in: bufio.NewReaderSize(c, readBuffer), ended: ended}
}

// Read reads what the client is to see.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.read(p)
	if err != nil {
		g.ended(err)
	}
	return n, err
}

func (g *guard) read(p []byte) (int, error) {
	if len(g.head) == 0 && g.body == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	if len(g.head) > 0 {
		n := copy(p, g.head)
		g.head = g.head[n:]
		return n, nil
	}
	n, err := g.in.Read(p[:min(len(p), g.body)])
	g.body -= n
	return n, err
}

// next skips what is left of a packet, and reads the head of the next one.
func (g *guard) next() error {
	n, err := g.in.Discard(g.skip)
	g.skip -= n
	if err != nil {
		return err
	}
	first, err := g.in.ReadByte()
	if err != nil {
		return err
	}
	length := 0
	for shift := 0; ; shift += 7 { // §2.2.3
		b, err := g.in.ReadByte()
		if err != nil {
			return err
		}
		length |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 21 {
			return errors.New("the broker sends a packet whose length cannot be")
		}
	}
	return g.begin(first, length)
}

// begin decides what the client sees of a packet.
func (g *guard) begin(first byte, length int) error {
	g.body = length
	switch kind := first >> 4; {
	case kind == publish:
		g.body = min(length, maxBody)
	case kind == suback && length != subackBody, length > maxOther:
		return fmt.Errorf("the broker sends a packet of kind %d that is %d bytes long", kind, length)
	}
	g.skip = length - g.body
	g.head = append(g.head[:0], first)
	for rest := g.body; ; {
		b := byte(rest & 0x7f)
		if rest >>= 7; rest > 0 {
			b |= 0x80
		}
		g.head = append(g.head, b)
		if rest == 0 {
			return nil
		}
	}
}

// Write writes within a limit.
func (g *guard) Write(p []byte) (int, error) {
	_ = g.SetWriteDeadline(time.Now().Add(writeLimit)) // a closed connection fails at the write
	n, err := g.Conn.Write(p)
	if err != nil {
		g.ended(err)
	}
	return n, err
}

// Close closes the connection.
func (g *guard) Close() error {
	g.ended(errGivenUp)
	return g.Conn.Close()
}
