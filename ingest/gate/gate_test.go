package gate

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/ingest/commit"
	"berth/ingest/commit/committest"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/internal/api"
	"berth/internal/credentials"
	"berth/schema/batch"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const enrolmentKey = "bk_enrolment"

// fixture is a gate before a log in memory.
type fixture struct {
	*Gate
	log       *committest.Log
	committer *commit.Committer
	pipeline  *record.Pipeline
	interner  *batch.Interner

	mu      sync.Mutex
	rejects []api.Reject
}

// ownKeys are keys of single gateways, named after them.
func ownKeys() map[string]record.GatewayKey {
	keys := map[string]record.GatewayKey{}
	for _, k := range []record.GatewayKey{
		{Gateway: "own", Hash: credentials.Hash("gk_own")},
		{Gateway: "relay", Hash: credentials.Hash("gk_relay"), Relay: true},
		{Gateway: "gone", Hash: credentials.Hash("gk_gone"), Revoked: time.Unix(1_700_000_000, 0)},
	} {
		keys["gateway."+credentials.Hash(k.Gateway)] = k
	}
	return keys
}

// start starts a gate; change may change its options first.
func start(t testing.TB, change func(f *fixture, o *Options)) *fixture {
	t.Helper()
	f := &fixture{log: committest.New(), interner: batch.NewInterner(1000)}
	settings := record.DefaultSettings()
	f.pipeline = &record.Pipeline{Name: "p1", EnrolmentHash: credentials.Hash(enrolmentKey), Settings: settings}
	quiet := slog.New(slog.DiscardHandler)
	f.committer = commit.New(commit.Options{Writer: f.log, Logger: quiet})
	o := Options{
		Address: "127.0.0.1:0", Committer: f.committer, Pipeline: f.pipeline, Keys: ownKeys(), Logger: quiet,
		Decoders: format.New(format.NewTable(format.TableOptions{Interner: f.interner})),
		Rejects: func(r api.Reject) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.rejects = append(f.rejects, r)
		},
	}
	if change != nil {
		change(f, &o)
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.Gate = g
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.stop(t) })
	return f
}

func (f *fixture) stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) //nolint:usetesting // the test's has ended
	defer cancel()
	if err := f.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	_ = f.committer.Close(ctx)
}

// readings returns what is in the log, one reading a line, as "gateway sensor value".
func (f *fixture) readings(t testing.TB) []string {
	t.Helper()
	var got []string
	for _, m := range f.log.Messages() {
		_, rows, err := batch.Decode(m, f.interner)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows.Rows {
			for i, sensor := range row.Shape.Sensors {
				got = append(got, fmt.Sprintf("%s %s %s", row.Shape.Gateway, sensor, rows.Value(int(row.First)+i, row.Shape.Kinds[i])))
			}
		}
	}
	return got
}

// books waits until nothing is in hand, and checks that the books balance.
func (f *fixture) books(t testing.TB) batch.Totals {
	t.Helper()
	totals, inHand := f.committer.Totals()
	if totals.FramesReceived != totals.FramesCommitted+totals.FramesRejected+totals.FramesGivenUp+inHand {
		t.Errorf("the books do not balance: %+v, %d in hand", totals, inHand)
	}
	return totals
}

// client is a connection to the gate.
type client struct {
	*net.TCPConn
	t  testing.TB
	in *bufio.Reader
}

func (f *fixture) dial(t testing.TB) *client {
	t.Helper()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatalf("a %T", c)
	}
	_ = tcp.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { _ = tcp.Close() })
	return &client{TCPConn: tcp, t: t, in: bufio.NewReaderSize(tcp, 512)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.TCPConn, text); err != nil {
		c.t.Fatalf("send %q: %v", text, err)
	}
}

// expect reads a line, which must begin as said.
func (c *client) expect(prefix string) string {
	c.t.Helper()
	line, err := c.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, prefix) {
		c.t.Fatalf("got %q, %v, want %q", line, err, prefix)
	}
	return strings.TrimSuffix(line, "\n")
}

// expectEnd reads the end of the connection.
func (c *client) expectEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		c.t.Fatalf("got %q, %v, want the end", rest, err)
	}
}

// hello opens a session.
func (f *fixture) hello(t testing.TB, gateway, key string) *client {
	t.Helper()
	c := f.dial(t)
	c.send("HELLO " + gateway + " " + key + "\n")
	c.expect("OK\n")
	return c
}

// frame returns a frame of line protocol.
func frame(seq int, payload string) string {
	return fmt.Sprintf("PUT %d line %d\n%s", seq, len(payload), payload)
}

func TestConnectionLimits(t *testing.T) {
	f := start(t, func(f *fixture, _ *Options) {
		f.pipeline.Settings.Limits.Connections = 3
		f.pipeline.Settings.Limits.ConnectionsPerAddress = 2
	})
	a, b := f.hello(t, "a", enrolmentKey), f.hello(t, "b", enrolmentKey)
	c := f.dial(t)
	c.send("HELLO c " + enrolmentKey + "\n")
	c.expect("ERR limited 2 connections come from this address")
	c.expectEnd()
	h := f.dial(t)
	h.send("GET /ping HTTP/1.1\r\n\r\n")
	h.expect("HTTP/1.1 429 Too Many Requests\r\n")
	// Beyond the spare ones nobody is even told.
	var spare []*client
	for range spareConns + 5 {
		spare = append(spare, f.dial(t))
	}
	spare[len(spare)-1].expectEnd()
	for _, c := range spare {
		_ = c.Close()
	}
	_ = a.Close()
	_ = b.Close()
	f.eventually(t, "connections are forgotten", func() bool { return f.Connections() == 0 })
	f.hello(t, "c", enrolmentKey)
}

// eventually waits until it is so.
func (f *fixture) eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("it did not come to pass that %s", what)
		}
	}
}

func TestStrangersAreCountedAndGetNoTime(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Limits = intake.Limits{FirstFrame: 50 * time.Millisecond} })
	for name, begin := range map[string]string{
		"silent": "", "half a hello": "HELLO g ", "half a method": "PO", "half a header": "POST /write HTTP/1.1\r\nHost:",
		"binary": "\x16\x03\x01\x02\x00", "a header without a key": "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		c := f.dial(t)
		c.send(begin)
		if _, err := io.ReadAll(c.in); err != nil {
			t.Errorf("%s: %v, want the end", name, err)
		}
	}
	f.eventually(t, "six strangers are counted", func() bool { return f.books(t).Strangers == 6 })
	if n := len(f.log.Messages()); n != 0 {
		t.Errorf("strangers caused %d writes", n)
	}
	// Who has shown a key has time.
	c := f.hello(t, "g", enrolmentKey)
	c.send("PING\n")
	c.expect("PONG")
}

func TestAPersonGetsAnAnswer(t *testing.T) {
	f := start(t, nil)
	c := f.dial(t)
	c.send("help\n")
	c.expect("ERR invalid this port takes HELLO <gateway> <key>, or HTTP")
	c.expectEnd()
}

func TestAFrameThatStopsComingEndsTheConnection(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Limits = intake.Limits{Frame: 50 * time.Millisecond} })
	c := f.hello(t, "g", enrolmentKey)
	c.send(frame(1, "m a=1") + "PUT 2 line 100\nm a=")
	c.expect("ACK 1\n")
	c.expect("ERR limited nothing more came for too long")
	c.expectEnd()
	f.eventually(t, "the half frame is given up", func() bool { return f.books(t).FramesGivenUp == 1 })
}

func TestAnIdleConnectionEnds(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Limits = intake.Limits{Idle: 50 * time.Millisecond} })
	c := f.hello(t, "g", enrolmentKey)
	c.expect("ERR limited nothing more came for too long")
	c.expectEnd()
}

func TestWhoReadsNoAnswersIsClosed(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) {
		o.Limits = intake.Limits{Write: 50 * time.Millisecond, Drain: 100 * time.Millisecond, Linger: time.Millisecond}
	})
	c := f.hello(t, "g", enrolmentKey)
	_ = c.SetReadBuffer(1 << 10)
	pings := strings.Repeat("PING\n", 10_000)
	for {
		if _, err := io.WriteString(c.TCPConn, pings); err != nil {
			break // it was closed, as it should be
		}
	}
	f.eventually(t, "the connection is gone", func() bool { return f.Connections() == 0 })
}

func TestRevocationDropsConnections(t *testing.T) {
	f := start(t, nil)
	revoke := func(gateway string) map[string]record.GatewayKey {
		keys := ownKeys()
		for name, k := range keys {
			if k.Gateway == gateway {
				k.Revoked = time.Unix(1, 0)
				keys[name] = k
			}
		}
		return keys
	}
	own, relay, enrolled := f.hello(t, "own", "gk_own"), f.hello(t, "relay", "gk_relay"), f.hello(t, "g", enrolmentKey)
	enrolled.send(frame(1, "m a=1"))
	enrolled.expect("ACK 1\n")

	f.Set(f.pipeline, revoke("own"))
	own.expect("ERR unauthorized the key was revoked")
	own.expectEnd()
	again := f.dial(t)
	again.send("HELLO own gk_own\n")
	again.expect("ERR unauthorized the key was revoked")

	f.Set(f.pipeline, revoke("relay"))
	relay.expect("ERR unauthorized the key was revoked")
	enrolled.send("PING\n")
	enrolled.expect("PONG\n")

	keys := ownKeys()
	keys["new"] = record.GatewayKey{Gateway: "g", Hash: credentials.Hash("gk_g")}
	f.Set(f.pipeline, keys)
	enrolled.expect(`ERR unauthorized gateway "g" has a key of its own and must use it`)

	other := f.hello(t, "h", enrolmentKey)
	rotated := *f.pipeline
	rotated.EnrolmentHash = credentials.Hash("bk_new")
	f.Set(&rotated, keys)
	other.expect("ERR unauthorized the key is unknown")
	other.expectEnd()
	f.hello(t, "h", "bk_new")
}

func TestStopAnswersWhatIsInHand(t *testing.T) {
	f := start(t, nil)
	f.log.Hold(true)
	c, idle := f.hello(t, "g", enrolmentKey), f.hello(t, "idle", enrolmentKey)
	sniffed := f.dial(t)
	c.send(frame(1, "m a=1") + frame(2, "m a=2"))
	f.eventually(t, "both frames are in hand", func() bool { _, n := f.committer.Totals(); return n == 2 })
	stopped := make(chan error)
	go func() { stopped <- f.Stop(t.Context()) }()
	idle.expect("ERR unavailable the service is being stopped")
	sniffed.expectEnd()
	f.log.Hold(false)
	c.expect("ACK 2\n")
	c.expect("ERR unavailable the service is being stopped")
	c.expectEnd()
	idle.expectEnd()
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := net.Dial("tcp", f.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
}

func TestStopIsBounded(t *testing.T) {
	f := start(t, nil)
	f.log.Hold(true)
	c := f.hello(t, "g", enrolmentKey)
	c.send(frame(1, "m a=1"))
	f.eventually(t, "the frame is in hand", func() bool { _, n := f.committer.Totals(); return n == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.Stop(ctx); err == nil {
		t.Error("stop says that all was answered")
	}
	c.expectEndSomehow()
	f.log.Hold(false)
}

// expectEndSomehow reads until the connection ends, however it does.
func (c *client) expectEndSomehow() {
	c.t.Helper()
	if rest, _ := io.ReadAll(c.in); strings.Contains(string(rest), "ACK") {
		c.t.Errorf("got %q, though nothing was confirmed", rest)
	}
}

func TestATakeOverEndsConnections(t *testing.T) {
	f := start(t, nil)
	f.log.Hold(true)
	c, idle := f.hello(t, "g", enrolmentKey), f.hello(t, "h", enrolmentKey)
	c.send(frame(1, "m a=1"))
	f.eventually(t, "the frame is in hand", func() bool { _, n := f.committer.Totals(); return n == 1 })
	f.log.TakeOver()
	c.expect("ERR unavailable this instance can no longer write")
	c.expectEnd()
	idle.send(frame(1, "m a=1"))
	idle.expect("ERR unavailable this instance can no longer write")
}

func TestAFullLogHoldsSendersBackAndLosesNothing(t *testing.T) {
	f := start(t, nil)
	f.log.Room(0)
	c := f.hello(t, "g", enrolmentKey)
	var frames strings.Builder
	const n = 500
	for i := range n {
		frames.WriteString(frame(i+1, fmt.Sprintf("m a=%d", i)))
	}
	go func() { _, _ = io.WriteString(c.TCPConn, frames.String()) }()
	f.eventually(t, "the log is slow", f.committer.Slow)
	if got := f.readings(t); len(got) != 0 {
		t.Errorf("%d readings in a full log", len(got))
	}
	f.log.Room(-1)
	f.committer.Room()
	for answer := ""; answer != fmt.Sprintf("ACK %d", n); {
		answer = c.expect("ACK ")
	}
	if got := f.readings(t); len(got) != n || got[n-1] != fmt.Sprintf("g m.a %d", n-1) {
		t.Errorf("%d readings, the last is %s", len(got), got[len(got)-1])
	}
}
