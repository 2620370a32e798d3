package gate

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"berth/ingest/format"
	"berth/ingest/witness"
	"berth/internal/credentials"
	"berth/schema/batch"
	"berth/schema/record"
)

// withApproval has new gateways wait; "known" is one that the provider has, and of "hidden" it cannot be told.
func withApproval(f *fixture, o *Options) {
	f.pipeline.Settings.Approve = true
	o.Introduced = func(gateway string) (known, sure bool) { return gateway == "known", gateway != "hidden" }
}

func TestANewGatewayWaitsForApproval(t *testing.T) {
	f := start(t, withApproval)
	const why = `gateway "new" waits for approval; have it approved by the provider, and send again in a minute: nothing was taken`
	c := f.dial(t)
	c.send("HELLO new " + enrolmentKey + "\n" + frame(1, "m a=1"))
	c.expect("ERR pending " + why)

	status, answer, header := f.request(t, httpCase{path: "/api/v2/write?gateway=new", header: map[string]string{"Authorization": "Token " + enrolmentKey}}, strings.NewReader("m a=1"))
	if status != http.StatusUnauthorized || !strings.Contains(answer, `"code":"pending"`) || header.Get("Retry-After") != "60" {
		t.Errorf("HTTP is answered %d %s, %v", status, answer, header)
	}
	five := &client5{f.dial(t)}
	if ack := five.connect("new", enrolmentKey, nil); ack.ReasonCode != packets5.ConnackNotAuthorized || ack.Properties.ReasonString != why {
		t.Errorf("MQTT 5 is answered %s", ack)
	}
	three := &client3{f.dial(t)}
	three.connect("new", enrolmentKey, nil)
	if ack := three.connack(); ack.ReturnCode != packets3.ErrRefusedNotAuthorised {
		t.Errorf("MQTT 3.1.1 is answered %d", ack.ReturnCode)
	}
	c = f.dial(t)
	c.send("HELLO hidden " + enrolmentKey + "\n")
	c.expect(`ERR pending it cannot be told yet whether gateway "hidden" is new`)
	f.hello(t, "known", enrolmentKey)
	f.hello(t, "own", "gk_own")
	if got := f.readings(t); len(got) != 0 {
		t.Errorf("stored %v", got)
	}
	var totals batch.Totals
	f.eventually(t, "each is counted, and is no stranger", func() bool {
		totals = f.books(t)
		return totals.Reasons[format.ReasonPending] == 5 && totals.Strangers == 0
	})

	keys := ownKeys()
	keys["new"] = record.GatewayKey{Gateway: "new", Approved: time.Unix(1, 0)}
	keys["refused"] = record.GatewayKey{Gateway: "refused", Revoked: time.Unix(1, 0)}
	f.Set(f.pipeline, keys)
	c = f.hello(t, "new", enrolmentKey)
	c.send(frame(1, "m a=1"))
	c.expect("ACK 1")
	c = f.dial(t)
	c.send("HELLO refused " + enrolmentKey + "\n")
	c.expect(`ERR unauthorized gateway "refused" was revoked`)
}

func TestWhoWasLetInGoesOnWhenApprovalIsAskedFor(t *testing.T) {
	f := start(t, nil)
	c := f.hello(t, "g", enrolmentKey)
	p := *f.pipeline
	p.Settings.Approve = true
	f.Set(&p, ownKeys())
	c.send(frame(1, "m a=1"))
	c.expect("ACK 1")
	again := f.dial(t)
	again.send("HELLO g " + enrolmentKey + "\n")
	again.expect("ERR pending")
	keys := ownKeys()
	keys["g"] = record.GatewayKey{Gateway: "g", Revoked: time.Unix(1, 0)}
	f.Set(&p, keys)
	c.expect(`ERR unauthorized gateway "g" was revoked`)
}

// TestALineOfAGatewayThatWaitsIsRefusedAlone sends lines of many gateways with the enrolment key.
func TestALineOfAGatewayThatWaitsIsRefusedAlone(t *testing.T) {
	f := start(t, withApproval)
	status, answer, _ := f.request(t, httpCase{path: "/api/v2/write", header: map[string]string{"Authorization": "Token " + enrolmentKey}},
		strings.NewReader("m,gateway=known a=1\nm,gateway=new a=1\nm,gateway=known a=2"))
	if status != http.StatusBadRequest || !strings.Contains(answer, `2 of 3 readings were stored; line 2: gateway \"new\" waits for approval`) {
		t.Errorf("answered %d %s", status, answer)
	}
	if n := f.books(t).Reasons[format.ReasonPending]; n != 1 {
		t.Errorf("%d are counted", n)
	}
	// MQTT 3.1.1 can only be told that a message was taken: the connection ends, and the client keeps the message.
	c := f.connect3(t, "", enrolmentKey, func(p *packets3.ConnectPacket) {
		p.UsernameFlag, p.Username, p.PasswordFlag = true, enrolmentKey, false
	})
	c.publish("readings/other/m", 1, 1, "21.5")
	c.expectEndSomehow()
}

func TestWhoWaitsIsBounded(t *testing.T) {
	w := witness.New()
	f := start(t, func(f *fixture, o *Options) {
		withApproval(f, o)
		o.Witness = w
	})
	for n := range witness.MostWaiting + 1 {
		c := f.dial(t)
		c.send(fmt.Sprintf("HELLO new%d %s\n", n, enrolmentKey))
		if n < witness.MostWaiting {
			c.expect("ERR pending gateway")
		} else {
			c.expect("ERR pending gateway \"new256\" is new, and 256 others wait for approval already")
		}
		_ = c.Close()
	}
	if w.Waits("new256") || !w.Waits("new0") {
		t.Error("another waits than the first 256")
	}
}

// clockOf gives the gate a clock that the test moves.
func clockOf(at *atomic.Int64) func(*fixture, *Options) {
	at.Store(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC).UnixNano())
	return func(_ *fixture, o *Options) { o.Now = func() time.Time { return time.Unix(0, at.Load()) } }
}

// rotated are the keys after "own" was given a new one.
func rotated(until time.Time, untilUsed bool) map[string]record.GatewayKey {
	keys := ownKeys()
	keys["gateway."+credentials.Hash("own")] = record.GatewayKey{
		Gateway: "own", Hash: credentials.Hash("gk_new"),
		Previous: &record.PreviousKey{Hash: credentials.Hash("gk_own"), Until: until, UntilUsed: untilUsed},
	}
	return keys
}

func TestAKeyThatWasReplacedEndsInTime(t *testing.T) {
	var at atomic.Int64
	f := start(t, clockOf(&at))
	old := f.hello(t, "own", "gk_own")
	f.Set(f.pipeline, rotated(time.Unix(0, at.Load()).Add(time.Hour), false))
	old.send(frame(1, "m a=1"))
	old.expect("ACK 1")
	f.hello(t, "own", "gk_new")
	f.hello(t, "own", "gk_own")
	at.Add(int64(time.Hour))
	late := f.dial(t)
	late.send("HELLO own gk_own\n")
	late.expect("ERR unauthorized the key was replaced by a new one; use the gateway's new key")
	began := time.Now()
	old.expect("ERR unauthorized the key was replaced by a new one")
	old.expectEnd()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("a connection by the key that ended lived on for %v", took)
	}
	f.hello(t, "own", "gk_new")
}

func TestAKeyThatWasReplacedEndsWithTheFirstUseOfTheNewOne(t *testing.T) {
	var at atomic.Int64
	f := start(t, clockOf(&at))
	old := f.hello(t, "own", "gk_own")
	f.Set(f.pipeline, rotated(time.Unix(0, at.Load()).Add(time.Hour), true))
	old.send(frame(1, "m a=1"))
	old.expect("ACK 1")
	f.hello(t, "own", "gk_new")
	old.expect("ERR unauthorized the key was replaced by a new one")
	late := f.dial(t)
	late.send("HELLO own gk_own\n")
	late.expect("ERR unauthorized the key was replaced by a new one")
}

// TestRevocationEndsWhatIsOpen revokes a key while connections of every protocol are open, plain and by TLS, and measures
// until they are closed: of HTTP one between requests and one in the middle of a body.
func TestRevocationEndsWhatIsOpen(t *testing.T) {
	f, a := startTLS(t, nil)
	head := "POST /write HTTP/1.1\r\nHost: a\r\nAuthorization: Token gk_own\r\nContent-Length: "
	open := map[string]net.Conn{}
	begin := func(name string, c net.Conn, said string, answer byte) {
		t.Helper()
		if _, err := io.WriteString(c, said); err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 1)
		if _, err := io.ReadFull(c, first); err != nil || answer != 0 && first[0] != answer {
			t.Fatalf("%s is answered %q, %v", name, first, err)
		}
		open[name] = c
	}
	for _, way := range []string{"plain", "tls"} {
		dial := func() net.Conn {
			if way == "tls" {
				return f.dialTLS(t, a.config()).Conn
			}
			return f.dial(t).TCPConn
		}
		begin("frames "+way, dial(), "HELLO own gk_own\n", 'O')
		begin("http "+way, dial(), head+"5\r\n\r\nm a=1", 'H')
		begin("half a body "+way, dial(), head+"5\r\n\r\nm a=1"+head+"5000\r\n\r\nm a=1\n", 'H')
		for version, connect := range map[string]string{"3": "\x10\x1b\x00\x04MQTT\x04\xc2\x00\x3c\x00\x02c3\x00\x03own\x00\x06gk_own", "5": "\x10\x1c\x00\x04MQTT\x05\xc2\x00\x3c\x00\x00\x02c5\x00\x03own\x00\x06gk_own"} {
			begin("mqtt "+version+" "+way, dial(), connect, 0x20)
		}
	}
	keys := ownKeys()
	for name, k := range keys {
		k.Revoked = time.Unix(1, 0)
		keys[name] = k
	}
	f.Set(f.pipeline, keys)
	began := time.Now()
	for name, c := range open {
		_ = c.SetReadDeadline(began.Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is open after 20 s", name)
		}
	}
	f.eventually(t, "all are forgotten", func() bool { return f.Connections() == 0 })
	t.Logf("closed %d connections within %v", len(open), time.Since(began))
}
