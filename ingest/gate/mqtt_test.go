package gate

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"berth/ingest/gate/intake"
)

// client3 speaks MQTT 3.1.1 by the codec of the Paho client.
type client3 struct {
	*client
}

// connect3 opens a connection and shows the key; change may change the CONNECT first.
func (f *fixture) connect3(t testing.TB, user, key string, change func(p *packets3.ConnectPacket)) *client3 {
	t.Helper()
	c := &client3{f.dial(t)}
	c.connect(user, key, change)
	if ack := c.connack(); ack.ReturnCode != 0 {
		t.Fatalf("CONNACK %d", ack.ReturnCode)
	}
	return c
}

func (c *client3) connect(user, key string, change func(p *packets3.ConnectPacket)) {
	c.t.Helper()
	p := new3[*packets3.ConnectPacket](packets3.Connect)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.ClientIdentifier, p.Keepalive = "MQTT", 4, true, "c-"+user, 60
	p.UsernameFlag, p.Username, p.PasswordFlag, p.Password = true, user, true, []byte(key)
	if change != nil {
		change(p)
	}
	c.write(p)
}

// new3 returns an empty packet.
func new3[P packets3.ControlPacket](kind byte) P {
	p, ok := packets3.NewControlPacket(kind).(P)
	if !ok {
		panic("the codec has no such packet")
	}
	return p
}

func (c *client3) write(p packets3.ControlPacket) {
	c.t.Helper()
	if err := p.Write(c.TCPConn); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client3) connack() *packets3.ConnackPacket {
	c.t.Helper()
	return read3[*packets3.ConnackPacket](c)
}

// read3 reads a packet, which must be of the kind.
func read3[P packets3.ControlPacket](c *client3) P {
	c.t.Helper()
	got, err := packets3.ReadPacket(c.in)
	if err != nil {
		c.t.Fatal(err)
	}
	p, ok := got.(P)
	if !ok {
		c.t.Fatalf("got %s", got)
	}
	return p
}

func (c *client3) publish(topic string, qos byte, id uint16, payload string) {
	c.t.Helper()
	c.write(publish3(topic, qos, id, payload))
}

func publish3(topic string, qos byte, id uint16, payload string) *packets3.PublishPacket {
	p := new3[*packets3.PublishPacket](packets3.Publish)
	p.TopicName, p.Qos, p.MessageID, p.Payload = topic, qos, id, []byte(payload)
	return p
}

// expectPubacks reads PUBACKs of these identifiers, in order.
func (c *client3) expectPubacks(ids ...uint16) {
	c.t.Helper()
	for _, id := range ids {
		if ack := read3[*packets3.PubackPacket](c); ack.MessageID != id {
			c.t.Fatalf("PUBACK %d, want %d", ack.MessageID, id)
		}
	}
}

func (c *client3) ping() {
	c.t.Helper()
	c.write(packets3.NewControlPacket(packets3.Pingreq))
	read3[*packets3.PingrespPacket](c)
}

func (c *client3) release(id uint16) {
	c.t.Helper()
	rel := new3[*packets3.PubrelPacket](packets3.Pubrel)
	rel.MessageID = id
	c.write(rel)
	if comp := read3[*packets3.PubcompPacket](c); comp.MessageID != id {
		c.t.Fatalf("PUBCOMP %d, want %d", comp.MessageID, id)
	}
}

func (c *client3) expectPubrec(id uint16) {
	c.t.Helper()
	if rec := read3[*packets3.PubrecPacket](c); rec.MessageID != id {
		c.t.Fatalf("PUBREC %d, want %d", rec.MessageID, id)
	}
}

// client5 speaks MQTT 5 by the codec of the Paho client.
type client5 struct {
	*client
}

func (f *fixture) connect5(t testing.TB, user, key string, change func(p *packets5.Connect)) (*client5, *packets5.Connack) {
	t.Helper()
	c := &client5{f.dial(t)}
	ack := c.connect(user, key, change)
	if ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %s", ack)
	}
	return c, ack
}

func (c *client5) connect(user, key string, change func(p *packets5.Connect)) *packets5.Connack {
	c.t.Helper()
	p := &packets5.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "c-" + user, CleanStart: true, KeepAlive: 60, Properties: &packets5.Properties{},
		UsernameFlag: true, Username: user, PasswordFlag: true, Password: []byte(key),
	}
	if change != nil {
		change(p)
	}
	c.write(p)
	return read5[*packets5.Connack](c)
}

func (c *client5) write(p io.WriterTo) {
	c.t.Helper()
	if _, err := p.WriteTo(c.TCPConn); err != nil {
		c.t.Fatal(err)
	}
}

func read5[P packets5.Packet](c *client5) P {
	c.t.Helper()
	got, err := packets5.ReadPacket(c.in)
	if err != nil {
		c.t.Fatal(err)
	}
	p, ok := got.Content.(P)
	if !ok {
		c.t.Fatalf("got %s", got)
	}
	return p
}

func (c *client5) publish(topic string, qos byte, id uint16, payload string, change func(p *packets5.Publish)) {
	c.t.Helper()
	p := &packets5.Publish{Topic: topic, QoS: qos, PacketID: id, Payload: []byte(payload), Properties: &packets5.Properties{}}
	if change != nil {
		change(p)
	}
	c.write(p)
}

// expectPuback reads a PUBACK with a code.
func (c *client5) expectPuback(id uint16, code byte) *packets5.Puback {
	c.t.Helper()
	ack := read5[*packets5.Puback](c)
	if ack.PacketID != id || ack.ReasonCode != code {
		c.t.Fatalf("PUBACK %d %#x %q, want %d %#x", ack.PacketID, ack.ReasonCode, ack.Properties.ReasonString, id, code)
	}
	return ack
}

// expectDisconnect reads a DISCONNECT with a code, and the end.
func (c *client5) expectDisconnect(code byte) {
	c.t.Helper()
	d := read5[*packets5.Disconnect](c)
	if d.ReasonCode != code {
		c.t.Fatalf("DISCONNECT %#x %q, want %#x", d.ReasonCode, d.Properties.ReasonString, code)
	}
	c.expectEnd()
}

func TestMQTTMessagesAreReadings(t *testing.T) {
	f := start(t, nil)
	c := f.connect3(t, "boiler1", enrolmentKey, nil)
	c.publish("readings/boiler1/temperature", 1, 1, "21.5")
	c.publish("readings/boiler1/door", 0, 0, "open")
	c.publish("readings/boiler1/kitchen/light", 1, 2, "true")
	c.publish("readings/boiler1", 1, 3, `{"a": 1, "b": {"c": "x"}}`)
	c.publish("readings/boiler1", 1, 4, "m,room=a t=1,u=2i")
	c.publish("v1/devices/me/telemetry", 1, 5, `[{"d": 4}]`)
	c.expectPubacks(1, 2, 3, 4, 5)
	want := []string{
		"boiler1 temperature 21.5", "boiler1 door open", "boiler1 kitchen/light true", "boiler1 a 1", "boiler1 b.c x",
		"boiler1 m.t,room=a 1", "boiler1 m.u,room=a 2", "boiler1 d 4",
	}
	if got := f.readings(t); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if books := f.books(t); books.FramesCommitted != 6 || books.Accepted != 8 {
		t.Errorf("%+v", books)
	}
}

// TestMQTTIsAcknowledgedAfterTheLogAlone: while the log confirms nothing, nothing is acknowledged, and pings are answered.
func TestMQTTIsAcknowledgedAfterTheLogAlone(t *testing.T) {
	f := start(t, nil)
	f.log.Hold(true)
	c := f.connect3(t, "g", enrolmentKey, nil)
	for i := range 20 {
		c.publish("readings/g/a", 1+byte(i%2), uint16(i+1), fmt.Sprint(i))
		c.ping() // whatever is read here is no PUBACK
	}
	f.log.Hold(false)
	for i := range 20 {
		if i%2 == 0 {
			c.expectPubacks(uint16(i + 1))
		} else {
			c.expectPubrec(uint16(i + 1))
		}
	}
	if n := len(f.readings(t)); n != 20 {
		t.Errorf("%d readings", n)
	}
}

// TestMQTTPingsAreAnsweredWhileTheQueueIsFull: also when the committer takes nothing more, a client hears its pings, and
// what it sent meanwhile is acknowledged when there is room.
func TestMQTTPingsAreAnsweredWhileTheQueueIsFull(t *testing.T) {
	f := start(t, smallQueue)
	f.log.Hold(true)
	c := f.connect3(t, "g", enrolmentKey, nil)
	const n = 40
	for i := range n {
		c.publish("readings/g/a", 1, uint16(i+1), fmt.Sprint(i))
		c.ping()
	}
	f.log.Hold(false)
	for i := range n {
		c.expectPubacks(uint16(i + 1))
	}
	got := f.readings(t)
	if len(got) != n || got[n-1] != fmt.Sprintf("g a %d", n-1) {
		t.Errorf("%d readings: %q", len(got), got)
	}
	if _, inHand := f.committer.Totals(); inHand != 0 {
		t.Errorf("%d in hand", inHand)
	}
	f.books(t)
}

// TestMQTTStopWhileTheQueueIsFull: what the committer had no room for is given up, not answered, and counted.
func TestMQTTStopWhileTheQueueIsFull(t *testing.T) {
	f := start(t, smallQueue)
	f.log.Hold(true)
	c := f.connect3(t, "g", enrolmentKey, nil)
	for i := range 40 {
		c.publish("readings/g/a", 1, uint16(i+1), fmt.Sprint(i))
		c.ping()
	}
	ctx, cancel := contextFor(t, 50*time.Millisecond)
	defer cancel()
	if err := f.Stop(ctx); err == nil {
		t.Error("stop says that all was answered")
	}
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		t.Errorf("%x, %v", rest, err)
	}
	f.log.Hold(false)
	f.stop(t)
	f.books(t)
}

// TestMQTTWhatWasGivenUpIsTakenAgain: a message of QoS 2 that the committer had no room for before its connection ended was not
// received, so the client's next connection brings it anew.
func TestMQTTWhatWasGivenUpIsTakenAgain(t *testing.T) {
	f := start(t, func(f *fixture, o *Options) {
		smallQueue(f, o)
		o.Limits = intake.Limits{Drain: 50 * time.Millisecond}
	})
	f.log.Hold(true)
	other := f.connect3(t, "h", enrolmentKey, nil)
	for i := range 40 {
		other.publish("readings/h/a", 1, uint16(i+1), fmt.Sprint(i))
		other.ping()
	}
	keep := func(p *packets3.ConnectPacket) { p.CleanSession = false }
	c := f.connect3(t, "g", enrolmentKey, keep)
	c.publish("readings/g/a", 2, 7, "1")
	c.ping() // it was taken
	_ = c.Close()
	f.eventually(t, "it is given up", func() bool { totals, _ := f.committer.Totals(); return totals.FramesGivenUp == 1 })
	f.log.Hold(false)
	c = &client3{f.dial(t)}
	c.connect("g", enrolmentKey, keep)
	if ack := c.connack(); !ack.SessionPresent {
		t.Error("the session is not there any more")
	}
	again := publish3("readings/g/a", 2, 7, "1")
	again.Dup = true
	c.write(again)
	c.expectPubrec(7)
	c.release(7)
	if n := f.count(t, "g a 1"); n != 1 {
		t.Errorf("it is stored %d times", n)
	}
	f.books(t)
}

func TestMQTTQoS2IsStoredOnce(t *testing.T) {
	f := start(t, nil)
	keep := func(p *packets3.ConnectPacket) { p.CleanSession = false }
	c := f.connect3(t, "g", enrolmentKey, keep)
	c.publish("readings/g/a", 2, 7, "1")
	c.expectPubrec(7)
	again := publish3("readings/g/a", 2, 7, "1")
	again.Dup = true
	c.write(again) // [MQTT-4.3.3-2]
	c.expectPubrec(7)
	_ = c.Close()

	c = &client3{f.dial(t)}
	c.connect("g", enrolmentKey, keep)
	if ack := c.connack(); !ack.SessionPresent {
		t.Error("the session is not there any more")
	}
	c.write(again)
	c.expectPubrec(7)
	c.release(7)
	c.release(7) // its PUBCOMP may have been lost
	c.publish("readings/g/a", 2, 7, "2")
	c.expectPubrec(7)
	c.release(7)
	if got := f.readings(t); !slices.Equal(got, []string{"g a 1", "g a 2"}) {
		t.Errorf("got %q", got)
	}
	// A clean session begins anew [MQTT-3.1.2-6].
	c.publish("readings/g/a", 2, 9, "3")
	c.expectPubrec(9)
	c = f.connect3(t, "g", enrolmentKey, nil)
	c.publish("readings/g/a", 2, 9, "4")
	c.expectPubrec(9)
	if n := len(f.readings(t)); n != 4 {
		t.Errorf("%d readings", n)
	}
}

// TestMQTTTakeOverWhileTheLogIsBusy: a message of QoS 2 that is on its way into the log when its client comes again is
// stored once.
func TestMQTTTakeOverWhileTheLogIsBusy(t *testing.T) {
	f := start(t, nil)
	f.log.Hold(true)
	keep := func(p *packets3.ConnectPacket) { p.CleanSession = false }
	c := f.connect3(t, "g", enrolmentKey, keep)
	c.publish("readings/g/a", 2, 7, "1")
	f.eventually(t, "it is in hand", func() bool { _, n := f.committer.Totals(); return n == 1 })
	second := &client3{f.dial(t)}
	second.connect("g", enrolmentKey, keep)
	c.expectEnd() // [MQTT-3.1.4-2]
	f.log.Hold(false)
	if ack := second.connack(); !ack.SessionPresent || ack.ReturnCode != 0 {
		t.Errorf("CONNACK %s", ack)
	}
	again := publish3("readings/g/a", 2, 7, "1")
	again.Dup = true
	second.write(again)
	second.expectPubrec(7)
	second.release(7)
	if got := f.readings(t); !slices.Equal(got, []string{"g a 1"}) {
		t.Errorf("got %q", got)
	}
}

func TestMQTTRefusalsOfConnect(t *testing.T) {
	f := start(t, func(f *fixture, _ *Options) { f.pipeline.Settings.Limits.ConnectionsPerGateway = 1 })
	f.connect3(t, "full", enrolmentKey, nil)
	for _, k := range []struct {
		what, user, key string
		change          func(p *packets3.ConnectPacket)
		code3, code5    byte
	}{
		{"a wrong key", "g", "bk_wrong", nil, 4, 0x86},
		{"no key", "g", "", nil, 4, 0x86},
		{"the key of another", "g", "gk_own", nil, 5, 0x87},
		{"a gateway with its own key", "own", enrolmentKey, nil, 4, 0x86},
		{"a revoked key", "gone", "gk_gone", nil, 4, 0x86},
		{"too many connections", "full", enrolmentKey, func(p *packets3.ConnectPacket) { p.ClientIdentifier = "other" }, 3, 0x97},
		{"a long client identifier", "g", enrolmentKey, func(p *packets3.ConnectPacket) { p.ClientIdentifier = string(bytes.Repeat([]byte("c"), 300)) }, 2, 0x85},
	} {
		c := &client3{f.dial(t)}
		c.connect(k.user, k.key, k.change)
		if ack := c.connack(); ack.ReturnCode != k.code3 {
			t.Errorf("%s: return code %d, want %d", k.what, ack.ReturnCode, k.code3)
		}
		c.expectEnd() // [MQTT-3.2.2-5]
		five := &client5{f.dial(t)}
		ack := five.connect(k.user, k.key, func(p *packets5.Connect) {
			like := packets3.ConnectPacket{ClientIdentifier: p.ClientID}
			if k.change != nil {
				k.change(&like)
			}
			p.ClientID = like.ClientIdentifier
		})
		if ack.ReasonCode != k.code5 || ack.Properties.ReasonString == "" {
			t.Errorf("%s: CONNACK %s, want %#x", k.what, ack, k.code5)
		}
		five.expectEnd()
	}
	if n := len(f.log.Messages()); n != 0 {
		t.Errorf("%d writes", n)
	}
}

// TestMQTTRefusedMessages: MQTT 5 is told; in 3.1.1 the message is kept first and acknowledged then.
func TestMQTTRefusedMessages(t *testing.T) {
	cases := []struct {
		what, topic, payload string
		code                 byte
		format               string
	}{
		{"a foreign topic", "home/light", "on", 0x90, "line"},
		{"another gateway", "readings/other/a", "1", 0x87, "value"},
		{"what is neither", "readings/g", "garbage", 0x99, "line"},
		{"an object of a sensor", "readings/g/a", `{"b":1}`, 0x99, "value"},
		{"no JSON", "v1/devices/me/telemetry", "21.5", 0x99, "json"},
		{"no value", "readings/g/a", "", 0x99, "value"},
		{"in part", "readings/g", "m a=1\nm b\nm c=2", 0x99, "line"},
	}
	f := start(t, nil)
	three := f.connect3(t, "g", enrolmentKey, nil)
	five, _ := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.ClientID = "five" })
	for i, k := range cases {
		id := uint16(i + 1)
		three.publish(k.topic, 1, id, k.payload)
		three.expectPubacks(id)
		f.mu.Lock()
		kept := len(f.rejects)
		if kept != 2*i+1 || f.rejects[kept-1].Format != k.format || f.rejects[kept-1].Gateway != "g" {
			t.Errorf("%s: acknowledged with %d rejects: %+v", k.what, kept, f.rejects[max(0, kept-1)])
		}
		f.mu.Unlock()
		five.publish(k.topic, 1, id, k.payload, nil)
		if ack := five.expectPuback(id, k.code); ack.Properties.ReasonString == "" {
			t.Errorf("%s: no reason", k.what)
		}
		f.eventually(t, "it is kept", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.rejects) == 2*i+2 })
	}
	if got := f.readings(t); !slices.Equal(got, []string{"g m.a 1", "g m.c 2", "g m.a 1", "g m.c 2"}) {
		t.Errorf("got %q", got)
	}
	books := f.books(t)
	if books.FramesRejected != uint64(2*len(cases)-2) || books.FramesCommitted != 2 || books.Rejected != 2 {
		t.Errorf("%+v", books)
	}
}

// TestMQTT3IsNotAcknowledgedBeforeTheRejectIsKept: and not at all when it cannot be kept.
func TestMQTT3IsNotAcknowledgedBeforeTheRejectIsKept(t *testing.T) {
	keeping, may := make(chan struct{}), make(chan error)
	f := start(t, func(_ *fixture, o *Options) { o.Rejects = rejectsWhen(t, keeping, may) })
	c := f.connect3(t, "g", enrolmentKey, nil)
	c.publish("nowhere", 1, 1, "a")
	c.publish("readings/g/a", 1, 2, "1")
	<-keeping
	f.eventually(t, "the second is in the log", func() bool { return len(f.readings(t)) == 1 })
	c.ping() // it is answered, and nothing before it
	may <- nil
	c.expectPubacks(1, 2)
	c.publish("nowhere", 1, 3, "a")
	<-keeping
	may <- io.ErrClosedPipe
	c.expectEnd()
}

func TestMQTTDropsWhoseKeyIsRevoked(t *testing.T) {
	f := start(t, nil)
	three := f.connect3(t, "own", "gk_own", nil)
	five, _ := f.connect5(t, "own", "gk_own", func(p *packets5.Connect) { p.ClientID = "five" })
	keys := ownKeys()
	for n, k := range keys {
		k.Revoked = time.Unix(1, 0)
		keys[n] = k
	}
	f.Set(f.pipeline, keys)
	three.expectEnd()
	five.expectDisconnect(0x87)
}

func TestMQTTStopAnswersWhatIsInHand(t *testing.T) {
	f := start(t, nil)
	f.log.Hold(true)
	c, _ := f.connect5(t, "g", enrolmentKey, nil)
	c.publish("readings/g/a", 1, 1, "1", nil)
	f.eventually(t, "it is in hand", func() bool { _, n := f.committer.Totals(); return n == 1 })
	stopped := make(chan error)
	go func() { stopped <- f.Stop(t.Context()) }()
	f.log.Hold(false)
	c.expectPuback(1, 0)
	c.expectDisconnect(0x8B)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestMQTTConnectionLimits(t *testing.T) {
	f := start(t, func(f *fixture, _ *Options) { f.pipeline.Settings.Limits.Connections = 1 })
	f.hello(t, "a", enrolmentKey)
	three := &client3{f.dial(t)}
	three.connect("g", enrolmentKey, nil)
	if ack := three.connack(); ack.ReturnCode != 3 {
		t.Errorf("CONNACK %s", ack)
	}
	five := &client5{f.dial(t)}
	if ack := five.connect("g", enrolmentKey, nil); ack.ReasonCode != 0x97 {
		t.Errorf("CONNACK %s", ack)
	}
}

func TestMQTTStrangersGetNoTime(t *testing.T) {
	f := start(t, firstFrameIn(500*time.Millisecond))
	c := f.dial(t)
	_, _ = io.WriteString(c, "\x10\x20\x00\x04MQTT\x04") // which may come too late
	c.expectEndSomehow()                                 // [MQTT-3.1.4-1] comes too late: there was no CONNECT within a reasonable time
	f.eventually(t, "it is counted", func() bool { return f.books(t).Strangers == 1 })
}

var _ net.Conn = (*client3)(nil)
