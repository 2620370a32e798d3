package promises

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/api"
)

// garbage is something that makes no sense, and what is answered to it.
type garbage struct {
	name   string
	format string // of a frame between two good ones; empty: head is all that is said before the payload
	head   string // with KEY for the enrolment key
	body   func() []byte
	answer string // part of the answer; empty: the connection is closed without a word
	ends   bool   // of a frame: the session ends with it, so that the good frame after it is not answered
	alien  bool   // no key is shown: a stranger's
}

const postHead = "POST /write?u=garbage&p=KEY HTTP/1.1\r\nHost: a\r\n"

// garbages is the table: what strangers say, frames of an authenticated sender, and requests.
func garbages() []garbage {
	random := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 300<<10)
	_, _ = random.Read(noise)    // it never returns an error
	noise[0], noise[1] = 0xff, 0 // nothing's first bytes
	repeat := func(s string, n int) func() []byte { return func() []byte { return bytes.Repeat([]byte(s), n) } }
	text := func(s string) func() []byte { return func() []byte { return []byte(s) } }
	zip := func(data []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(data) // memory takes it
		_ = w.Close()
		return b.Bytes()
	}
	sized := func(header string, body []byte) func() []byte {
		return func() []byte { return fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", header, len(body), body) }
	}
	bomb := zip(bytes.Repeat([]byte("a"), 48<<20)) // a thousandth of it packed
	json := strings.Replace(postHead, "/write?", "/api/v1/readings?gateway=garbage&", 1)
	keys := func(n int) func() []byte {
		return func() []byte {
			b := []byte("{")
			for i := range n {
				b = fmt.Appendf(b, `"k%d":1,`, i)
			}
			return append(b[:len(b)-1], '}')
		}
	}
	deep := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	return []garbage{
		{name: "noise", alien: true, body: func() []byte { return noise }},
		{name: "zeros", alien: true, body: repeat("\x00", 100<<10)},
		{name: "text", alien: true, body: repeat("this is no protocol\n", 5000), answer: "ERR invalid this port takes HELLO"},
		{name: "a line without end", alien: true, head: "HELLO ", body: repeat("g", 1<<20), answer: "ERR too_large a line is longer"},
		{name: "a huge name", alien: true, body: text("HELLO " + strings.Repeat("g", 400) + " k\n"), answer: "ERR invalid"},
		{name: "a name of control characters", alien: true, body: text("HELLO \x01\x02\x00 k\n"), answer: "ERR invalid"},
		{name: "a wrong key", alien: true, body: text("HELLO g bk_wrong\n"), answer: "ERR unauthorized"},
		{name: "a header without end", alien: true, head: "POST /write HTTP/1.1\r\n", body: repeat("X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 10_000), answer: "431 Request Header Fields Too Large"},
		{name: "a body without a key", alien: true, head: "POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n", body: repeat("m a=1\n", 100_000), answer: "401 Unauthorized"},

		{name: "noise as lines", format: "line", body: func() []byte { return noise }, answer: "NAK 2 invalid"},
		{name: "noise as JSON", format: "json", body: func() []byte { return noise }, answer: "NAK 2 invalid"},
		{name: "a frame of one line", format: "line", body: repeat("a", 1<<20), answer: "NAK 2 invalid"},
		{name: "a text without end", format: "line", body: func() []byte { return append([]byte(`m a="`), bytes.Repeat([]byte("x\n"), 400_000)...) }, answer: "NAK 2 invalid"},
		{name: "NUL bytes", format: "line", body: text("m\x00 a\x00=\x001"), answer: "NAK 2 invalid"},
		{name: "no UTF-8", format: "line", body: text("m\xff\xfe a=1"), answer: "NAK 2 invalid"},
		{name: "no UTF-8 in JSON", format: "json", body: text("{\"a\":\"\xff\xfe\"}"), answer: "NAK 2 invalid"},
		{name: "deep JSON", format: "json", body: text(deep), answer: "NAK 2 invalid JSON: it is nested too deep"},
		{name: "deep JSON of arrays", format: "json", body: repeat("[", 1<<20), answer: "NAK 2 invalid"},
		{name: "a hundred thousand keys", format: "json", body: keys(90_000), answer: "NAK 2 too_large element 1: it has more than"},
		{name: "huge numbers", format: "json", body: text(`{"a":1` + strings.Repeat("0", 100_000) + `,"b":1e999999999}`), answer: "NAK 2 invalid"},
		{name: "huge numbers in a line", format: "line", body: text("m a=1" + strings.Repeat("0", 100_000) + "i"), answer: "NAK 2 invalid"},
		{name: "noise as SenML", format: "senml+json", body: func() []byte { return noise }, answer: "NAK 2 invalid"},
		{name: "noise as CBOR", format: "senml+cbor", body: func() []byte { return noise }, answer: "NAK 2 invalid"},
		{name: "deep CBOR", format: "senml+cbor", body: repeat("\x81", 1<<20), answer: "NAK 2 invalid CBOR: exceeded max nested level"},
		{name: "an array of all sizes", format: "senml+cbor", body: text("\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\x00"), answer: "NAK 2 invalid CBOR"},
		{name: "a million records that are none", format: "senml+cbor", body: func() []byte {
			return append([]byte("\x9a\x00\x0f\xff\xf0"), make([]byte, 0xffff0)...)
		}, answer: "NAK 2 invalid record 1: it is no map"},
		{name: "a name without end", format: "senml+json", body: text(`[{"bn":"` + strings.Repeat("b", 500_000) + `"}` + strings.Repeat(`,{"v":1}`, 60_000) + `]`), answer: "NAK 2 invalid record 2: a name and unit of 500000 bytes"},
		{name: "a format that nobody knows", format: "morse", body: text("..."), answer: "NAK 2 invalid"},
		{name: "a frame too large", format: "line", body: repeat("m a=1 1\n", 300_000), answer: "NAK 2 too_large"},
		{name: "a frame far too large", head: "HELLO garbage KEY\nPUT 1 line 99999999999999\n", body: repeat("a", 100<<10), answer: "ERR too_large", ends: true},
		{name: "a number too large", head: "HELLO garbage KEY\nPUT 99999999999999999999999 line 1\na", answer: "ERR invalid", ends: true},
		{name: "a command that is none", head: "HELLO garbage KEY\nGIVE ME ALL\n", answer: "ERR invalid", ends: true},

		{name: "a bomb", head: postHead, body: sized("Content-Encoding: gzip\r\n", bomb), answer: "413 "},
		{name: "a bomb of lines", head: postHead, body: sized("Content-Encoding: gzip\r\n", zip(bytes.Repeat([]byte("m a=1 1\n"), 6<<20))), answer: "400 "},
		{name: "a bomb in a bomb", head: postHead, body: sized("Content-Encoding: gzip\r\n", zip(bomb)), answer: "400 "},
		{name: "a bomb of JSON", head: json, body: sized("Content-Encoding: gzip\r\n", zip(bytes.Repeat([]byte(" "), 48<<20))), answer: "413 "},
		{name: "half a bomb", head: postHead, body: sized("Content-Encoding: gzip\r\n", bomb[:len(bomb)/2][:1000]), answer: "400 "},
		{name: "another packing", head: postHead, body: sized("Content-Encoding: deflate\r\n", []byte("m a=1")), answer: "400 "},
		{name: "deep JSON by HTTP", head: json, body: sized("", []byte(deep)), answer: "400 "},
		{name: "a million keys", head: json, body: sized("", keys(1_000_000)()), answer: "400 "},
		{name: "ten million tiny records", head: strings.Replace(json, "Host: a\r\n", "Host: a\r\nContent-Type: application/senml+cbor\r\n", 1), body: func() []byte {
			tiny := append([]byte("\x9a\x00\x98\x96\x80\xa2\x21\x61a\x02\x00"), bytes.Repeat([]byte("\xa1\x02\x00"), 9_999_999)...)
			return sized("", tiny)()
		}, answer: "400 "},
		{name: "chunks without end", head: postHead + "Transfer-Encoding: chunked\r\n\r\n", body: repeat("8000\r\n"+strings.Repeat("a", 32<<10)+"\r\n", 1200), answer: "413 "},
		{name: "a chunk of no size", head: postHead + "Transfer-Encoding: chunked\r\n\r\n", body: text("zz\r\nm a=1\r\n"), answer: "400 "},
		{name: "a chunk of all sizes", head: postHead + "Transfer-Encoding: chunked\r\n\r\n", body: text("ffffffffffffffff\r\nm a=1\r\n"), answer: "400 "},
		{name: "a length too large", head: postHead + "Content-Length: 99999999999\r\n\r\n", body: repeat("m a=1\n", 1000), answer: "413 "},
		{name: "two lengths", head: postHead + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", body: text("m a=1"), answer: "400 "},
	}
}

// frame is a good frame of the gateway that garbage is sent as.
func goodFrame(seq int, value int64) string {
	payload := fmt.Sprintf("good n%d=%d", seq, value)
	return fmt.Sprintf("PUT %d line %d\n%s", seq, len(payload), payload)
}

// said returns what is said in all.
func (g *garbage) said(key string) []byte {
	var b bytes.Buffer
	b.WriteString(strings.ReplaceAll(g.head, "KEY", key))
	body := []byte(nil)
	if g.body != nil {
		body = g.body()
	}
	if g.format == "" {
		b.Write(body)
		return b.Bytes()
	}
	fmt.Fprintf(&b, "HELLO garbage %s\n%sPUT 2 %s %d\n", key, goodFrame(1, 1), g.format, len(body))
	b.Write(body)
	b.WriteString(goodFrame(3, 3))
	return b.Bytes()
}

// talk says it and returns what was answered until the port closed, or until all was answered that will be.
func (g *garbage) talk(address string, said []byte) (string, error) {
	dialer := net.Dialer{Timeout: recovery}
	c, err := dialer.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(recovery)); err != nil {
		return "", err
	}
	var saying sync.WaitGroup
	saying.Go(func() {
		_, _ = c.Write(said) // the port may close before the end
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	})
	answers, err := io.ReadAll(io.LimitReader(bufio.NewReader(c), 64<<10))
	_ = c.Close()
	saying.Wait()
	if len(answers) > 0 {
		err = nil // reset after the last word, since it had more to say
	}
	return string(answers), err
}

// check compares an answer with what it should be.
func (g *garbage) check(answers string) error {
	switch {
	case !strings.Contains(answers, g.answer) || g.answer == "" && answers != "":
		return fmt.Errorf("answered %.300q, want %q", answers, g.answer)
	case g.format != "" && (!strings.Contains(answers, "ACK 1\n") && !strings.Contains(answers, "ACK 3\n") || !strings.Contains(answers, "ACK 3\n")):
		return fmt.Errorf("the frames before and after it are answered %.300q", answers)
	}
	return nil
}

// mostGarbageBytes is what ingest may hold resident under a flood of garbage: the bounds of payloads in the making (64 MB)
// and of the queue (16 MB), what is left over until it is collected, and the program itself.
const mostGarbageBytes = 512 << 20

// TestGarbageCostsLittle says everything of the table once, as strangers and as an authenticated sender, and then from
// thirty-two connections at once as fast as it goes: each is answered as it should be, good frames before and after are stored,
// refusals of authenticated senders are counted and kept, strangers leave a counter, memory stays bounded, and a healthy
// gateway notices nothing.
func TestGarbageCostsLittle(t *testing.T) {
	i := newInputTest(t)
	flood := 5 * time.Second
	if testing.Short() {
		flood = 2 * time.Second
	}
	pid := i.ingest()
	start, before := lookAt(t, pid), i.books()
	stop := i.healthy("healthy")
	var most atomic.Int64
	watched, unwatch := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			most.Store(max(most.Load(), int64(lookAt(t, pid).resident)))
			select {
			case <-unwatch:
				return
			case <-tick.C:
			}
		}
	}()
	all := garbages()
	said := make([][]byte, len(all))
	strangers := uint64(0)
	var once sync.WaitGroup
	places := make(chan struct{}, 8)
	for n := range all {
		g := &all[n]
		said[n] = g.said(i.provider.EnrolmentKey)
		if g.alien {
			strangers++
		}
		places <- struct{}{}
		once.Go(func() {
			defer func() { <-places }()
			answers, err := g.talk(i.provider.Address(), said[n])
			if err == nil || g.answer != "" {
				err = g.check(answers)
			} else {
				err = nil // closed without a word, with more to say
			}
			if err != nil {
				t.Errorf("%s: %v", g.name, err)
			}
		})
	}
	once.Wait()
	i.until("strangers and refusals are counted", recovery, func() error {
		b := i.books()
		if got := b.Strangers - before.Strangers; got < strangers {
			return fmt.Errorf("%d strangers are counted of %d", got, strangers)
		}
		return nil
	})
	i.until("every refusal of an authenticated sender is kept, or counted as beyond its share", recovery, func() error {
		now := i.books()
		kept, notKept, refused := uint64(i.rejectsOf(t, "garbage")), now.NotKept-before.NotKept, now.Frames.Rejected-before.Frames.Rejected
		if kept+notKept != refused || refused+4 < uint64(len(all))-strangers { // of some requests not even the header is one
			return fmt.Errorf("%d frames were refused, %d are kept and %d are not", refused, kept, notKept)
		}
		t.Logf("%d kinds of garbage, %d of strangers; %d frames refused, %d kept", len(all), strangers, refused, kept)
		return nil
	})

	var rounds, bytes atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(flood)
	for w := range 32 {
		wg.Go(func() {
			for n := w * 5; time.Now().Before(end); n++ {
				g := &all[n%len(all)]
				_, _ = g.talk(i.provider.Address(), said[n%len(all)]) // limits may refuse it with other words now
				rounds.Add(1)
				bytes.Add(int64(len(said[n%len(all)])))
			}
		})
	}
	wg.Wait()
	stats := stop()
	close(unwatch)
	<-watched
	t.Logf("%d conversations and %d MB in %v; ingest held %d MB before and %d MB at most; a healthy gateway's p99 is %v",
		rounds.Load(), bytes.Load()>>20, flood, start.resident>>20, most.Load()>>20, stats.P99)
	if most.Load() > mostGarbageBytes {
		t.Errorf("ingest held %d MB", most.Load()>>20)
	}
	i.until("the books balance", recovery, func() error {
		b := i.books()
		if sum := b.Frames.Committed + b.Frames.Rejected + b.Frames.GivenUp + b.Frames.InHand; sum != b.Frames.Received || b.Frames.InHand > 0 {
			return fmt.Errorf("%+v", b.Frames)
		}
		return nil
	})
	if now := i.ingest(); now != pid {
		t.Errorf("ingest was process %d and is %d", pid, now)
	}
}

// rejectsOf counts the kept rejects of a gateway.
func (i *inputTest) rejectsOf(t *testing.T, gateway string) (n int) {
	t.Helper()
	var kept api.Rejects
	i.ask(t, &kept, "/rejects?limit=1000")
	for _, r := range kept.Rejects {
		if r.Gateway == gateway {
			n++
		}
	}
	return n
}
