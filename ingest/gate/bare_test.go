package gate

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/schema/record"
)

// allowLoopback lets this machine send without a key.
func allowLoopback(f *fixture, _ *Options) { f.pipeline.Settings.Networks = []string{"127.0.0.0/8"} }

func TestLinesWithoutAKey(t *testing.T) {
	f := start(t, allowLoopback)
	c := f.dial(t)
	c.send("cpu,host=a usage=1 1767225600000000000\n")
	f.eventually(t, "the first line is stored, though the connection goes on", func() bool { return len(f.readings(t)) == 1 })
	c.send("cpu,host=b usage=2\ncpu usage=3\ncpu,host=own usage=4\ncpu,host=gone usage=5\ncpu,host=a usage=warm\n# a comment\n\ncpu,host=a usage=6")
	_ = c.CloseWrite()
	c.expectEnd()
	if diff := cmp.Diff([]string{"a cpu.usage 1", "b cpu.usage 2"}, f.readings(t)); diff != "" {
		t.Error(diff)
	}
	totals := f.books(t)
	for reason, want := range map[string]uint64{format.ReasonNoGateway: 1, format.ReasonNotAllowed: 2, format.ReasonSyntax: 1} {
		if totals.Reasons[reason] != want {
			t.Errorf("%s is counted %d times, want %d", reason, totals.Reasons[reason], want)
		}
	}
	if totals.FramesGivenUp != 1 || totals.FramesCommitted != 2 || totals.Strangers != 0 {
		t.Errorf("the books say %+v", totals)
	}
	f.eventually(t, "what was refused is kept", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.rejects) == 1 && string(f.rejects[0].Raw) == "cpu usage=3\ncpu,host=own usage=4\ncpu,host=gone usage=5\ncpu,host=a usage=warm\n" && f.rejects[0].Protocol == "line"
	})
	// The other protocols are told as ever.
	f.hello(t, "own", "gk_own")
	if status, _, _ := f.request(t, httpCase{path: "/write", user: "own", password: "gk_own"}, strings.NewReader("m a=1")); status != http.StatusNoContent {
		t.Errorf("HTTP is answered %d", status)
	}
}

// TestATextMayHoldLinesEnds, wherever what is sent is cut.
func TestATextMayHoldLinesEnds(t *testing.T) {
	const said = "m,host=a t=\"first\nm,host=a t=2\n\",b=3\nm,host=a c=\"4\"\n"
	for cut := range len(said) {
		f := start(t, allowLoopback)
		_ = f.talk(t, said, func(c *net.TCPConn) net.Conn { return &cutConn{TCPConn: c, left: cut, every: cut == 0} })
		if diff := cmp.Diff([]string{"a m.t first\nm,host=a t=2\n", "a m.b 3", "a m.c 4"}, f.readings(t)); diff != "" {
			t.Fatalf("cut at %d: %s", cut, diff)
		}
		f.stop(t)
	}
}

// TestATextThatDoesNotEnd takes no more with it than its own line, once that is sure, or what comes until the end.
func TestATextThatDoesNotEnd(t *testing.T) {
	f := start(t, allowLoopback)
	c := f.dial(t)
	c.send("m,host=a t=\"endless\n" + strings.Repeat("n,host=a x=1\n", 6000))
	f.eventually(t, "what follows is stored", func() bool { return f.books(t).Accepted == 6000 })
	c.send("m,host=a t=\"endless\nn,host=a x=1\nn,host=a")
	_ = c.CloseWrite()
	c.expectEnd()
	if totals := f.books(t); totals.Reasons[format.ReasonSyntax] != 2 || totals.FramesGivenUp != 1 || totals.Accepted != 6000 {
		t.Errorf("the books say %+v", totals)
	}
}

func TestOnlyAllowedNetworksNeedNoKey(t *testing.T) {
	for name, change := range map[string]func(s *record.Settings){
		"none allowed":    func(*record.Settings) {},
		"another network": func(s *record.Settings) { s.Networks = []string{"10.0.0.0/8", "::1/128"} },
		"tls alone":       func(s *record.Settings) { s.Networks, s.RequireTLS = []string{"127.0.0.1/32"}, true },
	} {
		f := start(t, func(f *fixture, _ *Options) { change(&f.pipeline.Settings) })
		c := f.dial(t)
		c.send("cpu,host=a usage=1\n")
		c.expect("ERR invalid this port takes HELLO")
		if got := f.readings(t); len(got) != 0 {
			t.Errorf("%s: stored %v", name, got)
		}
	}
	// What does not print is no line protocol, even there.
	f := start(t, allowLoopback)
	c := f.dial(t)
	c.send("cpu\x00\x01\n")
	c.expectEnd()
	// Within TLS it is taken where TLS is required; and it ends when the network is allowed no more.
	f, a := startTLS(t, allowLoopback)
	f.requireTLS(true)
	s := f.dialTLS(t, a.config())
	if _, err := io.WriteString(s, "cpu,host=a usage=1\n"); err != nil {
		t.Fatal(err)
	}
	f.eventually(t, "it is stored", func() bool { return len(f.readings(t)) == 1 })
	p := *f.pipeline
	p.Settings.Networks = nil
	f.Set(&p, ownKeys())
	_ = s.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := s.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("a connection of a network that is allowed no more goes on: %v", err)
	}
}

// TestLinesAreHeldBackByTCP sends without end while the log takes nothing: what is held is bounded, the sender waits, and
// nothing is lost when it goes on.
func TestLinesAreHeldBackByTCP(t *testing.T) {
	f := start(t, func(f *fixture, o *Options) {
		smallQueue(f, o)
		allowLoopback(f, o)
	})
	f.log.Hold(true)
	c := f.dial(t)
	_ = c.SetWriteBuffer(16 << 10)
	sent := 0
	for {
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		var lines strings.Builder
		for range 1000 {
			fmt.Fprintf(&lines, "m,host=g a=%d %d\n", sent, time.Now().UnixNano())
			sent++
		}
		text := lines.String()
		n, err := io.WriteString(c.TCPConn, text)
		if err != nil {
			sent -= 1000 - strings.Count(text[:n], "\n")
			if n > 0 && text[n-1] != '\n' { // what is left of the line that was cut
				_ = c.SetWriteDeadline(time.Time{})
				sent++
				go func() {
					_, _ = io.WriteString(c.TCPConn, text[n:n+strings.IndexByte(text[n:], '\n')+1])
					_ = c.CloseWrite()
				}()
			} else {
				_ = c.CloseWrite()
			}
			break
		}
		if sent > 10_000_000 {
			t.Fatal("nothing holds the sender back")
		}
	}
	f.log.Hold(false)
	f.eventually(t, "all is stored", func() bool { return f.books(t).Accepted == uint64(sent) })
	c.expectEnd()
}

func TestALineThatIsTooLongEndsItsConnection(t *testing.T) {
	f := start(t, allowLoopback)
	c := f.dial(t)
	c.send("cpu,host=a usage=1\n")
	go func() { _, _ = io.WriteString(c.TCPConn, "m,host=a t=\""+strings.Repeat("x", 3<<20)) }() // it may be cut off
	c.expectEndSomehow()
	if n := f.books(t).Reasons[intake.ReasonFrameSize]; n != 1 || len(f.readings(t)) != 1 {
		t.Errorf("%d are counted, stored are %v", n, f.readings(t))
	}
}
