package gate

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestWhoOnlyAsksIsNoStranger has a load balancer ask on the port: it is answered a bare status, counts as no stranger,
// and is told when frames cannot be taken.
func TestWhoOnlyAsksIsNoStranger(t *testing.T) {
	var away atomic.Bool
	f := start(t, func(_ *fixture, o *Options) { o.Ready = func() bool { return !away.Load() } })
	ask := func(path string) (int, string) {
		c := f.dial(t)
		defer c.Close()
		c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		answer, err := http.ReadResponse(c.in, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/ping": 204, "/health": 200} {
		if status, text := ask(path); status != want || path != "/health" && text != "" {
			t.Errorf("%s answers %d %q, want a bare %d", path, status, text, want)
		}
	}
	away.Store(true)
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/health": 503} {
		if status, _ := ask(path); status != want {
			t.Errorf("%s answers %d while frames cannot be taken, want %d", path, status, want)
		}
	}
	c := f.dial(t)
	c.send("GET /ping HTTP/1.1\r\nHost: a\r\n\r\nPOST /write HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\nGET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
	if text, err := io.ReadAll(c.in); err != nil || !strings.Contains(string(text), "401 Unauthorized") {
		t.Errorf("who shows no key is answered %q, %v", text, err)
	}
	f.eventually(t, "all are gone", func() bool { return f.Connections() == 0 })
	if totals := f.books(t); totals.Strangers != 1 {
		t.Errorf("%d strangers were counted, want the one who wanted more", totals.Strangers)
	}
}
