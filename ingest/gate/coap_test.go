package gate

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
)

// coapClient speaks CoAP by the codec of go-coap.
type coapClient struct {
	*net.UDPConn
	t    testing.TB
	next int32
}

func (f *fixture) dialCoAP(t testing.TB) *coapClient {
	t.Helper()
	c, err := net.Dial("udp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	udp, ok := c.(*net.UDPConn)
	if !ok {
		t.Fatalf("a %T", c)
	}
	t.Cleanup(func() { _ = udp.Close() })
	return &coapClient{UDPConn: udp, t: t, next: 100}
}

// ask is a request as tests have it.
type ask struct {
	method codes.Code // POST if 0
	plain  bool       // non-confirmable
	id     int32      // the next if 0
	token  string
	path   []string
	query  []string
	format int // of the payload; -1: none
	more   message.Options
	body   string
}

// to returns a request of a gateway's.
func to(gateway, key string, body string) ask {
	return ask{path: []string{"readings", gateway}, query: []string{"key=" + key}, format: -1, token: "t", body: body}
}

// bytes returns the datagram.
func (c *coapClient) bytes(a *ask) []byte {
	c.t.Helper()
	if a.id == 0 {
		c.next++
		a.id = c.next
	}
	if a.method == 0 {
		a.method = codes.POST
	}
	m := message.Message{Type: message.Confirmable, Code: a.method, MessageID: a.id, Token: message.Token(a.token), Payload: []byte(a.body)}
	if a.plain {
		m.Type = message.NonConfirmable
	}
	for _, p := range a.path {
		m.Options = m.Options.Add(message.Option{ID: message.URIPath, Value: []byte(p)})
	}
	for _, q := range a.query {
		m.Options = m.Options.Add(message.Option{ID: message.URIQuery, Value: []byte(q)})
	}
	if a.format >= 0 {
		m.Options = m.Options.Add(number(message.ContentFormat, a.format))
	}
	for _, o := range a.more {
		m.Options = m.Options.Add(o)
	}
	buf := make([]byte, 64<<10)
	n, err := coder.DefaultCoder.Encode(m, buf)
	if err != nil {
		c.t.Fatal(err)
	}
	return buf[:n]
}

// number returns an option that is a number.
func number(id message.OptionID, n int) message.Option {
	var value []byte
	for shift := 24; shift >= 0; shift -= 8 {
		if n>>shift != 0 {
			value = append(value, byte(n>>shift))
		}
	}
	return message.Option{ID: id, Value: value}
}

func (c *coapClient) send(data []byte) {
	c.t.Helper()
	if _, err := c.Write(data); err != nil {
		c.t.Fatal(err)
	}
}

// receive waits for a message; nil: none came.
func (c *coapClient) receive(most time.Duration) *message.Message {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(most))
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	if err != nil {
		return nil
	}
	m := &message.Message{Options: make(message.Options, 0, 16)}
	if _, err := coder.DefaultCoder.Decode(buf[:n], m); err != nil {
		c.t.Fatalf("%x: %v", buf[:n], err)
	}
	return m
}

// expect waits for a message of a type and a code such as 2.04.
func (c *coapClient) expect(kind message.Type, code string) *message.Message {
	c.t.Helper()
	m := c.receive(time.Minute)
	if m == nil {
		c.t.Fatalf("there is no answer, want %s %s", kind, code)
	}
	if got := dotted(m.Code); m.Type != kind || got != code {
		c.t.Fatalf("answered %s %s %q, want %s %s", m.Type, got, m.Payload, kind, code)
	}
	return m
}

// dotted returns a code as it is written.
func dotted(c codes.Code) string { return fmt.Sprintf("%d.%02d", c>>5, c&31) }

// ask sends a request and expects the answer in the acknowledgement.
func (c *coapClient) ask(a ask, code string) *message.Message {
	c.t.Helper()
	c.send(c.bytes(&a))
	m := c.expect(message.Acknowledgement, code)
	if m.MessageID != a.id || string(m.Token) != a.token {
		c.t.Fatalf("answered with message %d and token %q, want %d and %q", m.MessageID, m.Token, a.id, a.token)
	}
	return m
}

func TestCoAP(t *testing.T) {
	text := func(a ask) ask { a.format = 0; return a }
	of := func(format int, a ask) ask { a.format = format; return a }
	on := func(a ask, more ...string) ask { a.path = append(a.path, more...); return a }
	for _, c := range []struct {
		name     string
		ask      ask
		code     string
		text     string // part of the payload
		readings []string
	}{
		{name: "lines", ask: to("g", enrolmentKey, "m a=1,b=2"), code: "2.04", readings: []string{"g m.a 1", "g m.b 2"}},
		{name: "lines as text", ask: text(to("g", enrolmentKey, "m a=1")), code: "2.04", readings: []string{"g m.a 1"}},
		{name: "JSON as it looks", ask: to("g", enrolmentKey, `{"a":21.5}`), code: "2.04", readings: []string{"g a 21.5"}},
		{name: "JSON", ask: of(50, to("g", enrolmentKey, `{"a":21.5}`)), code: "2.04", readings: []string{"g a 21.5"}},
		{name: "SenML", ask: of(110, to("g", enrolmentKey, `[{"n":"a","u":"V","v":1}]`)), code: "2.04", readings: []string{"g a,unit=V 1"}},
		{name: "SenML in CBOR", ask: of(112, to("g", enrolmentKey, "\x81\xa3\x00\x61a\x01\x61V\x02\x05")), code: "2.04", readings: []string{"g a,unit=V 5"}},
		{name: "SenML as CBOR", ask: of(60, to("g", enrolmentKey, "\x81\xa3\x00\x61a\x01\x61V\x02\x05")), code: "2.04", readings: []string{"g a,unit=V 5"}},
		{name: "other CBOR", ask: of(60, to("g", enrolmentKey, "\xa1\x61a\x01")), code: "4.00", text: "no array of records"},
		{name: "a bare value", ask: on(to("g", enrolmentKey, "21.5"), "boiler", "temperature"), code: "2.04", readings: []string{"g boiler/temperature 21.5"}},
		{name: "an own key", ask: to("own", "gk_own", "m a=1"), code: "2.04", readings: []string{"own m.a 1"}},
		{name: "an own key without a name", ask: ask{path: []string{"readings"}, query: []string{"key=gk_own"}, format: -1, body: "m a=1"}, code: "2.04", readings: []string{"own m.a 1"}},
		{name: "a relay", ask: to("z", "gk_relay", "m a=1"), code: "2.04", readings: []string{"z m.a 1"}},
		{name: "PUT", ask: func() ask { a := to("g", enrolmentKey, "m a=1"); a.method = codes.PUT; return a }(), code: "2.04", readings: []string{"g m.a 1"}},
		{name: "partly", ask: to("g", enrolmentKey, "m a=1\nm b"), code: "4.00", text: "1 of 2 readings were stored; line 2", readings: []string{"g m.a 1"}},
		{name: "none of it", ask: to("g", enrolmentKey, "m b"), code: "4.00", text: "line 1"},
		{name: "no key", ask: ask{path: []string{"readings", "g"}, format: -1}, code: "4.01"},
		{name: "a wrong key", ask: to("g", "nonsense", "m a=1"), code: "4.01"},
		{name: "a revoked key", ask: to("gone", "gk_gone", "m a=1"), code: "4.01"},
		{name: "another's name", ask: to("g", "gk_own", "m a=1"), code: "4.03"},
		{name: "another's name in a line", ask: to("own", "gk_own", "m,gateway=g a=1"), code: "4.03"},
		{name: "a format that is not taken", ask: of(41, to("g", enrolmentKey, "<a/>")), code: "4.15", text: "Content-Format 41"},
		{name: "JSON for a sensor", ask: on(of(50, to("g", enrolmentKey, `21`)), "s"), code: "4.15"},
		{name: "elsewhere", ask: ask{path: []string{"nothing"}, format: -1}, code: "4.04"},
		{name: "GET", ask: func() ask { a := to("g", enrolmentKey, ""); a.method = codes.GET; return a }(), code: "4.05"},
		{name: "a method there is not", ask: func() ask { a := to("g", enrolmentKey, ""); a.method = 9; return a }(), code: "4.05"},
		{name: "an option that must be understood", ask: func() ask {
			a := to("g", enrolmentKey, "m a=1")
			a.more = message.Options{{ID: 9, Value: []byte{1}}}
			return a
		}(), code: "4.02"},
		{name: "one that need not", ask: func() ask {
			a := to("g", enrolmentKey, "m a=1")
			a.more = message.Options{{ID: 65000, Value: []byte{1}}, {ID: 6}}
			return a
		}(), code: "2.04", readings: []string{"g m.a 1"}},
		{name: "a proxy", ask: func() ask {
			a := to("g", enrolmentKey, "m a=1")
			a.more = message.Options{{ID: message.ProxyURI, Value: []byte("coap://a")}}
			return a
		}(), code: "5.05"},
		{name: "what there is", ask: ask{method: codes.GET, path: []string{".well-known", "core"}, format: -1}, code: "2.05", text: "</readings>"},
		{name: "what there is, in a format that there is not", ask: ask{method: codes.GET, path: []string{".well-known", "core"}, format: -1, more: message.Options{number(message.Accept, 50)}}, code: "4.06"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, nil)
			m := f.dialCoAP(t).ask(c.ask, c.code)
			if got := string(m.Payload); !strings.Contains(got, c.text) {
				t.Errorf("said %q, want %q", got, c.text)
			}
			if diff := cmp.Diff(c.readings, f.readings(t)); diff != "" {
				t.Error(diff)
			}
			if totals := f.books(t); totals.Accepted != uint64(len(c.readings)) {
				t.Errorf("%+v", totals)
			}
		})
	}
}
