package gate

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/ingest/gate/intake"
	"berth/internal/api"
	"berth/schema"
)

// httpCase is a request and what comes of it.
type httpCase struct {
	name     string
	method   string // POST if empty
	path     string
	header   map[string]string
	user     string // of Basic
	password string
	body     string
	status   int
	answer   string // part of the body
	readings []string
}

func token(key string) map[string]string { return map[string]string{"Authorization": "Token " + key} }

// typed are the headers of a body of this type, sent with the enrolment key.
func typed(contentType string) map[string]string {
	return map[string]string{"Authorization": "Token " + enrolmentKey, "Content-Type": contentType}
}

func httpCases() []httpCase {
	return []httpCase{
		{name: "v1, Basic", path: "/write?db=x", user: "g", password: enrolmentKey, body: "m a=1\n", status: 204, readings: []string{"g m.a 1"}},
		{name: "v1, u and p", path: "/write?db=x&u=g&p=" + enrolmentKey, body: "m a=1", status: 204, readings: []string{"g m.a 1"}},
		{name: "v1, the tag names the gateway", path: "/write", header: token(enrolmentKey), body: "m,gateway=x a=1", status: 204, readings: []string{"x m.a 1"}},
		{name: "v1, nothing names it", path: "/write", header: token(enrolmentKey), body: "m a=1", status: 400, answer: `{"error":"unable to parse: line 1: `},
		{name: "v2, Token", path: "/api/v2/write?org=o&bucket=b&precision=ms&gateway=g", header: token(enrolmentKey), body: "m a=1i", status: 204, readings: []string{"g m.a 1"}},
		{name: "v2, Bearer and an own key", path: "/api/v2/write", header: map[string]string{"Authorization": "bearer gk_own"}, body: "m a=t", status: 204, readings: []string{"own m.a true"}},
		{name: "v2, Token with a name", path: "/api/v2/write", header: token("g:" + enrolmentKey), body: "m a=1", status: 204, readings: []string{"g m.a 1"}},
		{name: "relay", path: "/api/v2/write", header: token("gk_relay"), body: "m,gateway=x a=1\nm,gateway=y a=2\n", status: 204, readings: []string{"x m.a 1", "y m.a 2"}},
		{name: "relay for one", path: "/api/v2/write?gateway=z", header: token("gk_relay"), body: "m a=1", status: 204, readings: []string{"z m.a 1"}},
		{name: "JSON", path: "/api/v1/readings?gateway=g", header: token(enrolmentKey), body: `{"a":21.5}`, status: 204, readings: []string{"g a 21.5"}},
		{name: "JSON by its type", path: "/api/v1/readings?gateway=g", header: typed("application/json; charset=utf-8"), body: `{"a":1}`, status: 204, readings: []string{"g a 1"}},
		{name: "JSON by any type", path: "/api/v1/readings?gateway=g", header: typed("application/x-www-form-urlencoded"), body: `{"a":1}`, status: 204, readings: []string{"g a 1"}},
		{name: "SenML", path: "/api/v1/readings?gateway=g", header: typed("application/senml+json"), body: `[{"bn":"a:","n":"b","u":"V","v":21.5},{"n":"c","vs":"x"}]`, status: 204, readings: []string{"g a:b,unit=V 21.5", "g a:c x"}},
		{name: "SenML, its type with a parameter", path: "/api/v1/readings", header: typed("Application/SenML+JSON;charset=utf-8"), body: `[{"n":"a","v":1}]`, status: 400, answer: "names no gateway"},
		{name: "SenML in CBOR", path: "/api/v1/readings?gateway=g", header: typed("application/senml+cbor"), body: "\x81\xa3\x00\x61a\x01\x61V\x02\x05", status: 204, readings: []string{"g a,unit=V 5"}},
		{name: "SenML of a relay", path: "/api/v1/readings?gateway=z", header: map[string]string{"Authorization": "Token gk_relay", "Content-Type": "application/senml+json"}, body: `[{"n":"a","v":1}]`, status: 204, readings: []string{"z a 1"}},
		{name: "SenML, partial", path: "/api/v1/readings?gateway=g", header: typed("application/senml+json"), body: `[{"n":"a","v":1},{"n":"-","v":2}]`, status: 400, answer: `partial write: 1 of 2 readings were stored; record 2: `, readings: []string{"g a 1"}},
		{name: "SenML of a newer version", path: "/api/v1/readings?gateway=g", header: typed("application/senml+json"), body: `[{"bver":11,"n":"a","v":1}]`, status: 400, answer: `bver 11 is not understood`},
		{name: "SensML", path: "/api/v1/readings?gateway=g", header: typed("application/sensml+json"), body: `[{"n":"a","v":1}]`, status: 415, answer: `application/senml+json`},
		{name: "SenML in XML", path: "/api/v1/readings?gateway=g", header: typed("application/senml+xml"), body: `<sensml/>`, status: 415, answer: `{"code":"invalid","message":"content type`},
		{name: "a type on a path of lines", path: "/write", header: map[string]string{"Authorization": "Token gk_own", "Content-Type": "application/senml+json"}, body: "m a=1", status: 204, readings: []string{"own m.a 1"}},
		{name: "empty", path: "/write", header: token("gk_own"), body: "", status: 204},
		{name: "partial, v1", path: "/write", header: token("gk_own"), body: "m a=1\nm a\nm b=2", status: 400, answer: `{"error":"partial write: 2 of 3 readings were stored; line 2: `, readings: []string{"own m.a 1", "own m.b 2"}},
		{name: "partial, v2", path: "/api/v2/write", header: token("gk_own"), body: "m a\nm a=1", status: 400, answer: `{"code":"invalid","message":"partial write: 1 of 2`, readings: []string{"own m.a 1"}},
		{name: "not its own", path: "/write", header: token("gk_own"), body: "m,gateway=x a=1", status: 403, answer: `own`},
		{name: "bad JSON", path: "/api/v1/readings", header: token("gk_own"), body: `{"a":`, status: 400, answer: `{"code":"invalid","message":`},
		{name: "no key", path: "/write", body: "m a=1", status: 401, answer: `{"error":"there is no key, and no certificate"}`},
		{name: "wrong key", path: "/api/v2/write", header: token("x"), body: "m a=1", status: 401, answer: `{"code":"unauthorized","message":"the key is unknown"}`},
		{name: "revoked", path: "/api/v2/write", header: token("gk_gone"), body: "m a=1", status: 401, answer: `revoked`},
		{name: "another's name", path: "/api/v2/write?gateway=g", header: token("gk_own"), body: "m a=1", status: 403, answer: `forbidden`},
		{name: "a gateway with a key of its own", path: "/api/v2/write", header: token(enrolmentKey), body: "m,gateway=own a=1", status: 401, answer: `has a key of its own`},
		{name: "precision", path: "/write?precision=fortnight", header: token("gk_own"), body: "m a=1", status: 400, answer: `fortnight`},
		{name: "encoding", path: "/write", header: map[string]string{"Authorization": "Token gk_own", "Content-Encoding": "br"}, body: "m a=1", status: 400, answer: `content encoding`},
		{name: "no gzip", path: "/write", header: map[string]string{"Authorization": "Token gk_own", "Content-Encoding": "gzip"}, body: "m a=1,b=2,c=3,d=4", status: 400, answer: `gzip`},
		{name: "origin", path: "/write", header: map[string]string{"Authorization": "Token gk_own", "Origin": "https://a.example"}, body: "m a=1", status: 403, answer: `Origin`},
		{name: "ping", method: "GET", path: "/ping", status: 204},
		{name: "ping by HEAD", method: "HEAD", path: "/ping", status: 204},
		{name: "health", method: "GET", path: "/health", status: 200, answer: `"status":"pass"`},
		{name: "alive", method: "GET", path: "/healthz", status: 200},
		{name: "ready", method: "GET", path: "/readyz", status: 200},
		{name: "ready by HEAD", method: "HEAD", path: "/readyz", status: 200},
		{name: "not to be posted to", path: "/readyz", status: 404, answer: `/api/v1/readings`},
		{name: "elsewhere", path: "/query?q=x", status: 404, answer: `/api/v1/readings`},
		{name: "by GET", method: "GET", path: "/write", status: 405, answer: `POST`},
		{name: "header too long", path: "/write?" + strings.Repeat("a", 10_000), status: 431},
	}
}

func TestHTTP(t *testing.T) {
	for _, c := range httpCases() {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, nil)
			status, answer, _ := f.request(t, c, strings.NewReader(c.body))
			if status != c.status || !strings.Contains(answer, c.answer) {
				t.Errorf("answered %d %s, want %d %s", status, answer, c.status, c.answer)
			}
			if answer != "" && c.status != 431 && !json.Valid([]byte(answer)) {
				t.Errorf("%s is no JSON", answer)
			}
			if diff := cmp.Diff(c.readings, f.readings(t)); diff != "" {
				t.Error(diff)
			}
			totals := f.books(t)
			if want := uint64(len(c.readings)); totals.Accepted != want {
				t.Errorf("%d readings accepted, want %d", totals.Accepted, want)
			}
		})
	}
}

func (f *fixture) request(t testing.TB, c httpCase, body io.Reader) (status int, answer string, header http.Header) {
	t.Helper()
	method := c.method
	if method == "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+f.Addr().String()+c.path, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	if c.user != "" {
		r.SetBasicAuth(c.user, c.password)
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	got, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, string(text), got.Header
}

// manyLines returns lines of line protocol, some with texts that hold line ends, and how many readings they are.
func manyLines(n int) (string, int) {
	var b strings.Builder
	for i := range n {
		if i%10 == 3 {
			fmt.Fprintf(&b, "weather,place=b\"%d a=%d,note=\"two\nlines \\\" %d\"\n", i%7, i, i)
			continue
		}
		fmt.Fprintf(&b, "weather,place=b%d a=%d,b=%d.5\n", i%7, i, i)
	}
	return b.String(), 2 * n
}

func TestALargeBodyIsTakenInPieces(t *testing.T) {
	text, n := manyLines(60_000)
	if len(text) < 1<<20 {
		t.Fatal("too small to be cut")
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	var want []string
	for name, body := range map[string]io.Reader{
		"with its length": strings.NewReader(text), "chunked": io.MultiReader(strings.NewReader(text)), "gzip": &zipped,
	} {
		f := start(t, nil)
		c := httpCase{path: "/write", header: token("gk_own")}
		if name == "gzip" {
			c.header["Content-Encoding"] = "gzip"
		}
		status, answer, _ := f.request(t, c, body)
		got := f.readings(t)
		if status != 204 || len(got) != n {
			t.Errorf("%s: answered %d %s, %d readings in the log, want %d", name, status, answer, len(got), n)
		}
		if want == nil {
			want = got
		} else if !slices.Equal(want, got) {
			t.Errorf("%s: other readings", name)
		}
		if totals := f.books(t); totals.FramesCommitted != 1 || totals.Accepted != uint64(n) {
			t.Errorf("%s: %+v", name, totals)
		}
	}
}

func TestBadLinesOfALargeBodyAreNamedByTheirPlace(t *testing.T) {
	f := start(t, nil)
	var b strings.Builder
	for i := range 50_000 {
		if i == 4_999 || i == 29_999 {
			b.WriteString("weather,place=x broken\n")
		}
		fmt.Fprintf(&b, "weather,place=x value=%d\n", i)
	}
	status, answer, _ := f.request(t, httpCase{path: "/write", header: token("gk_own")}, strings.NewReader(b.String()))
	var got struct {
		Error              string
		Accepted, Rejected int
		Lines              []api.RejectLine
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	if status != 400 || !strings.Contains(got.Error, "50000 of 50002 readings were stored; line 5000: ") || got.Accepted != 50_000 || got.Rejected != 2 ||
		len(got.Lines) != 2 || got.Lines[0].Line != 5000 || got.Lines[1].Line != 30_001 {
		t.Errorf("answered %d %s", status, answer)
	}
	f.stop(t)
	if len(f.rejects) != 1 || f.rejects[0].Readings != 2 || f.rejects[0].Gateway != "own" || f.rejects[0].Protocol != "http" || !f.rejects[0].Whole() ||
		strings.Count(string(f.rejects[0].Raw), "\n") != 2 || strings.Count(string(f.rejects[0].Raw), " broken\n") != 2 {
		t.Errorf("rejects %+v", f.rejects)
	}
}

// endless is a body without an end.
type endless struct{ line string }

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n+len(e.line) <= len(p) {
		n += copy(p[n:], e.line)
	}
	return n, nil
}

func TestTooLargeBodies(t *testing.T) {
	f := start(t, nil)
	c := httpCase{path: "/write", header: token("gk_own")}
	zip := func(text string, n int) io.Reader { // members that follow each other are one body
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		return bytes.NewReader(bytes.Repeat(b.Bytes(), n))
	}
	lines := strings.Repeat("# nothing\n", 1<<17) + "m a=1\n" // more than 1 MiB
	unzipped := httpCase{path: "/write", header: map[string]string{"Authorization": "Token gk_own", "Content-Encoding": "gzip"}}
	json := httpCase{path: "/api/v1/readings", header: unzipped.header}
	for _, x := range []struct {
		name   string
		c      httpCase
		body   io.Reader
		answer string
	}{
		{"announced", c, io.LimitReader(endless{"m a=1\n"}, schema.MaxBody+1), "body is larger"},
		{"chunked", c, io.MultiReader(io.LimitReader(endless{"# nothing\n"}, 2*schema.MaxBody)), "body is larger"},
		{"bomb", unzipped, zip(lines, 33), "body is larger"},
		{"JSON bomb", json, zip(strings.Repeat(" ", 1<<20), 33), "body is larger"},
		{"a line without an end", c, io.LimitReader(endless{"m,a=b"}, 2<<20), "line is longer"},
		{"a text without an end", c, io.MultiReader(strings.NewReader("m a=\""), io.LimitReader(endless{"m a=1\n"}, 2<<20)), "quotation mark"},
	} {
		status, answer, _ := f.requestLoosely(t, x.c, x.body)
		if status != 413 || !strings.Contains(answer, x.answer) {
			t.Errorf("%s: answered %d %s, want 413 and %q", x.name, status, answer, x.answer)
		}
		f.books(t)
	}
}

// requestLoosely is request for bodies that are answered before they have been sent whole.
func (f *fixture) requestLoosely(t testing.TB, c httpCase, body io.Reader) (status int, answer string, header http.Header) {
	t.Helper()
	conn := f.dial(t)
	length := ""
	if l, ok := body.(*io.LimitedReader); ok && c.header["Content-Encoding"] == "" {
		length = fmt.Sprintf("Content-Length: %d\r\n", l.N)
	}
	head := "POST " + c.path + " HTTP/1.1\r\nHost: a\r\n"
	for name, value := range c.header {
		head += name + ": " + value + "\r\n"
	}
	if length == "" {
		head += "Transfer-Encoding: chunked\r\n"
	}
	conn.send(head + length + "\r\n")
	go func() {
		var w io.Writer = conn.TCPConn
		buf := make([]byte, 64<<10)
		for {
			n, err := body.Read(buf)
			if n > 0 && length == "" {
				_, _ = fmt.Fprintf(w, "%x\r\n%s\r\n", n, buf[:n])
			} else if n > 0 {
				_, _ = w.Write(buf[:n])
			}
			if err != nil {
				break
			}
			select {
			case <-t.Context().Done():
				return
			default:
			}
		}
		if length == "" {
			_, _ = io.WriteString(w, "0\r\n\r\n")
		}
	}()
	got, err := http.ReadResponse(conn.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, _ := io.ReadAll(got.Body)
	return got.StatusCode, string(text), got.Header
}

func TestHTTPIsToldToComeBackWhileTheLogIsFull(t *testing.T) {
	f := start(t, nil)
	f.log.Room(0)
	waiting := f.dial(t)
	waiting.send("POST /write HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Length: 5\r\n\r\nm a=1")
	f.eventually(t, "the log is slow", f.committer.Slow)
	status, answer, header := f.request(t, httpCase{path: "/write", header: token("gk_own")}, strings.NewReader("m a=2"))
	if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(answer, "the log cannot keep up") {
		t.Errorf("answered %d %s, Retry-After %q", status, answer, header.Get("Retry-After"))
	}
	for path, want := range map[string]int{"/health": 503, "/readyz": 503, "/healthz": 200} {
		if status, _, _ := f.request(t, httpCase{method: "GET", path: path}, nil); status != want {
			t.Errorf("%s says %d, want %d", path, status, want)
		}
	}
	f.log.Room(-1)
	f.committer.Room()
	waiting.expect("HTTP/1.1 204 No Content")
	if diff := cmp.Diff([]string{"own m.a 1"}, f.readings(t)); diff != "" {
		t.Error(diff)
	}
}

func TestABodyThatIsCutIsGivenUp(t *testing.T) {
	f := start(t, nil)
	c := f.dial(t)
	c.send("POST /write HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Length: 500\r\n\r\nm a=1")
	_ = c.CloseWrite()
	c.expect("HTTP/1.1 400 Bad Request")
	f.eventually(t, "it is counted", func() bool { return f.books(t).FramesGivenUp == 1 })
	if got := f.readings(t); len(got) != 0 {
		t.Errorf("stored %v", got)
	}
}

func TestRevocationEndsHTTPToo(t *testing.T) {
	f := start(t, nil)
	c := f.dial(t)
	request := "POST /write HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Length: 5\r\n\r\nm a=1"
	c.send(request)
	c.expect("HTTP/1.1 204 No Content")
	for c.expect("") != "\r" {
	}
	keys := ownKeys()
	for name, k := range keys {
		k.Revoked = time.Unix(1, 0)
		keys[name] = k
	}
	f.Set(f.pipeline, keys)
	c.send(request)
	c.expect("HTTP/1.1 401 Unauthorized")
}

// TestAnAnswerMayTakeLongerThanTheBody: the time that a body may take does not bound the wait for the log.
func TestAnAnswerMayTakeLongerThanTheBody(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Limits = intake.Limits{Frame: time.Second} })
	f.log.Hold(true)
	go func() {
		<-time.After(1500 * time.Millisecond)
		f.log.Hold(false)
	}()
	if status, answer, _ := f.request(t, httpCase{path: "/write", header: token("gk_own")}, strings.NewReader("m a=1")); status != 204 {
		t.Errorf("answered %d %s", status, answer)
	}
}

// TestHTTPCutAnywhere sends two requests in two parts that are cut at every byte, and byte by byte.
func TestHTTPCutAnywhere(t *testing.T) {
	said := "POST /write?precision=s HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Length: 12\r\n\r\nm a=1\nm a=2\n" +
		"POST /api/v1/readings HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"b\":3}\r\n0\r\n\r\n"
	f := start(t, nil)
	for cut := 0; cut <= len(said); cut++ {
		answers := f.talk(t, said, func(c *net.TCPConn) net.Conn { return &cutConn{TCPConn: c, left: cut, every: cut == 0} })
		if strings.Count(answers, "HTTP/1.1 204 No Content\r\n") != 2 {
			t.Fatalf("cut at %d: %s", cut, answers)
		}
	}
	want := slices.Repeat([]string{"own m.a 1", "own m.a 2", "own b 3"}, len(said)+1)
	if diff := cmp.Diff(want, f.readings(t)); diff != "" {
		t.Error(diff)
	}
}
