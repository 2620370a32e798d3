package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/ingest/gate/intake"
	"berth/internal/credentials"
	"berth/schema/record"
)

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

func TestStrangersAreCountedAndGetNoTime(t *testing.T) {
	f := start(t, firstFrameIn(time.Second))
	known := f.hello(t, "g", enrolmentKey)
	begins := map[string]string{
		"silent": "", "half a hello": "HELLO g ", "half a method": "PO", "half a header": "POST /write HTTP/1.1\r\nHost:",
		"binary": "\x16\x03\x01\x02\x00", "a header without a key": "POST /write HTTP/1.1\r\nHost: a\r\n\r\n",
	}
	strangers := map[string]*client{}
	for name, begin := range begins {
		strangers[name] = f.dial(t)
		_, _ = io.WriteString(strangers[name], begin) // which may come too late
	}
	for name, c := range strangers {
		if _, err := io.ReadAll(c.in); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want the end", name, err)
		}
	}
	f.eventually(t, "six strangers are counted", func() bool { return f.books(t).Strangers == 6 })
	if n := len(f.log.Messages()); n != 0 {
		t.Errorf("strangers caused %d writes", n)
	}
	// Who has shown a key has time.
	known.send("PING\n")
	known.expect("PONG")
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
