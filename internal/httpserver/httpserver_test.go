package httpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"berth/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ask(t *testing.T, s *Server, method, target string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, target, body))
	return w
}

func TestErrorsAreProblemsWithoutTheirCause(t *testing.T) {
	s := New(Options{})
	s.Get("/busy", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Disposition", "attachment")
		return schema.Errorf(schema.Unavailable, "reports of %s is away", "north").WithNext("try again").WithCause(errors.New("secret cause"))
	})
	s.Get("/plain", func(http.ResponseWriter, *http.Request) error { return errors.New("secret cause") })
	s.Get("/panic", func(http.ResponseWriter, *http.Request) error { panic("secret cause") })
	s.Post("/post", func(http.ResponseWriter, *http.Request) error { return nil })
	for _, c := range []struct {
		target string
		want   ProblemBody
	}{
		{"/busy", ProblemBody{Title: "Service Unavailable", Status: 503, Detail: "reports of north is away", Code: "unavailable", Next: "try again"}},
		{"/plain", ProblemBody{Title: "Internal Server Error", Status: 500, Detail: "something went wrong on our side; the log has the cause", Code: "internal"}},
		{"/panic", ProblemBody{Title: "Internal Server Error", Status: 500, Detail: "something went wrong on our side; the log has the cause", Code: "internal"}},
		{"/nowhere", ProblemBody{Title: "Not Found", Status: 404, Detail: "there is nothing at /nowhere", Code: "not_found"}},
		{"/post", ProblemBody{Title: "Method Not Allowed", Status: 405, Detail: "/post does not take GET", Code: "invalid"}},
	} {
		w := ask(t, s, "GET", c.target, nil)
		var got ProblemBody
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v in %q", c.target, err, w.Body)
		}
		c.want.Type, c.want.RequestID = "about:blank", w.Header().Get(RequestIDHeader)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.target, d)
		}
		if w.Code != c.want.Status || w.Header().Get("Content-Type") != ProblemType || w.Header().Get("Content-Disposition") != "" {
			t.Errorf("%s: status %d, header %v", c.target, w.Code, w.Header())
		}
	}
	if got := ask(t, s, "GET", "/busy", nil).Header().Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After = %q, want 1", got)
	}
	if got := ask(t, s, "GET", "/post", nil).Header().Get("Allow"); !strings.Contains(got, "POST") {
		t.Errorf("Allow = %q, want POST in it", got)
	}
}

func TestPathParametersAreUnescapedOnce(t *testing.T) {
	s := New(Options{})
	s.Get("/g/:name/latest", func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.WriteString(w, r.PathValue("name"))
		return err
	})
	for target, want := range map[string]string{
		"/g/boiler/latest": "boiler", "/g/a%2Fb/latest": "a/b", "/g/a%20b/latest": "a b", "/g/50%2525/latest": "50%25", "/g/%E6%B9%BE/latest": "湾",
	} {
		for range 2 { // a second request must not see the first one's middleware or parameters
			if got := ask(t, s, "GET", target, nil).Body.String(); got != want {
				t.Errorf("%s: name %q, want %q", target, got, want)
			}
		}
	}
}

func TestMiddlewareRunsOutermostFirstAndOnce(t *testing.T) {
	var order []string
	mark := func(name string) Middleware {
		return func(next Handler) Handler {
			return func(w http.ResponseWriter, r *http.Request) error {
				order = append(order, name)
				return next(w, r)
			}
		}
	}
	s := New(Options{})
	s.Use(mark("a"), mark("b"))
	s.Get("/x/:y", func(_ http.ResponseWriter, r *http.Request) error {
		order = append(order, RouteOf(r))
		return nil
	}, mark("c"), mark("d"))
	for range 2 {
		order = nil
		ask(t, s, "GET", "/x/1", nil)
		if d := cmp.Diff([]string{"a", "b", "c", "d", "/x/:y"}, order); d != "" {
			t.Errorf("order (-want +got):\n%s", d)
		}
	}
}

func TestBodiesAndHeadersAreBounded(t *testing.T) {
	s := New(Options{MaxBody: 100, MaxHeader: 4 << 10})
	s.Post("/", func(_ http.ResponseWriter, r *http.Request) error {
		_, err := io.ReadAll(r.Body)
		return err
	})
	if got := ask(t, s, "POST", "/", strings.NewReader(strings.Repeat("x", 100))).Code; got != 200 {
		t.Errorf("a body at the limit: status %d, want 200", got)
	}
	if got := ask(t, s, "POST", "/", strings.NewReader(strings.Repeat("x", 101))).Code; got != 413 {
		t.Errorf("a body beyond the limit: status %d, want 413", got)
	}
	start(t, s)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 16<<10))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a long head: status %d, want 431", resp.StatusCode)
	}
}

func TestRequestIDIsTakenOnlyWhenWellFormed(t *testing.T) {
	s := New(Options{Headers: func(h http.Header) { h.Set("X-House", "1") }})
	for id, kept := range map[string]bool{"abcd-1234": true, "short": false, "with\tspace in": false, "": false, strings.Repeat("x", 65): false} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(RequestIDHeader, id)
		s.ServeHTTP(w, r)
		got := w.Header().Get(RequestIDHeader)
		if len(got) < 8 || (got == id) != kept {
			t.Errorf("id %q became %q, kept should be %v", id, got, kept)
		}
		if w.Header().Get("X-House") != "1" {
			t.Error("the header hook did not run for an unknown path")
		}
	}
}

func start(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Start(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for range 2 {
			if err := s.Stop(ctx); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
	})
}

func get(t *testing.T, url string) io.Reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp.Body
}

func TestStreamOutlivesTheWriteTimeoutAndEndsAtStop(t *testing.T) {
	var log bytes.Buffer
	s := New(Options{WriteTimeout: 100 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s.Get("/events", func(w http.ResponseWriter, r *http.Request) error {
		st := NewStream(w, r)
		defer st.Close()
		if err := st.BeginEvents(); err != nil {
			return err
		}
		tick := time.NewTicker(150 * time.Millisecond) // longer than a write may take
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := st.Event("7/1", "reading", []byte("one\ntwo")); err != nil {
					return err
				}
			case <-st.Context().Done():
				return nil
			}
		}
	})
	start(t, s)
	lines := bufio.NewReader(get(t, "http://"+s.Addr()+"/events"))
	for range 3 {
		for _, want := range []string{"id: 7/1\n", "event: reading\n", "data: one\n", "data: two\n", "\n"} {
			if got, err := lines.ReadString('\n'); err != nil || got != want {
				t.Fatalf("line %q (%v), want %q", got, err, want)
			}
		}
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop with a stream open: %v", err)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Errorf("the stream did not end cleanly: %v", err)
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", &log)
	}
}

func TestHalfAnAnswerIsCut(t *testing.T) {
	s := New(Options{})
	s.Get("/export", func(w http.ResponseWriter, r *http.Request) error {
		st := NewStream(w, r)
		defer st.Close()
		if _, err := io.WriteString(st, "time,value\n"); err != nil {
			return err
		}
		if err := st.Flush(); err != nil {
			return err
		}
		return errors.New("the keyspace went away")
	})
	start(t, s)
	got, err := io.ReadAll(get(t, "http://"+s.Addr()+"/export"))
	if err == nil {
		t.Errorf("an export that broke off looks whole: %q", got)
	}
}

func TestStopIsBounded(t *testing.T) {
	s := New(Options{})
	entered, leave := make(chan struct{}), make(chan struct{})
	s.Get("/", func(http.ResponseWriter, *http.Request) error {
		close(entered)
		<-leave
		return nil
	})
	if err := s.Start(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + s.Addr())
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop = %v, want that the deadline passed", err)
	}
	if err := <-ended; err == nil {
		t.Error("the request that ran on was not cut")
	}
	close(leave)
	http.DefaultClient.CloseIdleConnections()
}
