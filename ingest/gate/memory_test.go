package gate

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// maxIdle is what an idle connection of Berth frames may cost, in bytes, the test's own side of it and the overhead of
// the race detector included. Without these it is about half.
const maxIdle = 16 << 10

// idleBytes returns what each of n connections costs that have sent a frame and wait, ours and the test's side together.
func idleBytes(t testing.TB, n int) float64 {
	t.Helper()
	f := start(t, nil)
	f.hello(t, "warm", enrolmentKey).Close()
	before := inUse()
	clients := make([]*client, n)
	for i := range clients {
		c := f.dial(t)
		c.in.Reset(nil)
		clients[i] = c
		c.in = nil
		c.send(fmt.Sprintf("HELLO gateway_%d ", i) + enrolmentKey + "\n" + frame(1, "weather,place=berlin temperature=21.5,humidity=40i 1"))
		var buf [64]byte
		for got := 0; got < len("OK\n")+1; {
			k, err := c.Read(buf[got:])
			if err != nil {
				t.Fatal(err)
			}
			got += k
		}
	}
	f.eventually(t, "all frames are answered", func() bool { _, inHand := f.committer.Totals(); return inHand == 0 })
	after := inUse()
	runtime.KeepAlive(clients)
	for _, c := range clients {
		_ = c.Close()
	}
	return (after - before) / float64(n)
}

// inUse returns the bytes of heap and stacks in use, after what was used has been given back.
func inUse() float64 {
	for range 4 { // each collection halves stacks that are too large, and empties pools
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}

// aloneEnv names the environment's variable that is set in a process that has nothing to do but one test.
const aloneEnv = "BERTH_TEST_ALONE"

// alone reports whether this process has nothing to do but this test. If it has, the test is run again in a process of its own,
// and fails if that does: what is in use here is also what the tests before have left, and lessens when that is given back.
func alone(t *testing.T) bool {
	t.Helper()
	if _, ok := os.LookupEnv(aloneEnv); ok {
		return true
	}
	path := strings.Split(t.Name(), "/")
	for i, name := range path {
		path[i] = "^" + regexp.QuoteMeta(name) + "$"
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run="+strings.Join(path, "/"), fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), aloneEnv+"=")
	out, err := cmd.CombinedOutput()
	t.Logf("in a process of its own:\n%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("it fails in a process of its own: %v", err)
	}
	return false
}

func TestAnIdleConnectionCostsLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a thousand connections")
	}
	if !alone(t) {
		return
	}
	got := idleBytes(t, 1000)
	t.Logf("%.0f bytes for each idle connection and the test's side of it", got)
	if got > maxIdle {
		t.Errorf("an idle connection costs %.0f bytes, more than %d", got, maxIdle)
	}
}

func BenchmarkIdleConnection(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(idleBytes(b, 2000), "bytes/conn")
	}
}

// TestSilentConnectionsCostLittle opens more connections than are ever served at once, which all say nothing.
func TestSilentConnectionsCostLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a thousand connections")
	}
	if !alone(t) {
		return
	}
	f := start(t, nil)
	before := inUse()
	clients := make([]*client, 1000)
	for i := range clients {
		clients[i] = f.dial(t)
		clients[i].in = nil
		clients[i].send("HELLO ") // a stranger that does not go on
	}
	f.eventually(t, "all are open", func() bool { return f.Connections() == len(clients) })
	got := (inUse() - before) / float64(len(clients))
	t.Logf("%.0f bytes for each stranger and the test's side of it", got)
	if got > 16<<10 {
		t.Errorf("a stranger costs %.0f bytes", got)
	}
	runtime.KeepAlive(clients)
	for _, c := range clients {
		_ = c.Close()
	}
	f.eventually(t, "all are counted", func() bool { return f.books(t).Strangers == uint64(len(clients)) })
}

// TestWhatIsAnnouncedTakesNoMemory: a device that announces much and sends little keeps nobody from the memory of payloads.
func TestWhatIsAnnouncedTakesNoMemory(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Memory = 4 << 20 })
	post := f.dial(t)
	post.send("POST /api/v1/readings HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Length: 30000000\r\n\r\n{")
	const posts = 40 // of lines, and of what is read whole
	for i := range posts {
		path := []string{"/write", "/api/v1/readings"}[i%2]
		f.dial(t).send("POST " + path + " HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Length: 300000\r\n\r\n[")
	}
	for range 8 {
		f.hello(t, "own", "gk_own").send("PUT 1 line 1048576\nm a=1")
	}
	f.connect3(t, "own", "gk_own", nil).send("\x30\x80\x80\x40\x00\x05topic")
	f.eventually(t, "all have begun", func() bool { return f.Connections() == posts+10 })
	c := f.hello(t, "other", enrolmentKey)
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	var lines strings.Builder
	for n := range 10_000 {
		fmt.Fprintf(&lines, "m a=%d %d\n", n, time.Now().UnixNano())
	}
	c.send(frame(1, lines.String()))
	c.expect("ACK 1")
}
