package gate

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/ingest/gate/intake"
	"berth/internal/credentials"
)

// post is a request as gateways pipeline them.
func post(path, key, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Token %s\r\nContent-Length: %d\r\n\r\n%s", path, key, len(body), body)
}

// statuses reads n answers and returns their statuses, each once for those that follow each other.
func (c *client) statuses(n int) (runs []string) {
	c.t.Helper()
	last, count := 0, 0
	for i := range n {
		answer, err := http.ReadResponse(c.in, nil)
		if err != nil {
			c.t.Fatalf("answer %d of %d: %v", i+1, n, err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusNoContent && answer.Header.Get("Date") == "" {
			c.t.Errorf("answer %d has no date", i+1)
		}
		if answer.StatusCode != last && count > 0 {
			runs, count = append(runs, fmt.Sprintf("%d×%d", count, last)), 0
		}
		last = answer.StatusCode
		count++
	}
	return append(runs, fmt.Sprintf("%d×%d", count, last))
}

// TestPipelinedRequestsAreAnsweredInOrder: plain requests by the hundred, and others between them, cut anywhere.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	for _, size := range []int{1 << 20, 4093, 61} {
		f := start(t, nil)
		c := f.dial(t)
		var all strings.Builder
		var want []string
		put := func(n int) {
			for range n {
				fmt.Fprint(&all, post("/write", "gk_own", fmt.Sprintf("m a=%di\n", len(want))))
				want = append(want, fmt.Sprintf("own m.a %d", len(want)))
			}
		}
		put(100)
		all.WriteString(post("/write", "gk_own", "m c=1i\nm c\n"))
		put(50)
		all.WriteString("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
		put(50)
		all.WriteString(post("/write", "gk_none", "m a=1i\n"))
		put(3)
		all.WriteString(post("/api/v1/readings", "gk_own", `{"b":1}`))
		put(3)
		all.WriteString("POST /write HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nm b=\r\n2\r\n1i\r\n0\r\n\r\n")
		put(3)
		all.WriteString("POST /write HTTP/1.1\r\nHost: a\r\nOrigin: b\r\nAuthorization: Token gk_own\r\nContent-Length: 7\r\n\r\nm a=7i\n")
		put(20)
		go func() {
			for text := []byte(all.String()); len(text) > 0; text = text[min(len(text), size):] {
				if _, err := c.Write(text[:min(len(text), size)]); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		got := c.statuses(100 + 1 + 50 + 1 + 50 + 1 + 3 + 1 + 3 + 1 + 3 + 1 + 20)
		answers := []string{"100×204", "1×400", "101×204", "1×401", "11×204", "1×403", "20×204"}
		if diff := cmp.Diff(answers, got); diff != "" {
			t.Errorf("in pieces of %d: %s", size, diff)
		}
		if n := strings.Count(strings.Join(f.readings(t), "\n"), "own m.c 1"); n != 1 {
			t.Errorf("in pieces of %d: what was refused in part is stored %d times", size, n)
		}
		stored := slices.DeleteFunc(f.readings(t), func(line string) bool { return !strings.HasPrefix(line, "own m.a ") })
		if diff := cmp.Diff(want, stored); diff != "" {
			t.Errorf("in pieces of %d: %s", size, diff)
		}
		if b := f.books(t); b.FramesCommitted != uint64(len(want))+3 || b.FramesRejected != 0 {
			t.Errorf("in pieces of %d: %+v", size, b)
		}
	}
}

// TestPipelinedRequestsAreCommittedTogether: what is pipelined does not wait for a flush each.
func TestPipelinedRequestsAreCommittedTogether(t *testing.T) {
	f := start(t, nil)
	c := f.dial(t)
	c.send(strings.Repeat(post("/write", "gk_own", "m a=1i\n"), 500))
	if got := c.statuses(500); got[0] != "500×204" {
		t.Fatal(got)
	}
	if n := len(f.log.Messages()); n > 100 {
		t.Errorf("500 requests took %d batches", n)
	}
}

// pipelining returns a client whose connection was taken over from net/http.
func (f *fixture) pipelining(t *testing.T) *client {
	t.Helper()
	c := f.dial(t)
	c.send(strings.Repeat(post("/write", "gk_own", "m a=1i\n"), 5))
	c.statuses(5)
	return c
}

// TestAPipelinedKeyIsRevoked: the next request is told so, and who says nothing is closed.
func TestAPipelinedKeyIsRevoked(t *testing.T) {
	f := start(t, nil)
	speaks, silent := f.pipelining(t), f.pipelining(t)
	keys := ownKeys()
	for name, k := range keys {
		if k.Hash == credentials.Hash("gk_own") {
			k.Revoked = time.Unix(1, 0)
			keys[name] = k
		}
	}
	f.Set(f.pipeline, keys)
	speaks.send(post("/write", "gk_own", "m a=2i\n"))
	if got := speaks.statuses(1); got[0] != "1×401" {
		t.Error(got)
	}
	speaks.expectEnd()
	silent.expectEnd()
	if n := len(f.readings(t)); n != 10 {
		t.Errorf("%d readings, want 10", n)
	}
}

// TestPipelinedRequestsWaitForTheLog: they are not answered before the log has them; what takes too long is told to come
// back, and so is who comes while the log is slow.
func TestPipelinedRequestsWaitForTheLog(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) {
		o.Limits = intake.Limits{Commit: 150 * time.Millisecond, Linger: 50 * time.Millisecond}
	})
	c := f.pipelining(t)
	f.log.Hold(true)
	c.send(strings.Repeat(post("/write", "gk_own", "m a=2i\n"), 7))
	if got := c.statuses(1); got[0] != "1×503" {
		t.Error(got)
	}
	c.expectEnd()
	f.log.Hold(false)
	f.eventually(t, "what was in hand is committed", func() bool { return f.books(t).FramesCommitted == 12 })
}

// TestStopAnswersWhatIsPipelined: a stop waits for the log, and ends connections that say nothing.
func TestStopAnswersWhatIsPipelined(t *testing.T) {
	f := start(t, nil)
	busy, silent := f.pipelining(t), f.pipelining(t)
	f.log.Hold(true)
	busy.send(strings.Repeat(post("/write", "gk_own", "m a=2i\n"), 7))
	f.eventually(t, "they are in hand", func() bool { _, n := f.committer.Totals(); return n == 7 })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		f.stop(t)
	}()
	silent.expectEnd()
	f.log.Hold(false)
	if got := busy.statuses(7); got[0] != "7×204" {
		t.Error(got)
	}
	busy.expectEnd()
	<-stopped
}

// TestAPipelinedSenderIsSlowed: a gateway beyond its rate waits, as one that sends a request at a time does.
func TestAPipelinedSenderIsSlowed(t *testing.T) {
	f := start(t, func(f *fixture, _ *Options) { f.pipeline.Settings.Limits.GatewayReadingsPerSecond = 10 })
	c := f.dial(t)
	begun := time.Now()
	c.send(strings.Repeat(post("/write", "gk_own", "m a=1i\n"), 60))
	if got := c.statuses(60); got[0] != "60×204" {
		t.Error(got)
	}
	if took := time.Since(begun); took < 500*time.Millisecond {
		t.Errorf("60 readings took %v at 10 a second", took)
	}
}
