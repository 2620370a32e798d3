package gate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"berth/schema/batch"
	"berth/schema/record"
)

// willOf gives a CONNECT a will to the sensor status of gateway g, with a delay, and its session an expiry, in seconds.
func willOf(p *packets5.Connect, text string, delay, expiry uint32) {
	p.CleanStart, p.Properties.SessionExpiryInterval = false, &expiry
	p.WillFlag, p.WillTopic, p.WillMessage = true, "readings/g/status", []byte(text)
	p.WillProperties = &packets5.Properties{WillDelayInterval: &delay}
}

// count returns how often a reading is stored.
func (f *fixture) count(t testing.TB, reading string) (n int) {
	t.Helper()
	for _, r := range f.readings(t) {
		if r == reading {
			n++
		}
	}
	return n
}

// limit changes the pipeline's limits.
func (f *fixture) limit(change func(l *record.Limits)) {
	p := *f.pipeline
	change(&p.Settings.Limits)
	f.Set(&p, ownKeys())
}

// TestMQTTASessionEndsWhileTheQueueIsFull: what a DISCONNECT ends is not there again after a restart.
func TestMQTTASessionEndsWhileTheQueueIsFull(t *testing.T) {
	f := start(t, smallQueue)
	minute, none := uint32(60), uint32(0)
	c, _ := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.Properties.SessionExpiryInterval = &minute })
	c.publish("readings/g/a", 2, 7, "1", nil)
	read5[*packets5.Pubrec](c)
	f.log.Hold(true)
	other := f.connect3(t, "h", enrolmentKey, nil)
	for i := range 40 {
		other.publish("readings/h/a", 1, uint16(i+1), fmt.Sprint(i))
		other.ping()
	}
	c.write(&packets5.Disconnect{Properties: &packets5.Properties{SessionExpiryInterval: &none}})
	c.expectEnd()
	f.eventually(t, "the connection is gone", func() bool { return f.Connections() == 1 })
	f.log.Hold(false)
	_ = other.Close()
	f.stop(t)
	known := map[string]uint32{}
	for _, m := range f.log.Messages() {
		h, err := batch.DecodeHeader(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range h.Sessions {
			known[s.Key] = s.Expiry
		}
	}
	for key, expiry := range known {
		if expiry > 0 {
			t.Errorf("the session %s is kept for %d s", key, expiry)
		}
	}
	if len(known) != 1 {
		t.Errorf("%d sessions were known", len(known))
	}
}

// mqttSessions are the statements on sessions and wills, and what they leave to be thought of.
var mqttSessions = []behaviour{
	{"MQTT-3.1.2-8 MQTT-3.1.2-10 MQTT-3.1.2-12 MQTT-3.14.4-3 of 3.1.1: a will is published unless the client disconnects", func(t *testing.T, f *fixture) {
		will := func(p *packets3.ConnectPacket) {
			p.WillFlag, p.WillTopic, p.WillMessage = true, "readings/g/status", []byte("offline")
		}
		c := f.connect3(t, "g", enrolmentKey, will)
		c.ping()
		_ = c.Close() // without a DISCONNECT
		f.eventually(t, "the will is stored", func() bool { return len(f.readings(t)) == 3 })
		c = f.connect3(t, "g", enrolmentKey, will)
		c.write(packets3.NewControlPacket(packets3.Disconnect))
		c.expectEnd()
		f.eventually(t, "the state is stored", func() bool { return len(f.readings(t)) == 5 })
		want := []string{"g mqtt.connected true", "g mqtt.connected false", "g status offline", "g mqtt.connected true", "g mqtt.connected false"}
		if got := f.readings(t); !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	}},
	{"MQTT5-3.1.2-7 MQTT5-3.1.2-8 MQTT5-3.1.3-9 a will waits for its delay, and is not published when the client comes back", func(t *testing.T, f *fixture) {
		will := func(p *packets5.Connect) { willOf(p, "offline", 1, 60) }
		states := func() int { return f.count(t, "g status offline") }
		c, _ := f.connect5(t, "g", enrolmentKey, will)
		left := time.Now()
		_ = c.Close()
		c, _ = f.connect5(t, "g", enrolmentKey, will)
		if took := time.Since(left); took > 800*time.Millisecond {
			t.Skipf("the client came back after %v, when its will is due: the machine is too slow to tell", took)
		}
		<-time.After(1200 * time.Millisecond) // what is tested is that nothing comes
		if states() > 0 {
			t.Error("the will of a client that is back was published")
		}
		begin := time.Now()
		_ = c.Close()
		f.eventually(t, "the will is published", func() bool { return states() == 1 })
		if took := time.Since(begin); took < 900*time.Millisecond {
			t.Errorf("after %v", took)
		}
	}},
	{"MQTT5-3.14.4-3 MQTT5-3.1.2-10 with the reason 0x04 the will is published, with 0x00 it is not", func(t *testing.T, f *fixture) {
		for _, code := range []byte{0, 4} {
			c, _ := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { willOf(p, "offline", 0, 0) })
			c.write(&packets5.Disconnect{ReasonCode: code, Properties: &packets5.Properties{}})
			c.expectEnd()
			f.eventually(t, "the gateway's state is stored", func() bool { return len(f.readings(t)) >= 2 })
		}
		f.eventually(t, "the will is published", func() bool { return f.count(t, "g status offline") == 1 })
	}},
	{"MQTT5-3.1.2-8 §3.1.3.2.2 with a session that begins anew the one before ends, and the delay of its will with it", func(t *testing.T, f *fixture) {
		c, _ := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { willOf(p, "cut", 50, 60) })
		_ = c.Close()
		f.eventually(t, "the connection is gone", func() bool { return f.Connections() == 0 })
		anew := func(text string) *client5 {
			c, _ := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { willOf(p, text, 50, 60); p.CleanStart = true })
			return c
		}
		c = anew("taken")
		f.eventually(t, "the will of the connection that was cut is published", func() bool { return f.count(t, "g status cut") == 1 })
		anew("last")
		c.expectDisconnect(0x8E)
		f.eventually(t, "the will of the connection that was taken over is published", func() bool { return f.count(t, "g status taken") == 1 })
		f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { willOf(p, "none", 50, 60) })
		f.eventually(t, "the third is gone", func() bool { return f.Connections() == 1 })
		if f.count(t, "g status last") > 0 { // [MQTT5-3.1.3-9]: that session goes on
			t.Error("the will of a session that goes on is published")
		}
	}},
	{"MQTT5-3.1.4-6 §3.1.4 a CONNECT that is refused leaves the session as it was", func(t *testing.T, f *fixture) {
		f.limit(func(l *record.Limits) { l.ConnectionsPerGateway = 1 })
		minute := uint32(60)
		c, _ := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.Properties.SessionExpiryInterval = &minute })
		c.publish("readings/g/a", 2, 7, "1", nil)
		read5[*packets5.Pubrec](c)
		_ = c.Close()
		f.eventually(t, "the connection is gone", func() bool { return f.Connections() == 0 })
		other, _ := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.ClientID = "other" })
		for _, change := range []func(p *packets5.Connect){
			func(p *packets5.Connect) { p.CleanStart = false }, // with no expiry
			func(p *packets5.Connect) { p.ClientID, p.Properties.SessionExpiryInterval = "new", &minute },
		} {
			refused := &client5{f.dial(t)}
			if ack := refused.connect("g", enrolmentKey, change); ack.ReasonCode != 0x97 {
				t.Errorf("%s", ack)
			}
			refused.expectEnd()
		}
		_ = other.Close()
		f.eventually(t, "the connections are gone", func() bool { return f.Connections() == 0 })
		keep := func(p *packets5.Connect) { p.CleanStart, p.Properties.SessionExpiryInterval = false, &minute }
		c, ack := f.connect5(t, "g", enrolmentKey, keep)
		if !ack.SessionPresent {
			t.Error("the session is gone")
		}
		c.publish("readings/g/a", 2, 7, "1", func(p *packets5.Publish) { p.Duplicate = true })
		read5[*packets5.Pubrec](c)
		if n := f.count(t, "g a 1"); n != 1 {
			t.Errorf("the message is stored %d times", n)
		}
		_ = c.Close()
		f.eventually(t, "the connection is gone", func() bool { return f.Connections() == 0 })
		if _, ack := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { keep(p); p.ClientID = "new" }); ack.SessionPresent {
			t.Error("a session is there that never began")
		}
	}},
	{"MQTT5-4.1.0-2 a session that is not kept any more is not there after a restart either", func(t *testing.T, f *fixture) {
		minute := uint32(60)
		c, _ := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.Properties.SessionExpiryInterval = &minute })
		c.publish("readings/g/a", 2, 7, "1", nil)
		read5[*packets5.Pubrec](c)
		if !f.committer.KnowsSession("g\x00c-g") {
			t.Error("the log does not know the session")
		}
		f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.CleanStart = false }) // without an expiry
		if f.committer.KnowsSession("g\x00c-g") {
			t.Error("the log knows a session that ends with its connection: a message under an old identifier would be lost")
		}
	}},
}

// mqttSenders is who may send what, under which name.
var mqttSenders = []behaviour{
	{"a user name alone is a key, as ThingsBoard's devices show it", func(t *testing.T, f *fixture) {
		c := f.connect3(t, "", "", func(p *packets3.ConnectPacket) { p.Username, p.PasswordFlag, p.Password = "gk_own", false, nil })
		c.publish("v1/devices/me/telemetry", 1, 1, `{"a": 1}`)
		c.expectPubacks(1)
		if got := f.readings(t); !slices.Equal(got, []string{"own a 1"}) {
			t.Errorf("got %q", got)
		}
	}},
	{"a gateway of ThingsBoard speaks for its devices, with a relay's key", func(t *testing.T, f *fixture) {
		relay := f.connect3(t, "", "", func(p *packets3.ConnectPacket) { p.Username, p.PasswordFlag, p.Password = "gk_relay", false, nil })
		relay.publish("v1/gateway/telemetry", 1, 1, `{"a": [{"x": 1}], "gone": [{"x": 2}], "b": [{"x": 3}]}`)
		relay.expectPubacks(1)
		own, _ := f.connect5(t, "own", "gk_own", nil)
		own.publish("v1/gateway/telemetry", 1, 1, `{"a": [{"x": 4}]}`, nil)
		own.expectPuback(1, 0x87)
		if got := f.readings(t); !slices.Equal(got, []string{"a x 1", "b x 3"}) {
			t.Errorf("got %q", got)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if got := string(f.rejects[0].Raw); got != `{"gone": [{"x": 2}]}` || !f.rejects[0].Part {
			t.Errorf("kept is %s", got)
		}
	}},
	{"a relay speaks for many, the enrolment key without a name for new ones", func(t *testing.T, f *fixture) {
		relay := f.connect3(t, "relay", "gk_relay", nil)
		relay.publish("readings/own/a", 1, 1, "1")
		relay.publish("readings/gone/a", 1, 2, "2")
		relay.expectPubacks(1, 2)
		nameless := f.connect3(t, "", enrolmentKey, nil)
		nameless.publish("readings/new/a", 1, 1, "3")
		nameless.publish("readings/own/a", 1, 2, "4")
		nameless.expectPubacks(1, 2)
		if got := f.readings(t); !slices.Equal(got, []string{"own a 1", "new a 3"}) {
			t.Errorf("got %q", got)
		}
		if n := f.books(t).FramesRejected; n != 2 {
			t.Errorf("%d were refused", n)
		}
	}},
}
