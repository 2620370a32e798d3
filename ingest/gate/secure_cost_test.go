package gate

import (
	"crypto/tls"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"berth/ingest/gate/intake"
	"berth/ingest/gate/secure"
)

// Costs of crypto/tls, the test's own side included, and what the committer and the head come to hold meanwhile.
const (
	maxHalfHello = 16 << 10
	maxHandshake = 64 << 10
	maxIdleTLS   = 64 << 10
)

func TestWhatTLSCosts(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a thousand connections")
	}
	if !alone(t) {
		return
	}
	f, a := startTLS(t, func(_ *fixture, o *Options) { o.Limits = intake.Limits{FirstFrame: time.Minute} })
	hello := string(aHello(t, a))
	f.dialTLS(t, a.config()).say("HELLO warm "+enrolmentKey+"\n", "OK")
	cost := func(what string, most float64, n int, open func(i int) io.Closer) {
		t.Helper()
		before := inUse()
		all := make([]io.Closer, n)
		for i := range all {
			all[i] = open(i)
		}
		f.eventually(t, "all are open", func() bool { return f.Connections() >= n })
		got := (inUse() - before) / float64(n)
		t.Logf("%.0f bytes for each %s and the test's side of it", got, what)
		if got > most {
			t.Errorf("each %s costs %.0f bytes, more than %.0f", what, got, most)
		}
		runtime.KeepAlive(all)
		for _, c := range all {
			_ = c.Close()
		}
		f.eventually(t, "all are gone", func() bool { return f.Connections() <= 1 })
	}
	cost("half of a ClientHello", maxHalfHello, 1000, func(int) io.Closer {
		c := f.dial(t)
		c.in = nil
		c.send(hello[:len(hello)/2])
		return c
	})
	cost("ClientHello that waits or is answered", maxHalfHello, 1000, func(int) io.Closer {
		c := f.dial(t)
		c.in = nil
		c.send(hello)
		return c
	})
	cost("handshake that does not go on", maxHandshake, secure.MostOfAddress, func(int) io.Closer {
		c := f.dial(t)
		c.in = nil
		c.send(hello)
		return c
	})
	cost("idle connection of Berth frames within TLS", maxIdleTLS, 1000, func(i int) io.Closer {
		c := f.dialTLS(t, a.config())
		c.say(fmt.Sprintf("HELLO g%d ", i)+enrolmentKey+"\n", "OK")
		c.say(frame(1, "m v=1"), "ACK 1")
		c.in = nil
		return c.Conn
	})
}

func BenchmarkHandshake(b *testing.B) {
	f, a := startTLS(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		c := tls.Client(f.dial(b).TCPConn, a.config())
		if err := c.HandshakeContext(b.Context()); err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}
