package gate

import (
	"net"
	"strings"
	"testing"

	"berth/ingest/gate/intake"
)

// FuzzSniffer: what is recognised does not depend on how many bytes came at once, and is decided within FirstBytes.
func FuzzSniffer(f *testing.F) {
	for _, seed := range []string{"HELLO a b\n", "GET / HTTP/1.1\r\n", "PUT 1 line 5\n", "PUT /write", "POST", "\x16\x03\x01", "\x10\x10\x00\x04MQTT", "PING\r\n", "\x00\x0f123456789012345"} {
		f.Add([]byte(seed))
	}
	fix := start(f, nil)
	f.Fuzz(func(t *testing.T, first []byte) {
		first = first[:min(len(first), intake.FirstBytes)]
		var found intake.Listener
		decided := false
		for n := 1; n <= len(first); n++ {
			l, sure := recognise(fix.listeners, first[:n])
			if decided && l != found {
				t.Fatalf("%q: %v, then %v of %d bytes", first, found, l, n)
			}
			if l != nil || sure {
				found, decided = l, true
			}
		}
		if len(first) == intake.FirstBytes && !decided {
			t.Fatalf("%q is undecided", first)
		}
	})
}

// FuzzFrames: whatever a client with a valid key says, the session ends in order, the books balance, and what is answered
// is made of answers.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{
		frame(1, "m a=1") + frame(2, "m a=2"), "PING\n" + frame(1, "m a=1\nb"), "PUT 1 line 99999999\n", "PUT 1 json 2\n{}", "PUT 1 line 5\r\nm a=1\r\n\r\nPUT 3 line 1\na",
		"PUT 1 line 1048577\n" + strings.Repeat("a", 300), "PUT -1 line 5\n", "PUT 1 line 5000\n" + strings.Repeat("m a=1 ", 1000), strings.Repeat("x", 600),
	} {
		f.Add([]byte(seed), 7)
	}
	f.Fuzz(func(t *testing.T, said []byte, cut int) {
		if len(said) > 20_000 {
			return
		}
		fix := start(t, func(_ *fixture, o *Options) { o.Limits = intake.Limits{Linger: 1} })
		answers := fix.talkLoosely(t, "HELLO g "+enrolmentKey+"\n"+string(said), cut)
		for line := range strings.Lines(answers) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			switch word {
			case "OK", "PONG", "ACK", "NAK", "ERR":
			default:
				t.Errorf("answered %q", line)
			}
		}
		fix.stop(t)
		if _, inHand := fix.committer.Totals(); inHand != 0 {
			t.Errorf("%d frames in hand", inHand)
		}
		fix.books(t)
	})
}

// talkLoosely says it all, however early the server ends the connection, and returns the answers that came.
func (f *fixture) talkLoosely(t testing.TB, said string, cut int) string {
	t.Helper()
	theirs, ours := net.Pipe()
	f.admit(&cutPipe{Conn: theirs, left: cut})
	answers := make(chan string)
	go func() {
		var b strings.Builder
		buf := make([]byte, 1024)
		for {
			n, err := ours.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				answers <- b.String()
				return
			}
		}
	}()
	_, _ = ours.Write([]byte(said))
	f.eventually(t, "all was read", func() bool { _, n := f.committer.Totals(); return n == 0 })
	_ = ours.Close()
	return <-answers
}

// cutPipe is a connection whose reads never go beyond a place.
type cutPipe struct {
	net.Conn
	left int
}

func (c *cutPipe) Read(p []byte) (int, error) {
	if c.left > 0 {
		p = p[:min(c.left, len(p))]
	}
	n, err := c.Conn.Read(p)
	c.left -= n
	return n, err
}
