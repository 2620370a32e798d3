package gate

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
)

// TestCoAPOnEveryAddress: bound to no address, what is asked of one is answered from it, in IPv4 and IPv6.
func TestCoAPOnEveryAddress(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Address = ":0" })
	_, port, err := net.SplitHostPort(f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dial := func(host string) *coapClient {
		c, err := net.Dial("udp", net.JoinHostPort(host, port)) // connected: it takes answers from there alone
		if err != nil {
			t.Skipf("there is no %s here: %v", host, err)
		}
		udp, ok := c.(*net.UDPConn)
		if !ok {
			t.Fatalf("a %T", c)
		}
		t.Cleanup(func() { _ = udp.Close() })
		return &coapClient{UDPConn: udp, t: t, next: 100}
	}
	for i, host := range []string{"127.0.0.1", "127.0.0.9", "::1"} {
		t.Run(host, func(t *testing.T) {
			c := dial(host)
			c.t = t
			c.ask(to("g", enrolmentKey, fmt.Sprintf("m a=%d", i)), "2.04")
		})
	}
}

// FuzzCoAP: whatever comes, the gate goes on, the books balance, and a stranger is answered by no more than three times as much.
func FuzzCoAP(f *testing.F) {
	c := &coapClient{t: f, next: 100}
	for _, a := range []ask{to("own", "gk_own", "m a=1"), to("own", "gk_own", "m b"), to("g", "x", ""), {format: -1, path: []string{".well-known", "core"}, method: 1}} {
		f.Add(c.bytes(&a))
	}
	block := to("own", "gk_own", "m a=1\nm b=2.....")
	block.more = message.Options{number(message.Block1, 8)}
	f.Add(c.bytes(&block))
	f.Add([]byte{0x40, 0, 0, 1})
	f.Add([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	fix := start(f, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 8000 {
			return
		}
		c := fix.dialCoAP(t)
		c.send(data)
		c.send([]byte{0x40, 0, 0xff, 0xff}) // answered after it, unless that waits for the log
		for {
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			buf := make([]byte, 2000)
			n, err := c.Read(buf)
			if err != nil {
				t.Fatalf("%x: %v", data, err)
			}
			if n == 4 && buf[0] == 0x70 && buf[2] == 0xff && buf[3] == 0xff {
				break
			}
			if n > 2 && buf[1] == 4<<5|1 && n > 3*len(data) {
				t.Errorf("%x is answered %x", data, buf[:n])
			}
		}
		fix.books(t)
	})
}
