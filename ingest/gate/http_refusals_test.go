package gate

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"berth/ingest/gate/intake"
	"berth/schema"
)

// manyFields is a line with n fields.
func manyFields(n int) string {
	var fields []string
	for i := range n {
		fields = append(fields, fmt.Sprintf("f%d=1", i))
	}
	return "m " + strings.Join(fields, ",")
}

// TestWhatABodyAsksForIsRefusedForGood: a limit that the body itself runs into is answered in a way that no client takes
// for a reason to send the same body again.
func TestWhatABodyAsksForIsRefusedForGood(t *testing.T) {
	own, relay := token("gk_own"), token("gk_relay")
	text := strings.Repeat("x", schema.MaxText+1)
	line := `m note="` + text + `"`
	for _, c := range []httpCase{
		{name: "a sensor too many", path: "/write", header: own, body: manyFields(1001), answer: `{"error":"partial write: 0 of 1001 readings were stored; line 1: gateway`},
		{name: "a sensor too many, v2", path: "/api/v2/write", header: own, body: manyFields(1001), answer: `{"code":"limited","message":"partial write: 0 of 1001 readings`},
		{name: "a sensor too many beside good lines", path: "/write", header: own, body: "n a=1\n" + manyFields(1000), answer: `{"error":"partial write: 1 of 1001 readings`},
		{name: "a gateway too many", path: "/write", header: relay, body: "m,gateway=b a=1", answer: `{"error":"partial write: 0 of 1 readings`},
		{name: "a gateway too many beside good lines", path: "/write", header: relay, body: "m,gateway=b a=1\nm,gateway=own a=1", answer: `{"error":"partial write: 1 of 2 readings`},
		{name: "a text too long", path: "/write", header: own, body: line, answer: `{"error":"partial write: 0 of 1 readings`},
		{name: "a text too long beside good lines", path: "/write", header: own, body: "n a=1\n" + line, answer: `{"error":"partial write: 1 of 2 readings`},
		{name: "a text too long in JSON", path: "/api/v1/readings", header: own, body: `{"a":"` + text + `"}`, answer: `{"code":"too_large","message":"partial write: 0 of 1 readings`},
	} {
		f := start(t, func(f *fixture, _ *Options) { f.pipeline.Settings.Limits.Gateways = 1 })
		if status, answer, _ := f.request(t, httpCase{path: "/write", header: own}, strings.NewReader("n a=1")); status != 204 {
			t.Fatalf("%s: the first was answered %d %s", c.name, status, answer)
		}
		status, answer, header := f.request(t, c, strings.NewReader(c.body))
		if status != 400 || header.Get("Retry-After") != "" || !strings.HasPrefix(answer, c.answer) {
			t.Errorf("%s: answered %d %s, Retry-After %q, want 400 %s", c.name, status, answer, header.Get("Retry-After"), c.answer)
		}
		f.books(t)
	}
}

// TestBodiesThatAreNotWhatGzipMakes: cut short by who made it, cut on the way and spoilt are told apart.
func TestBodiesThatAreNotWhatGzipMakes(t *testing.T) {
	text, _ := manyLines(5_000)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	whole := b.Bytes()
	spoilt, sum := bytes.Clone(whole), bytes.Clone(whole)
	copy(spoilt[len(spoilt)/2:], bytes.Repeat([]byte{0xff}, 100))
	sum[len(sum)-8] ^= 1
	const short, cut, other = "gzip data in the body are cut short", "the body did not come whole", "not what gzip makes"
	for _, path := range []string{"/write", "/api/v1/readings"} {
		for _, c := range []struct {
			name    string
			body    []byte
			missing int // bytes that are announced and do not come
			answer  string
		}{
			{"nothing", nil, 0, short},
			{"short in the header", whole[:5], 0, short},
			{"short in the middle", whole[:len(whole)/2], 0, short},
			{"short of the checksum", whole[:len(whole)-8], 0, short},
			{"short in the checksum", whole[:len(whole)-1], 0, short},
			{"cut on the way", whole[:len(whole)/2], 1, cut},
			{"cut on the way in the header", whole[:5], 1, cut},
			{"spoilt", spoilt, 0, other},
			{"another checksum", sum, 0, other},
			{"plain", []byte(text), 0, other},
		} {
			f := start(t, nil)
			answer := f.talk(t, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s",
				path, len(c.body)+c.missing, c.body), func(c *net.TCPConn) net.Conn { return c })
			if !strings.HasPrefix(answer, "HTTP/1.1 400 ") || !strings.Contains(answer, c.answer) {
				t.Errorf("%s, %s: answered %s, want %q", path, c.name, answer, c.answer)
			}
		}
	}
}

// TestAPieceRefusedBeforeTheGzipEnds: what was refused of a body that cannot be decompressed to its end does not keep it from being
// answered, counted and kept: as a whole, for nothing of it was taken.
func TestAPieceRefusedBeforeTheGzipEnds(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for i := range 16_000 { // a piece, and not two
		_, _ = fmt.Fprintf(z, "m a=%d\nm b=oops\n", i*2_654_435_761%1_000_000_007)
	}
	_ = z.Close()
	f := start(t, nil)
	short := b.Bytes()[:b.Len()-8]
	status, answer, _ := f.request(t, httpCase{path: "/write", header: map[string]string{"Authorization": "Token gk_own", "Content-Encoding": "gzip"}}, bytes.NewReader(short))
	if status != 400 || !strings.Contains(answer, "cut short") {
		t.Errorf("answered %d %s", status, answer)
	}
	f.eventually(t, "it is kept", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.rejects) == 1 && !f.rejects[0].Part && strings.Contains(f.rejects[0].Reason, "cut short")
	})
	if totals := f.books(t); totals.FramesRejected != 1 || len(f.readings(t)) != 0 {
		t.Errorf("the books say %+v", totals)
	}
}

// TestABodyThatIsNotReadIsNotWaitedForForEver: a request that is refused by its head is answered though its body does not come.
func TestABodyThatIsNotReadIsNotWaitedForForEver(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Limits = intake.Limits{Frame: 50 * time.Millisecond} })
	c := f.dial(t)
	c.send(onePost) // from then on it is no stranger, whom the first frame's deadline would end
	c.expect("HTTP/1.1 204 ")
	c.send("POST /write?precision=fortnight HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Length: 20\r\n\r\nm a=1")
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	answer, err := io.ReadAll(c.in)
	if err != nil || !strings.Contains(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("answered %s, %v", answer, err)
	}
}
