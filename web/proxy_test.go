package web

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/credentials"
	"berth/internal/httpserver"
	"berth/schema/record"
)

func TestAPIPassesTheRequestOnAsItIs(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	h.reports["north"].asked()
	a := b.do(http.MethodGet, "/api/v1/providers/north/gateways/crane/series?sensor=a%26b&from=now-6h", "", map[string]string{"Last-Event-Id": "7/1"})
	if a.status != 200 || a.body != `{"of":"north"}` || len(a.header.Values("X-Request-Id")) != 1 {
		t.Errorf("status %d, body %q, header %v", a.status, a.body, a.header)
	}
	asked := h.reports["north"].asked()
	if len(asked) != 1 {
		t.Fatalf("reports was asked %d times", len(asked))
	}
	r := asked[0]
	if r.URL.RawQuery != "sensor=a%26b&from=now-6h" || r.Header.Get("Last-Event-Id") != "7/1" || r.Header.Get("X-Request-Id") != a.header.Get("X-Request-Id") {
		t.Errorf("asked %s with %v", r.URL, r.Header)
	}
	for _, k := range []string{"Cookie", "Authorization", "X-Forwarded-For"} {
		if r.Header.Get(k) != "" {
			t.Errorf("reports got the header %s", k)
		}
	}
	// Names of gateways are any text: what is escaped stays so, or the signature would not hold.
	if a := b.get("/api/v1/providers/north/gateways/a%2Fb%20c/latest"); a.status != 404 {
		t.Errorf("status %d, body %s", a.status, a.body)
	}
	if asked := h.reports["north"].asked(); len(asked) != 1 || asked[0].URL.EscapedPath() != "/api/v1/providers/north/gateways/a%2Fb%20c/latest" {
		t.Errorf("asked %v", asked)
	}
	// Only the front door has cookies.
	h.reports["north"].with(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Set-Cookie", "of=reports") })
	if a := b.get("/api/v1/providers/north/gateways/crane/latest"); a.status != 200 || strings.Contains(a.header.Get("Set-Cookie"), "reports") {
		t.Errorf("status %d, cookie %q", a.status, a.header.Get("Set-Cookie"))
	}
}

func problemOf(t *testing.T, a answer) httpserver.ProblemBody {
	t.Helper()
	var p httpserver.ProblemBody
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || !strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json") {
		t.Fatalf("no problem: status %d, %v, %q (%v)", a.status, a.header, a.body, err)
	}
	return p
}

func TestAPIErrorsAreProblems(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.bearer = h.token("north", record.ScopeWrite)
	if p := problemOf(t, b.get("/api/v1/providers/north/gateways/nobody")); p.Status != 404 || p.Detail != "there is no such gateway" {
		t.Errorf("reports' own problem came as %+v", p)
	}
	if p := problemOf(t, h.browser().get("/api/v1/providers/north/gateways")); p.Status != 401 || p.Code != "unauthorized" {
		t.Errorf("without a token: %+v", p)
	}
	if p := problemOf(t, b.get("/api/v1/nothing")); p.Status != 404 {
		t.Errorf("an unknown path: %+v", p)
	}
	if p := problemOf(t, b.do(http.MethodDelete, "/api/v1/providers/north/gateways", "", nil)); p.Status != 405 {
		t.Errorf("another method: %+v", p)
	}
	h.reports["north"].with(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	if p := problemOf(t, b.get("/api/v1/providers/north/gateways")); p.Status != 500 {
		t.Errorf("a refused signature of ours came as %+v", p)
	}
}

func TestAPIFindsAnInstanceThatAnswers(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	b.bearer = h.token("north", record.ScopeWrite)
	h.announce("north", "gone", "127.0.0.1:1")
	h.soon("both instances are known", func() bool { return len(h.web.dir.reports("north")) == 2 })
	for range 10 { // in random order
		if a := b.get("/api/v1/providers/north/gateways"); a.status != 200 {
			t.Fatalf("status %d: %s", a.status, a.body)
		}
	}
	h.remove("services", "north.reports.one")
	h.soon("one instance is known", func() bool { return len(h.web.dir.reports("north")) == 1 })
	a := b.get("/api/v1/providers/north/gateways")
	if p := problemOf(t, a); p.Status != 503 || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "127.0.0.1:1") {
		t.Errorf("no instance answers: %+v, %v", p, a.header)
	}
	h.remove("services", "north.reports.gone")
	h.soon("no instance is known", func() bool { return len(h.web.dir.reports("north")) == 0 })
	if p := problemOf(t, b.get("/api/v1/providers/north/gateways")); p.Status != 503 || p.Next == "" {
		t.Errorf("no instance runs: %+v", p)
	}
}

// open asks for a stream and returns its lines.
func (b *browser) open(path string) *bufio.Reader {
	b.h.t.Helper()
	r, err := http.NewRequestWithContext(b.h.t.Context(), http.MethodGet, "http://"+b.h.web.Addr()+path, nil)
	check(b.h.t, err)
	if b.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+b.bearer)
	}
	resp, err := b.client.Do(r)
	check(b.h.t, err)
	b.h.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Encoding") != "" {
		b.h.t.Fatalf("status %d, header %v", resp.StatusCode, resp.Header)
	}
	return bufio.NewReader(resp.Body)
}

// liveStream sends the events that it is given.
func (h *house) liveStream(events <-chan string) {
	h.reports["north"].with(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		for {
			select {
			case e := <-events:
				_, _ = io.WriteString(w, e)
				_ = rc.Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
}

func TestEventsPassUnbuffered(t *testing.T) {
	h := newHouse(t)
	events := make(chan string)
	h.liveStream(events)
	b := h.browser()
	b.bearer = h.token("north", record.ScopeWrite)
	lines := b.open("/api/v1/providers/north/gateways/crane/live")
	for range 3 {
		events <- "data: {}\n\n" // the next is sent only when this one was read
		for _, want := range []string{"data: {}\n", "\n"} {
			if got, err := lines.ReadString('\n'); err != nil || got != want {
				t.Fatalf("line %q (%v), want %q", got, err, want)
			}
		}
	}
}

func TestStreamEndsWhenItsTokenIsRevoked(t *testing.T) {
	h := newHouse(t)
	h.liveStream(make(chan string))
	b := h.browser()
	b.bearer = h.token("north", record.ScopeWrite)
	lines := b.open("/api/v1/providers/north/gateways/crane/live")
	h.remove("tokens", credentials.Hash(b.bearer))
	ended := make(chan error, 1)
	go func() { _, err := lines.ReadString('\n'); ended <- err }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the stream went on")
		}
	case <-time.After(time.Minute):
		t.Fatal("the stream did not end")
	}
}

func TestExportThatBreaksOffDoesNotLookWhole(t *testing.T) {
	h := newHouse(t)
	h.reports["north"].with(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "time,value\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	b := h.signedIn(record.Admin, "north")
	text, err := io.ReadAll(b.open("/api/v1/providers/north/gateways/crane/readings?format=csv"))
	if err == nil {
		t.Errorf("half an export looks whole: %q", text)
	}
}
