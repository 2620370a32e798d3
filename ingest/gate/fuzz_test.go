package gate

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

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

// FuzzHTTP: whatever comes after the key of a request (a header, a body, another request), each answer is one of HTTP, the
// books balance, and nothing stays in hand.
func FuzzHTTP(f *testing.F) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte("m a=1")) // memory takes it
	_ = w.Close()
	for _, seed := range []string{
		"Content-Length: 5\r\n\r\nm a=1", "Transfer-Encoding: chunked\r\n\r\n5\r\nm a=1\r\n0\r\n\r\n", "Content-Length: 99\r\n\r\nm a=1",
		"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nm", "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nm a=1",
		"Content-Length: 5\r\n\r\nm a=1GET /health HTTP/1.1\r\nHost: b\r\n\r\n", "\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", zipped.Len(), zipped.String()),
	} {
		f.Add("/write?precision=s", []byte(seed))
		f.Add("/api/v1/readings?gateway=g", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, path string, rest []byte) {
		if len(rest) > 20_000 || strings.ContainsAny(path, " \r\n") || bytes.Contains(rest, []byte("HEAD ")) { // whose answer has no body, whatever its header says
			return
		}
		fix := start(t, func(_ *fixture, o *Options) {
			o.Limits = intake.Limits{FirstFrame: time.Second, Frame: time.Second, Linger: 1}
		})
		said := "POST " + path + " HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\n" + string(rest)
		answers := bufio.NewReader(strings.NewReader(fix.talkLoosely(t, said, -1)))
		for {
			if _, err := answers.Peek(1); err != nil {
				break
			}
			answer, err := http.ReadResponse(answers, nil)
			if errors.Is(err, io.ErrUnexpectedEOF) { // we closed before all of it had come
				break
			}
			if err != nil {
				t.Fatalf("%q is answered by what is no answer: %v", said, err)
			}
			_, _ = io.Copy(io.Discard, answer.Body) // it may be cut off with the connection
			_ = answer.Body.Close()
		}
		fix.stop(t)
		if _, inHand := fix.committer.Totals(); inHand != 0 {
			t.Errorf("%d frames in hand", inHand)
		}
		fix.books(t)
	})
}

// FuzzMQTT: whatever a client with a valid key says, the session ends in order, the books balance, and what is answered is
// made of packets.
func FuzzMQTT(f *testing.F) {
	for _, seed := range []string{
		"\x32\x0f\x00\x0creadings/g/a\x00\x011", "\x34\x0f\x00\x0creadings/g/a\x00\x011\x62\x02\x00\x01", "\x82\x11\x00\x01\x00\x0ccommands/g/#\x01\xc0\x00",
		"\xa2\x10\x00\x01\x00\x0ccommands/g/#\xe0\x00", "\x30\xff\xff\x7f\x00\x01a", "\x32\x08\x00\x01a\x00\x01\x00{}", "\x10\x00", "\xf0\x00",
		"\x32\x15\x00\x0creadings/g/a\x00\x01\x03\x23\x00\x0121\x32\x08\x00\x00\x00\x02\x03\x23\x00\x01", "\xe0\x02\x04\x00",
	} {
		f.Add([]byte(seed), 70, false)
		f.Add([]byte(seed), 75, true)
	}
	f.Fuzz(func(t *testing.T, said []byte, cut int, five bool) {
		if len(said) > 20_000 {
			return
		}
		fix := start(t, func(_ *fixture, o *Options) { o.Limits = intake.Limits{Linger: 1} })
		connect := "\x10\x1e\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01g\x00\x0cbk_enrolment"
		if five {
			connect = "\x10\x1f\x00\x04MQTT\x05\xc2\x00\x3c\x00\x00\x01c\x00\x01g\x00\x0cbk_enrolment"
		}
		answers := fix.talkLoosely(t, connect+string(said), cut)
		for in := strings.NewReader(answers); in.Len() > 0; {
			var err error
			if five {
				_, err = packets5.ReadPacket(in)
			} else {
				_, err = packets3.ReadPacket(in)
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // we closed before all of it had come
				break
			}
			if err != nil {
				t.Fatalf("%q is answered %x: %v", said, answers, err)
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
