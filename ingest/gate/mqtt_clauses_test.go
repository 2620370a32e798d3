package gate

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"berth/ingest/gate/intake"
	"berth/internal/clausetest"
	"berth/schema"
)

// behaviour shows what a server does that certain normative statements are about: MQTT-… of 3.1.1, MQTT5-… of 5.
type behaviour struct {
	clauses string
	test    func(t *testing.T, f *fixture)
}

// mqttClauses are the normative statements on behaviour that apply to a server to which gateways publish; those on the form
// of packets are tested in package packet.
var mqttClauses = []behaviour{
	{"MQTT-3.1.0-1 MQTT5-3.1.0-1 the first packet is a CONNECT", func(t *testing.T, f *fixture) {
		c := f.dial(t)
		c.send("\xc0\x00")
		c.expectEnd()
	}},
	{"MQTT-3.1.0-2 MQTT5-3.1.0-2 there is no second one", func(t *testing.T, f *fixture) {
		c := f.connect3(t, "g", enrolmentKey, nil)
		c.connect("g", enrolmentKey, nil)
		c.expectEnd()
		five, _ := f.connect5(t, "g", enrolmentKey, nil)
		five.write(&packets5.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, Properties: &packets5.Properties{}})
		five.expectDisconnect(0x82)
	}},
	{"MQTT-3.1.2-2 MQTT5-3.1.2-2 an unacceptable protocol level is told", func(t *testing.T, f *fixture) {
		for level, answer := range map[byte]string{2: "\x20\x02\x00\x01", 6: "\x20"} {
			c := f.dial(t)
			c.send("\x10\x0d\x00\x04MQTT" + string(rune(level)) + "\x02\x00\x00\x00\x01c")
			if got, err := io.ReadAll(c.in); err != nil || !strings.HasPrefix(string(got), answer) || level == 6 && got[3] != 0x84 {
				t.Errorf("level %d is answered %x, %v", level, got, err)
			}
		}
	}},
	{"MQTT5-3.1.2-21 MQTT5-3.2.2-21 MQTT5-3.2.2-22 a keep-alive that is too long is replaced", func(t *testing.T, f *fixture) {
		for asked, told := range map[uint16]uint16{0: 4800, 60: 0, 65535: 4800} {
			_, ack := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.KeepAlive = asked })
			if got := value(ack.Properties.ServerKeepAlive); got != told {
				t.Errorf("keep-alive %d is replaced by %d, want %d", asked, got, told)
			}
		}
	}},
	{"MQTT-3.1.2-24 MQTT5-3.1.2-22 who is silent for longer than one and a half keep-alives is disconnected", func(t *testing.T, f *fixture) {
		c := f.connect3(t, "a", enrolmentKey, func(p *packets3.ConnectPacket) {
			p.Keepalive, p.WillFlag, p.WillTopic, p.WillMessage = 1, true, "readings/a/status", []byte("offline")
		})
		begin := time.Now() // before the server's clock runs: whoever is held up after it is held up for both
		five, _ := f.connect5(t, "b", enrolmentKey, func(p *packets5.Connect) {
			p.KeepAlive, p.WillFlag, p.WillTopic, p.WillMessage, p.WillProperties = 1, true, "readings/b/status", []byte("offline"), &packets5.Properties{}
		})
		five.expectDisconnect(0x8D)
		c.expectEnd()
		if took := time.Since(begin); took < 1400*time.Millisecond {
			t.Errorf("after %v", took)
		}
		f.eventually(t, "the wills are published", func() bool {
			return f.count(t, "a status offline") == 1 && f.count(t, "b status offline") == 1
		})
	}},
	{"MQTT5-3.1.2-29 who wants no reasons gets none", func(t *testing.T, f *fixture) {
		c, _ := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.Properties.RequestProblemInfo = new(byte) })
		c.publish("nowhere", 1, 1, "a", nil)
		if ack := c.expectPuback(1, 0x90); ack.Properties.ReasonString != "" {
			t.Errorf("%s", ack)
		}
	}},
	{"MQTT-3.1.3-6 MQTT5-3.1.3-6 MQTT5-3.1.3-7 MQTT5-3.2.2-16 a client without an identifier gets one", func(t *testing.T, f *fixture) {
		f.connect3(t, "g", enrolmentKey, func(p *packets3.ConnectPacket) { p.ClientIdentifier = "" })
		f.connect3(t, "g", enrolmentKey, func(p *packets3.ConnectPacket) { p.ClientIdentifier = "" }).ping()
		_, a := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.ClientID = "" })
		_, b := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.ClientID = "" })
		if a.Properties.AssignedClientID == "" || a.Properties.AssignedClientID == b.Properties.AssignedClientID {
			t.Errorf("%q and %q", a.Properties.AssignedClientID, b.Properties.AssignedClientID)
		}
	}},
	{"MQTT-3.1.3-7 MQTT-3.1.3-8 but not for a session that is kept", func(t *testing.T, f *fixture) {
		c := &client3{f.dial(t)}
		c.connect("g", enrolmentKey, func(p *packets3.ConnectPacket) { p.ClientIdentifier, p.CleanSession = "", false })
		if ack := c.connack(); ack.ReturnCode != 2 {
			t.Errorf("%s", ack)
		}
		c.expectEnd()
	}},
	{"MQTT-3.1.4-2 MQTT-3.1.3-2 MQTT5-3.1.4-3 MQTT5-3.1.3-2 a client that comes again takes over", func(t *testing.T, f *fixture) {
		first, _ := f.connect5(t, "g", enrolmentKey, nil)
		f.connect5(t, "g", enrolmentKey, nil)
		first.expectDisconnect(0x8E)
		// The same identifier of another gateway is another client.
		other, _ := f.connect5(t, "h", enrolmentKey, func(p *packets5.Connect) { p.ClientID = "c-g" })
		f.connect5(t, "g", enrolmentKey, nil)
		other.publish("readings/h/a", 1, 1, "1", nil)
		other.expectPuback(1, 0)
	}},
	{"§3.1.4 what follows the CONNECT need not wait for the CONNACK", func(t *testing.T, f *fixture) {
		var said bytes.Buffer
		for _, p := range []packets3.ControlPacket{
			&packets3.ConnectPacket{
				FixedHeader: packets3.FixedHeader{MessageType: packets3.Connect}, ProtocolName: "MQTT", ProtocolVersion: 4, CleanSession: true,
				UsernameFlag: true, Username: "g", PasswordFlag: true, Password: []byte(enrolmentKey), ClientIdentifier: "c",
			},
			publish3("readings/g/a", 1, 1, "1"), packets3.NewControlPacket(packets3.Disconnect),
		} {
			_ = p.Write(&said) // memory takes it
		}
		for cut := 1; cut < said.Len(); cut += 7 {
			c := &client3{f.dial(t)}
			c.send(said.String()[:cut])
			c.send(said.String()[cut:])
			c.connack()
			c.expectPubacks(1)
			c.expectEnd()
		}
	}},
	{"MQTT-3.2.2-6 MQTT-3.1.2-3 MQTT-3.1.4-1 MQTT5-3.1.2-3 MQTT5-3.1.4-1 what has no return code is closed without a CONNACK", func(t *testing.T, f *fixture) {
		c := f.dial(t)
		c.send("\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01c") // the reserved flag
		c.expectEnd()
		five := &client5{f.dial(t)}
		five.send("\x10\x0e\x00\x04MQTT\x05\x03\x00\x00\x00\x00\x01c")
		if ack := read5[*packets5.Connack](five); ack.ReasonCode != 0x81 { // MQTT 5 §3.1.4: MAY
			t.Errorf("%s", ack)
		}
	}},
	{"MQTT5-3.2.2-2 MQTT5-3.2.2-3 MQTT5-3.1.2-4 MQTT5-3.1.2-5 MQTT5-3.1.2-6 MQTT5-3.1.4-4 Session Present tells the truth; §3.1.2.11.2 expiry", func(t *testing.T, f *fixture) {
		keep := func(secs uint32, clean bool) func(p *packets5.Connect) {
			return func(p *packets5.Connect) { p.CleanStart, p.Properties.SessionExpiryInterval = clean, &secs }
		}
		for i, k := range []struct {
			secs  uint32
			clean bool
			want  bool
		}{{60, true, false}, {60, false, true}, {0, false, true}, {60, false, false}, {60, true, false}, {60, false, true}} {
			c, ack := f.connect5(t, "g", enrolmentKey, keep(k.secs, k.clean))
			if ack.SessionPresent != k.want {
				t.Errorf("connection %d: session present %v", i, ack.SessionPresent)
			}
			c.write(&packets5.Disconnect{Properties: &packets5.Properties{}})
			c.expectEnd()
		}
		_, ack := f.connect5(t, "g", enrolmentKey, keep(0xffffffff, false))
		if got := value(ack.Properties.SessionExpiryInterval); got != 86_400 {
			t.Errorf("a session for ever is kept for %d s", got)
		}
	}},
	{"MQTT5-4.1.0-2 a session is forgotten when it expires", func(t *testing.T, f *fixture) {
		second := uint32(1)
		keep := func(p *packets5.Connect) { p.CleanStart, p.Properties.SessionExpiryInterval = false, &second }
		c, _ := f.connect5(t, "g", enrolmentKey, keep)
		c.write(&packets5.Disconnect{Properties: &packets5.Properties{}})
		c.expectEnd()
		<-time.After(1100 * time.Millisecond) // what is tested is that time passes
		if _, ack := f.connect5(t, "g", enrolmentKey, keep); ack.SessionPresent {
			t.Error("the session is still there")
		}
	}},
	{"§3.3.1.3 RETAIN is taken: nobody can subscribe to what would be retained", func(t *testing.T, f *fixture) {
		c := f.connect3(t, "g", enrolmentKey, nil)
		p := publish3("readings/g/a", 1, 1, "1")
		p.Retain = true
		c.write(p)
		c.expectPubacks(1)
	}},
	{"MQTT5-3.3.2-7 MQTT5-3.3.2-9 MQTT5-3.3.2-12 MQTT5-3.2.2-17 topic aliases", func(t *testing.T, f *fixture) {
		alias := func(n uint16) func(p *packets5.Publish) {
			return func(p *packets5.Publish) { p.Properties.TopicAlias = &n }
		}
		c, ack := f.connect5(t, "g", enrolmentKey, nil)
		most := value(ack.Properties.TopicAliasMaximum)
		c.publish("readings/g/a", 1, 1, "1", alias(most))
		c.publish("", 1, 2, "2", alias(most))
		c.publish("readings/g/b", 1, 3, "3", alias(most))
		c.publish("", 1, 4, "4", alias(most))
		for id := range uint16(4) {
			c.expectPuback(id+1, 0)
		}
		c.publish("", 1, 5, "5", alias(most-1))
		c.expectDisconnect(0x82)
		c, _ = f.connect5(t, "g", enrolmentKey, nil)
		c.publish("", 1, 1, "1", alias(most)) // of the connection before
		c.expectDisconnect(0x82)
		c, _ = f.connect5(t, "g", enrolmentKey, nil)
		c.publish("readings/g/a", 1, 1, "1", alias(most+1))
		c.expectDisconnect(0x94)
		if got := f.readings(t); !slices.Equal(got, []string{"g a 1", "g a 2", "g b 3", "g b 4"}) {
			t.Errorf("got %q", got)
		}
	}},
	{"MQTT5-3.3.4-7 the Receive Maximum", func(t *testing.T, f *fixture) {
		f.log.Hold(true)
		c, ack := f.connect5(t, "g", enrolmentKey, nil)
		most := value(ack.Properties.ReceiveMaximum)
		for i := range most {
			c.publish("readings/g/a", 2, i+1, "1", nil)
		}
		c.write(&packets5.Pingreq{})
		read5[*packets5.Pingresp](c) // so many may be unanswered
		f.log.Hold(false)
		for range most {
			read5[*packets5.Pubrec](c)
		}
		c.write(&packets5.Pubrel{PacketID: 1, Properties: &packets5.Properties{}})
		read5[*packets5.Pubcomp](c)
		c.publish("readings/g/a", 1, most+1, "1", nil)
		c.expectPuback(most+1, 0)
		c.publish("readings/g/a", 2, 1, "1", nil)
		read5[*packets5.Pubrec](c)
		c.publish("readings/g/a", 1, most+2, "1", nil) // all others are not released
		c.expectDisconnect(0x93)
	}},
	{"MQTT-3.3.5-2 MQTT-4.8.0-2 3.1.1: what cannot be refused and would pass ends the connection unacknowledged", func(t *testing.T, f *fixture) {
		c := f.connect3(t, "g", enrolmentKey, nil)
		five, _ := f.connect5(t, "h", enrolmentKey, nil)
		f.SetFull(schema.Errorf(schema.Limited, "the keyspace is full"))
		c.publish("readings/g/a", 2, 1, "1")
		c.expectEnd()
		c = &client3{f.dial(t)}
		c.connect("g", enrolmentKey, nil)
		if ack := c.connack(); ack.ReturnCode != 3 {
			t.Errorf("%s", ack)
		}
		five.publish("readings/h/a", 1, 1, "1", nil)
		five.expectPuback(1, 0x97)
	}},
	{"MQTT-3.8.4-1 MQTT-3.8.4-2 MQTT-3.8.4-5 MQTT-3.9.3-1 MQTT-3.9.3-2 MQTT-3.8.3-2 MQTT-4.7.1-2 MQTT-4.7.1-3 MQTT5-3.8.4-1 MQTT5-3.8.4-2 MQTT5-3.8.4-6 MQTT5-3.8.4-7 MQTT5-3.9.3-1 MQTT5-3.9.3-2 MQTT5-3.9.2-1 MQTT5-3.9.2-2 MQTT5-4.7.1-1 MQTT5-4.7.1-2 MQTT5-4.8.2-1 subscriptions are granted or refused, each", func(t *testing.T, f *fixture) {
		filters := []string{"commands/g/#", "commands/g/reboot", "commands/h/#", "#", "readings/g", "commands/g", "commands/+/a", "commands/g/a#", "$share/x/commands/g/#", "commands/g/a+/b"}
		c := f.connect3(t, "g", enrolmentKey, nil)
		sub := new3[*packets3.SubscribePacket](packets3.Subscribe)
		sub.MessageID, sub.Topics, sub.Qoss = 9, filters, []byte{2, 0, 1, 1, 1, 1, 1, 1, 1, 1}
		c.write(sub)
		if ack := read3[*packets3.SubackPacket](c); ack.MessageID != 9 || !bytes.Equal(ack.ReturnCodes, []byte{1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}) {
			t.Errorf("%s %x", ack, ack.ReturnCodes)
		}
		five, _ := f.connect5(t, "g", enrolmentKey, nil)
		request := &packets5.Subscribe{PacketID: 9, Properties: &packets5.Properties{}}
		for _, name := range filters {
			request.Subscriptions = append(request.Subscriptions, packets5.SubOptions{Topic: name, QoS: 1})
		}
		five.write(request)
		if ack := read5[*packets5.Suback](five); ack.PacketID != 9 || !bytes.Equal(ack.Reasons, []byte{1, 1, 0x87, 0x87, 0x87, 0x87, 0x87, 0x8f, 0x9e, 0x8f}) ||
			ack.Properties.ReasonString != "" || len(ack.Properties.User) > 0 {
			t.Errorf("%x", ack.Reasons)
		}
	}},
	{"§4.1 subscriptions are bounded", func(t *testing.T, f *fixture) {
		c, _ := f.connect5(t, "g", enrolmentKey, nil)
		request := &packets5.Subscribe{PacketID: 9, Properties: &packets5.Properties{}}
		for i := range 17 {
			request.Subscriptions = append(request.Subscriptions, packets5.SubOptions{Topic: fmt.Sprintf("commands/g/%d", i)})
		}
		c.write(request)
		if ack := read5[*packets5.Suback](c); ack.Reasons[15] != 0 || ack.Reasons[16] != 0x97 {
			t.Errorf("%x", ack.Reasons)
		}
	}},
	{"MQTT-3.8.4-3 MQTT-3.10.4-1 MQTT-3.10.4-4 MQTT-3.10.4-5 MQTT5-3.8.4-3 MQTT5-3.10.4-1 MQTT5-3.10.4-4 MQTT5-3.10.4-5 MQTT5-3.11.2-1 MQTT5-3.11.2-2 MQTT5-3.11.3-1 MQTT5-3.11.3-2 unsubscribing", func(t *testing.T, f *fixture) {
		c := f.connect3(t, "g", enrolmentKey, nil)
		un := new3[*packets3.UnsubscribePacket](packets3.Unsubscribe)
		un.MessageID, un.Topics = 8, []string{"never/subscribed"}
		c.write(un)
		if ack := read3[*packets3.UnsubackPacket](c); ack.MessageID != 8 {
			t.Errorf("%s", ack)
		}
		five, _ := f.connect5(t, "g", enrolmentKey, nil)
		five.write(&packets5.Subscribe{PacketID: 1, Properties: &packets5.Properties{}, Subscriptions: []packets5.SubOptions{{Topic: "commands/g/#"}, {Topic: "commands/g/#"}}})
		read5[*packets5.Suback](five)
		five.write(&packets5.Unsubscribe{PacketID: 2, Properties: &packets5.Properties{}, Topics: []string{"commands/G/#", "commands/g/#", "commands/g/#"}})
		if ack := read5[*packets5.Unsuback](five); !bytes.Equal(ack.Reasons, []byte{0x11, 0, 0x11}) ||
			ack.Properties.ReasonString != "" || len(ack.Properties.User) > 0 {
			t.Errorf("%x", ack.Reasons)
		}
	}},
	{"§3.14.2.2.2 a DISCONNECT cannot have a session kept that was not to be", func(t *testing.T, f *fixture) {
		second := uint32(5)
		c, _ := f.connect5(t, "g", enrolmentKey, nil)
		c.write(&packets5.Disconnect{Properties: &packets5.Properties{SessionExpiryInterval: &second}})
		c.expectDisconnect(0x82)
	}},
	{"MQTT-4.3.3-2 MQTT5-4.3.3-11 MQTT5-3.7.2-1 MQTT5-3.7.2-2 MQTT5-3.7.2-3 a PUBREL of what is not known is answered", func(t *testing.T, f *fixture) {
		f.connect3(t, "g", enrolmentKey, nil).release(77)
		five, _ := f.connect5(t, "g", enrolmentKey, nil)
		five.write(&packets5.Pubrel{PacketID: 77, Properties: &packets5.Properties{}})
		if comp := read5[*packets5.Pubcomp](five); comp.PacketID != 77 || comp.ReasonCode != 0x92 ||
			comp.Properties.ReasonString != "" || len(comp.Properties.User) > 0 {
			t.Errorf("%s", comp)
		}
	}},
	{"MQTT5-4.3.3-9 MQTT5-3.5.2-1 a PUBREC that refuses ends the exchange", func(t *testing.T, f *fixture) {
		c, _ := f.connect5(t, "g", enrolmentKey, nil)
		for range 2 {
			c.publish("nowhere", 2, 3, "1", nil)
			if rec := read5[*packets5.Pubrec](c); rec.ReasonCode != 0x90 {
				t.Errorf("%s", rec)
			}
		}
		c.publish("readings/g/a", 2, 3, "1", nil)
		if rec := read5[*packets5.Pubrec](c); rec.ReasonCode != 0 {
			t.Errorf("%s", rec)
		}
	}},
	{"MQTT5-4.6.0-2 MQTT5-3.4.2-1 acknowledgements are in order, refusals among them", func(t *testing.T, f *fixture) {
		f.log.Hold(true)
		c, _ := f.connect5(t, "g", enrolmentKey, nil)
		for i := range uint16(30) {
			topic := "readings/g/a"
			if i%3 == 1 {
				topic = "nowhere"
			}
			c.publish(topic, 1, 100-i, "1", nil)
			if i%5 == 0 {
				c.write(&packets5.Pingreq{})
				read5[*packets5.Pingresp](c)
			}
		}
		f.log.Hold(false)
		for i := range uint16(30) {
			code := byte(0)
			if i%3 == 1 {
				code = 0x90
			}
			c.expectPuback(100-i, code)
		}
	}},
	{"MQTT5-4.12.0-1 MQTT5-3.2.2-6 MQTT5-4.13.2-1 an authentication method is refused", func(t *testing.T, f *fixture) {
		c := &client5{f.dial(t)}
		if ack := c.connect("g", enrolmentKey, func(p *packets5.Connect) { p.Properties.AuthMethod = "SCRAM" }); ack.ReasonCode != 0x8C || ack.SessionPresent {
			t.Errorf("%s", ack)
		}
		c.expectEnd()
	}},
	{"MQTT-4.8.0-1 MQTT5-4.13.1-1 MQTT5-4.13.2-1 MQTT5-3.14.2-2 MQTT5-3.14.4-1 MQTT5-3.14.4-2 what is malformed ends the connection, and is counted and kept", func(t *testing.T, f *fixture) {
		for said, code := range map[string]byte{"\x36\x05\x00\x01a\x00\x01": 0x81, "\x90\x02\x00\x01": 0x82, "\x30\x04\x00\x01+\x00": 0x90} {
			five, _ := f.connect5(t, "g", enrolmentKey, nil)
			five.send(said)
			five.expectDisconnect(code)
		}
		three := f.connect3(t, "g", enrolmentKey, nil)
		three.send("\x36\x05\x00\x01a\x00\x01")
		three.expectEnd()
		f.eventually(t, "they are kept", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.rejects) == 4 })
		if books := f.books(t); books.FramesRejected != 4 || books.Reasons[intake.ReasonFrame] != 4 {
			t.Errorf("%+v", books)
		}
	}},
	{"MQTT5-3.2.2-15 a packet that is too large: 5 is told; of 3.1.1 it is kept and acknowledged", func(t *testing.T, f *fixture) {
		large := strings.Repeat("x", schema.MaxFrame+5000)
		five, ack := f.connect5(t, "g", enrolmentKey, nil)
		if most := value(ack.Properties.MaximumPacketSize); most <= schema.MaxFrame {
			t.Errorf("Maximum Packet Size %d", most)
		}
		go func() {
			_, _ = (&packets5.Publish{Topic: "readings/g/a", QoS: 1, PacketID: 1, Payload: []byte(large), Properties: &packets5.Properties{}}).WriteTo(five.TCPConn)
		}()
		if d := read5[*packets5.Disconnect](five); d.ReasonCode != 0x95 {
			t.Errorf("%s", d)
		}
		c := f.connect3(t, "g", enrolmentKey, nil)
		c.publish("readings/g/a", 1, 1, large)
		c.publish("readings/g/a", 1, 2, "1")
		c.expectPubacks(1, 2)
		f.mu.Lock()
		last := f.rejects[len(f.rejects)-1]
		f.mu.Unlock()
		if last.Code != schema.TooLarge || last.Size != len(large) || last.Refused != len(large) || last.Gateway != "g" {
			t.Errorf("%+v", last.Reject)
		}
	}},
}

// value returns what a property says, 0 when it is not there.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func TestMQTTClauses(t *testing.T) {
	all := slices.Concat(mqttClauses, mqttSessions, mqttAnswers, mqttSenders)
	names := []string{tooLate}
	for _, c := range all {
		names = append(names, c.clauses)
		t.Run(c.clauses, func(t *testing.T) {
			t.Parallel()
			f := start(t, func(_ *fixture, o *Options) { o.Limits.Linger = 10 * time.Millisecond })
			c.test(t, f)
			f.eventually(t, "nothing is in hand", func() bool { _, n := f.committer.Totals(); return n == 0 })
			f.books(t)
		})
	}
	clausetest.Check(t, "../..", "behaviour", names)
}

// TestMQTTClausesAreCited: a clause that the code cites is one of the standards'.
func TestMQTTClausesAreCited(t *testing.T) { clausetest.CheckCited(t, "../..") }
