package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/ingest/gate/intake"
)

const onePost = "POST /write HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Length: 5\r\n\r\nm a=1"

// toldConn tells when the client's side has ended.
type toldConn struct {
	*net.TCPConn
	ended chan struct{}
}

// Read reads from the connection.
func (c *toldConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if errors.Is(err, io.EOF) {
		close(c.ended)
	}
	return n, err
}

// TestWhoClosedItsSideIsAnswered: the end of the client's side does not say that it no longer waits for the answer.
func TestWhoClosedItsSideIsAnswered(t *testing.T) {
	for path, body := range map[string]string{"/write": "m a=1", "/api/v1/readings": `{"m.a":1}`} {
		f := start(t, nil)
		f.log.Hold(true)
		ended := make(chan struct{})
		go func() {
			<-ended
			f.log.Hold(false)
		}()
		answer := f.talk(t, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body),
			func(c *net.TCPConn) net.Conn { return &toldConn{TCPConn: c, ended: ended} })
		if !strings.HasPrefix(answer, "HTTP/1.1 204 No Content\r\n") {
			t.Errorf("%s: answered %s", path, answer)
		}
		if diff := cmp.Diff([]string{"own m.a 1"}, f.readings(t)); diff != "" {
			t.Error(diff)
		}
	}
}

// TestTheWaitForTheLogIsBounded: who waits is told to come back, and nothing waits for ever for who went away.
func TestTheWaitForTheLogIsBounded(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Limits = intake.Limits{Commit: 100 * time.Millisecond} })
	f.log.Hold(true)
	gone := f.dial(t)
	gone.send(onePost)
	f.eventually(t, "its frame is in hand", func() bool { _, n := f.committer.Totals(); return n == 1 })
	_ = gone.SetLinger(0) // so that it is reset
	_ = gone.Close()
	f.eventually(t, "its connection is closed", func() bool { return f.Connections() == 0 })
	status, answer, header := f.request(t, httpCase{path: "/write", header: token("gk_own")}, strings.NewReader("m a=2"))
	if status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("answered %d %s, Retry-After %q", status, answer, header.Get("Retry-After"))
	}
	f.log.Hold(false)
	f.eventually(t, "what was in hand is committed", func() bool { return f.books(t).FramesCommitted == 2 })
}

// TestStopEndsTheWaitForTheLog: when Stop has returned no request is handled any more, though the log confirmed nothing.
func TestStopEndsTheWaitForTheLog(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Limits = intake.Limits{Commit: 20 * time.Second} })
	f.log.Hold(true)
	const n = 50
	var waiting []*client
	for range n {
		c := f.dial(t)
		c.send(onePost)
		waiting = append(waiting, c)
	}
	f.eventually(t, "their frames are in hand", func() bool { _, hand := f.committer.Totals(); return hand == n })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := f.Stop(ctx); err == nil {
		t.Error("stop says that all was answered")
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("stop took %s", took)
	}
	f.eventually(t, "no request is handled", func() bool { return handling() == 0 }) // the last may have let go and not returned
	for _, c := range waiting {
		c.expectEndSomehow()
	}
	f.log.Hold(false)
}

// handling returns how many requests are being handled, in the whole program.
func handling() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "httpgate.(*Listener).handle(")
}
