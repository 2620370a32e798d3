package gateways

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"berth/schema"
)

// The bytes of CoAP that a gateway needs (RFC 7252 §3, §5.10).
const (
	coapConfirmablePost = 0x44 // with a token of four bytes; the code follows
	coapPost            = 2
	coapAcknowledgement = 0x60
	coapChanged         = 2<<5 | 4
	coapTooMany         = 4<<5 | 29
	coapUnavailable     = 5<<5 | 3
	coapMaxAge          = 14 // option
	coapTokenSize       = 4
	// coapDatagram is the longest that ingest reads.
	coapDatagram = 8 << 10
)

// How long an answer is waited for before a request is sent again, and how often that is done (RFC 7252 §4.8).
const (
	coapAckTimeout    = 2 * time.Second
	coapMaxRetransmit = 4
	// coapResponse is how long a response of its own is waited for, after the request was acknowledged.
	coapResponse = 20 * time.Second
	// coapStep is how long is read at most before it is looked whether something is to be sent.
	coapStep = 50 * time.Millisecond
)

// exchange is a frame on its way.
type exchange struct {
	data  []byte // the request
	first time.Time
	sent  time.Time // last
	next  time.Time // when it is sent again
	wait  time.Duration
	tries int
	done  bool
}

// speakCoAP posts frames as confirmable requests, up to the window without waiting: their answers may come in any order. It
// writes the messages itself, so that what ingest reads by a codec is not written by the same.
func (f *Fleet) speakCoAP(ctx context.Context, g *gateway) error {
	conn, err := (&net.Dialer{Timeout: dialLimit}).DialContext(ctx, "udp", f.options.Address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close() //nolint:errcheck // what matters was acknowledged
	return f.postOver(ctx, g, conn, f.options.Key)
}

// postOver posts frames over a connection of datagrams. Without a key the connection itself shows one: it is a session, and
// is given up when the port seems to have forgotten it.
func (f *Fleet) postOver(ctx context.Context, g *gateway, conn net.Conn, key string) error {
	s := coapSession{fleet: f, gateway: g, conn: conn, key: key, frame: g.acked.Load(), id: uint16(rand.Uint32())} //nolint:gosec // no secret
	for s.next = time.Now(); !f.done(g.acked.Load()); {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the fleet was told to stop
		}
		if err := s.send(); err != nil {
			return err
		}
		if err := s.receive(); err != nil {
			return fmt.Errorf("wait for an answer: %w", err)
		}
	}
	return nil
}

// coapSession is what a gateway sends from one address.
type coapSession struct {
	fleet   *Fleet
	gateway *gateway
	conn    net.Conn
	key     string
	heard   time.Time // when anything came last
	id      uint16    // of the last message
	frame   int64     // the next that is sent
	next    time.Time
	open    []*exchange // frames acked … frame−1
	payload []byte
	buf     [1500]byte
}

// send sends what there is room for, and again what was not answered in time.
func (s *coapSession) send() error {
	now := time.Now()
	for _, x := range s.open {
		if x.done || now.Before(x.next) {
			continue
		}
		if x.tries++; x.tries > coapMaxRetransmit || s.key == "" && s.heard.Before(x.sent) {
			return schema.Errorf(schema.Unavailable, "a request was not answered")
		}
		x.wait *= 2
		x.sent, x.next = now, now.Add(x.wait)
		s.gateway.again.Add(1)
		if _, err := s.conn.Write(x.data); err != nil {
			return err
		}
	}
	o := &s.fleet.options
	for len(s.open) < o.Window && !s.fleet.done(s.frame) && !now.Before(s.next) {
		if o.Rate > 0 {
			s.next = s.next.Add(time.Duration(float64(time.Second) / o.Rate))
		}
		if err := s.post(now); err != nil {
			return err
		}
	}
	return nil
}

// post sends the next frame.
func (s *coapSession) post(now time.Time) error {
	g := s.gateway
	if s.frame < g.sent.Load() {
		g.again.Add(1)
	} else {
		g.sent.Store(s.frame + 1)
	}
	s.payload = s.fleet.appendFrame(s.payload[:0], g, s.frame)
	s.id++
	data := s.request(uint32(s.frame))
	if len(data) > coapDatagram {
		return schema.Errorf(schema.TooLarge, "a frame of %d bytes fits into no datagram", len(s.payload)).WithNext("put less into a frame")
	}
	wait := coapAckTimeout + rand.N(coapAckTimeout/2) //nolint:gosec // jitter, no secret
	s.open = append(s.open, &exchange{data: data, first: now, sent: now, next: now.Add(wait), wait: wait})
	s.frame++
	_, err := s.conn.Write(data)
	return err
}

// request returns a request that brings the payload.
func (s *coapSession) request(token uint32) []byte {
	data := append(make([]byte, 0, 128+len(s.payload)), coapConfirmablePost, coapPost)
	data = binary.BigEndian.AppendUint16(data, s.id)
	data = binary.BigEndian.AppendUint32(data, token)
	option := func(delta byte, value string) {
		if len(value) < 13 {
			data = append(data, delta<<4|byte(len(value)))
		} else {
			data = append(data, delta<<4|13, byte(len(value)-13))
		}
		data = append(data, value...)
	}
	option(11, "readings") // Uri-Path
	option(0, s.gateway.name)
	option(1, map[string]string{"line": "", "senml+json": "\x6e", "senml+cbor": "\x70"}[s.fleet.options.Format]) // Content-Format
	if s.key != "" {
		option(3, "key="+s.key) // Uri-Query
	}
	return append(append(data, 0xff), s.payload...)
}

// receive reads one message, or none for a while.
func (s *coapSession) receive() error {
	wait := coapStep
	if s.fleet.options.Rate > 0 && len(s.open) < s.fleet.options.Window {
		wait = min(wait, max(time.Until(s.next), 0))
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(wait)) // a closed connection fails at the read
	n, err := s.conn.Read(s.buf[:])
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return nil
	}
	if err != nil {
		return err
	}
	s.heard = time.Now()
	data := s.buf[:n]
	if n < 4 {
		return schema.Errorf(schema.Invalid, "%x is no answer", data)
	}
	kind, code := data[0]&0x30, data[1]
	if kind == 0 { // a response of its own is acknowledged
		if _, err := s.conn.Write([]byte{coapAcknowledgement, 0, data[2], data[3]}); err != nil {
			return err
		}
	}
	if code == 0 {
		return s.acknowledged(binary.BigEndian.Uint16(data[2:]), kind)
	}
	if data[0]&15 != coapTokenSize || n < 4+coapTokenSize {
		return schema.Errorf(schema.Invalid, "%x answers no request", data)
	}
	return s.answered(binary.BigEndian.Uint32(data[4:]), code, data[4+coapTokenSize:])
}

// acknowledged takes an empty message: the answer comes later, or the request was rejected.
func (s *coapSession) acknowledged(id uint16, kind byte) error {
	if kind != coapAcknowledgement&0x30 {
		return schema.Errorf(schema.Invalid, "message %d was reset", id)
	}
	for _, x := range s.open {
		if !x.done && binary.BigEndian.Uint16(x.data[2:]) == id {
			x.next = time.Now().Add(coapResponse)
		}
	}
	return nil
}

// answered takes the answer to a frame, whose number ends as the token says.
func (s *coapSession) answered(token uint32, code byte, rest []byte) error {
	g := s.gateway
	at := int(token - uint32(g.acked.Load()))
	if at < 0 || at >= len(s.open) || s.open[at].done {
		return nil // it was answered before
	}
	x, now := s.open[at], time.Now()
	switch code {
	case coapChanged:
		x.done = true
		s.fleet.latency.add(now.Sub(x.first))
	case coapTooMany, coapUnavailable: // it is asked again, as another message
		s.id++
		binary.BigEndian.PutUint16(x.data[2:], s.id)
		x.tries, x.wait = 0, coapAckTimeout
		x.next = now.Add(maxAge(rest))
	default:
		return schema.Errorf(schema.Invalid, "a frame was answered %d.%02d %q", code>>5, code&31, rest)
	}
	for len(s.open) > 0 && s.open[0].done {
		s.open = s.open[1:]
		g.acked.Add(1)
	}
	return nil
}

// maxAge returns when to come again, by the first options of an answer; a second if they do not say.
func maxAge(options []byte) time.Duration {
	number := 0
	for len(options) > 0 && options[0] != 0xff {
		delta, length := int(options[0]>>4), int(options[0]&15)
		if delta > 12 || length > 12 || length >= len(options) {
			break
		}
		if number += delta; number == coapMaxAge {
			seconds := 0
			for _, b := range options[1 : 1+length] {
				seconds = seconds<<8 | int(b)
			}
			return time.Duration(seconds) * time.Second
		}
		options = options[1+length:]
	}
	return time.Second
}
