package gate

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/ingest/gate/intake"
	"berth/schema"
	"berth/schema/record"
)

// setLimits changes the limits of the gate while it runs.
func (f *fixture) setLimits(change func(l *record.Limits)) {
	p := *f.pipeline
	change(&p.Settings.Limits)
	f.pipeline = &p
	f.Set(f.pipeline, ownKeys())
}

// limited starts a gate with limits, whose frames may be slowed for so long.
func limited(t *testing.T, slow time.Duration, change func(l *record.Limits)) *fixture {
	return start(t, func(f *fixture, o *Options) {
		change(&f.pipeline.Settings.Limits)
		o.Limits = intake.Limits{Slow: slow}
	})
}

// lines returns line protocol of n readings.
func lines(n int) string { return strings.Repeat("m a=1\n", n) }

// write posts n readings by HTTP.
func (f *fixture) write(t *testing.T, user string, n int) (status int, answer, retryAfter string) {
	t.Helper()
	status, answer, header := f.request(t, httpCase{path: "/write", user: user, password: enrolmentKey}, strings.NewReader(lines(n)))
	return status, answer, header.Get("Retry-After")
}

func TestASenderBeyondItsRateIsSlowedAndLosesNothing(t *testing.T) {
	for name, limit := range map[string]func(l *record.Limits){
		"readings_rate":         func(l *record.Limits) { l.ReadingsPerSecond = 2000 },
		"bytes_rate":            func(l *record.Limits) { l.BytesPerSecond = 2000 * int64(len(lines(1))) },
		"gateway_readings_rate": func(l *record.Limits) { l.GatewayReadingsPerSecond = 2000 },
		"gateway_bytes_rate":    func(l *record.Limits) { l.GatewayBytesPerSecond = 2000 * int64(len(lines(1))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := limited(t, 0, limit)
			begun := time.Now()
			c := f.hello(t, "g", enrolmentKey)
			const frames, each = 13, 1000 // 3 s worth more than the burst; the last frame is not waited for
			go func() {
				for i := range frames {
					c.send(frame(i+1, lines(each)))
				}
			}()
			for c.expect("ACK ") != fmt.Sprint("ACK ", frames) {
			}
			if took := time.Since(begun); took < 900*time.Millisecond || took > time.Minute {
				t.Errorf("it took %v", took)
			}
			totals := f.books(t)
			if totals.Accepted != frames*each || totals.FramesRejected != 0 || totals.Reasons["slowed_"+name] == 0 {
				t.Errorf("%+v", totals)
			}
			if u := f.Use(); u.ReadingsPerSecond == 0 || u.BytesPerSecond < 6*u.ReadingsPerSecond || u.ConnectionsPerGateway != 1 || u.Connections != 1 {
				t.Errorf("used %+v", u)
			}
		})
	}
}

func TestAGatewayIsNotSlowedForAnother(t *testing.T) {
	f := limited(t, 0, func(l *record.Limits) { l.GatewayReadingsPerSecond = 1 })
	wild, calm := f.hello(t, "wild", enrolmentKey), f.hello(t, "calm", enrolmentKey)
	wild.send(frame(1, lines(1000)) + frame(2, lines(1)))
	wild.expect("ACK ")
	f.eventually(t, "it is slowed", func() bool { return f.books(t).Reasons["slowed_gateway_readings_rate"] > 0 })
	calm.send(frame(1, lines(1)))
	calm.expect("ACK 1\n")
	relay := f.hello(t, "relay", "gk_relay") // it speaks for many
	for i := range 3 {
		relay.send(frame(i+1, lines(1000)))
		relay.expect(fmt.Sprint("ACK ", i+1))
	}
}

func TestARaisedLimitEndsTheWait(t *testing.T) {
	f := limited(t, time.Minute, func(l *record.Limits) { l.ReadingsPerSecond = 1 })
	c := f.hello(t, "g", enrolmentKey)
	c.send(frame(1, lines(1000)))
	c.expect("ACK 1\n")
	c.send(frame(2, lines(1000)))
	f.eventually(t, "it is slowed", func() bool { return f.books(t).Reasons["slowed_readings_rate"] > 0 })
	if status, answer, retry := f.write(t, "h", 1); status != 429 || !strings.Contains(answer, "limit of 1 readings a second") || !atLeast(retry, 900) {
		t.Errorf("HTTP is answered %d %s, Retry-After %s", status, answer, retry)
	}
	if reason := f.books(t).Reasons["readings_rate"]; reason != 1 {
		t.Errorf("%d frames were counted as refused for it", reason)
	}
	begun := time.Now()
	f.setLimits(func(l *record.Limits) { l.ReadingsPerSecond = 0 })
	c.expect("ACK 2\n")
	if took := time.Since(begun); took > 20*time.Second { // else it would wait for a quarter of an hour
		t.Errorf("the raised limit was live after %v", took)
	}
	if status, answer, _ := f.write(t, "h", 1); status != 204 {
		t.Errorf("HTTP is answered %d %s", status, answer)
	}
}

func atLeast(number string, least int) bool {
	n, err := strconv.Atoi(number)
	return err == nil && n >= least
}

func TestWhoIsSlowedForTooLongIsToldWhyAndWaitsOn(t *testing.T) {
	f := limited(t, 50*time.Millisecond, func(l *record.Limits) { l.GatewayReadingsPerSecond = 1 })
	for i := range 2 { // coming again wins nothing
		c := f.hello(t, "g", enrolmentKey)
		c.send(frame(1, lines(100)))
		if i == 0 {
			c.expect("ACK 1\n")
		}
		c.send(frame(2, lines(1)))
		c.expect(`ERR limited gateway "g" sends more than its limit of 1 readings a second; send more slowly`)
		c.expectEnd()
	}
	if totals := f.books(t); totals.Accepted != 100 || totals.FramesRejected != 0 {
		t.Errorf("%+v", totals)
	}
}

func TestHTTPWaitsALittleForItsTurn(t *testing.T) {
	f := limited(t, 0, func(l *record.Limits) { l.ReadingsPerSecond = 1000 })
	begun := time.Now() // 900 readings more than are had at once: another's turn comes 0.9 s later
	if status, answer, _ := f.write(t, "g", 5900); status != 204 {
		t.Fatalf("answered %d %s", status, answer)
	}
	early := time.Since(begun) < 500*time.Millisecond
	if status, answer, _ := f.write(t, "g", 1); status != 204 || time.Since(begun) < 800*time.Millisecond {
		t.Errorf("answered %d %s after %v", status, answer, time.Since(begun))
	}
	if n := f.books(t).Reasons["slowed_readings_rate"]; early && n != 1 {
		t.Errorf("slowed %d times", n)
	}
}

func TestAGatewaysConnections(t *testing.T) {
	f := limited(t, 0, func(l *record.Limits) { l.ConnectionsPerGateway = 2 })
	a, _ := f.hello(t, "g", enrolmentKey), f.hello(t, "g", enrolmentKey)
	c := f.dial(t)
	c.send("HELLO g " + enrolmentKey + "\n")
	c.expect(`ERR limited gateway "g" has 2 connections, its limit`)
	c.expectEnd()
	if status, answer, _ := f.write(t, "g", 1); status != 429 || !strings.Contains(answer, "2 connections") {
		t.Errorf("HTTP is answered %d %s", status, answer)
	}
	for range 3 {
		f.hello(t, "relay", "gk_relay")
	}
	if n := f.books(t).Reasons["gateway_connections"]; n != 2 {
		t.Errorf("%d were counted", n)
	}
	_ = a.Close()
	f.eventually(t, "the connection is forgotten", func() bool { return f.Use().ConnectionsPerGateway == 1 })
	f.hello(t, "g", enrolmentKey)
}

func TestAFullKeyspaceRefusesUntilThereIsRoom(t *testing.T) {
	f := start(t, nil)
	f.SetFull(schema.Errorf(schema.Limited, "the keyspace holds 2 bytes"))
	c := f.hello(t, "g", enrolmentKey)
	c.send(frame(1, lines(1)))
	c.expect("NAK 1 limited the keyspace holds 2 bytes\n")
	if status, answer, retry := f.write(t, "g", 1); status != 429 || !strings.Contains(answer, "holds 2 bytes") || retry != "60" {
		t.Errorf("HTTP is answered %d %s, Retry-After %s", status, answer, retry)
	}
	if totals := f.books(t); totals.Reasons["keyspace_bytes"] != 2 || totals.FramesRejected != 2 {
		t.Errorf("%+v", totals)
	}
	f.SetFull(nil)
	c.send(frame(2, lines(1)))
	c.expect("ACK 2\n")
}

func TestStopDoesNotWaitForWhoIsSlowed(t *testing.T) {
	f := limited(t, time.Hour, func(l *record.Limits) { l.ReadingsPerSecond = 1 })
	c := f.hello(t, "g", enrolmentKey)
	c.send(frame(1, lines(1000)) + frame(2, lines(1)))
	f.eventually(t, "it is slowed", func() bool { return f.books(t).Reasons["slowed_readings_rate"] > 0 })
	begun := time.Now()
	if err := f.Stop(t.Context()); err != nil || time.Since(begun) > 20*time.Second {
		t.Errorf("stopped after %v, %v", time.Since(begun), err)
	}
}
