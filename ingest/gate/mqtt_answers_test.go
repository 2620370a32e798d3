package gate

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"berth/schema/record"
)

// mqttAnswers are the statements on what the server says.
var mqttAnswers = []behaviour{
	{"MQTT5-3.1.2-24 MQTT5-3.4.2-2 MQTT5-3.4.2-3 MQTT5-3.5.2-2 MQTT5-3.5.2-3 MQTT5-3.14.2-3 MQTT5-3.14.2-4 an answer is not longer than the client takes", func(t *testing.T, f *fixture) {
		most := uint32(20)
		c, _ := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.Properties.MaximumPacketSize = &most })
		c.publish("nowhere", 1, 1, "a", nil)
		if ack := c.expectPuback(1, 0x90); ack.Properties.ReasonString != "" || len(ack.Properties.User) > 0 {
			t.Errorf("%s", ack)
		}
		c.publish("nowhere", 2, 2, "a", nil)
		if rec := read5[*packets5.Pubrec](c); rec.ReasonCode != 0x90 || rec.Properties.ReasonString != "" || len(rec.Properties.User) > 0 {
			t.Errorf("%s", rec)
		}
		request := &packets5.Subscribe{PacketID: 9, Properties: &packets5.Properties{}}
		for range 16 {
			request.Subscriptions = append(request.Subscriptions, packets5.SubOptions{Topic: "commands/g/#"})
		}
		c.write(request) // its SUBACK has 21 bytes
		if d := read5[*packets5.Disconnect](c); d.ReasonCode != 0x95 || d.Properties.ReasonString != "" || len(d.Properties.User) > 0 {
			t.Errorf("%s", d)
		}
		c.expectEnd()
	}},
	{"MQTT5-3.1.2-24 MQTT5-3.2.2-19 MQTT5-3.2.2-20 nor is a CONNACK", func(t *testing.T, f *fixture) {
		for key, most := range map[string]uint32{"bk_wrong": 10, enrolmentKey: 19} {
			c := &client5{f.dial(t)}
			ack := c.connect("g", key, func(p *packets5.Connect) { p.Properties.MaximumPacketSize = &most })
			if ack.ReasonCode < 0x80 || ack.Properties.ReasonString != "" || len(ack.Properties.User) > 0 {
				t.Errorf("%s", ack)
			}
			c.expectEnd()
		}
		f.eventually(t, "the connections are gone", func() bool { return f.Connections() == 0 })
		f.limit(func(l *record.Limits) { l.Connections = 1 })
		f.connect5(t, "g", enrolmentKey, nil)
		most := uint32(10)
		c := &client5{f.dial(t)}
		if ack := c.connect("h", enrolmentKey, func(p *packets5.Connect) { p.Properties.MaximumPacketSize = &most }); ack.ReasonCode != 0x97 || ack.Properties.ReasonString != "" {
			t.Errorf("%s", ack)
		}
	}},
	{"MQTT5-3.1.2-28 MQTT5-4.12.0-6 a CONNACK has nothing that was not asked for", func(t *testing.T, f *fixture) {
		c, ack := f.connect5(t, "g", enrolmentKey, func(p *packets5.Connect) { p.Properties.RequestResponseInfo = new(byte) })
		if ack.Properties.ResponseInfo != "" || ack.Properties.AuthMethod != "" || len(ack.Properties.AuthData) > 0 {
			t.Errorf("%s", ack)
		}
		c.write(&packets5.Disconnect{Properties: &packets5.Properties{}})
		c.expectEnd()
	}},
	{"MQTT-3.1.3-9 MQTT5-3.1.3-8 a client identifier that is too long is refused", func(t *testing.T, f *fixture) {
		long := strings.Repeat("c", 300)
		c := &client3{f.dial(t)}
		c.connect("g", enrolmentKey, func(p *packets3.ConnectPacket) { p.ClientIdentifier = long })
		if ack := c.connack(); ack.ReturnCode != 2 {
			t.Errorf("%s", ack)
		}
		c.expectEnd()
		five := &client5{f.dial(t)}
		if ack := five.connect("g", enrolmentKey, func(p *packets5.Connect) { p.ClientID = long }); ack.ReasonCode != 0x85 {
			t.Errorf("%s", ack)
		}
		five.expectEnd()
	}},
}

const tooLate = "MQTT5-3.2.2-8 a CONNECT that does not come in time is refused with a code that a CONNACK may have: silence has none"

// TestMQTTConnectTooLate is tooLate.
func TestMQTTConnectTooLate(t *testing.T) {
	f := start(t, firstFrameIn(time.Second))
	c := &client5{f.dial(t)}
	c.send("\x10\x20\x00\x04MQTT\x05\xc2")
	if ack := read5[*packets5.Connack](c); ack.ReasonCode != 0x80 {
		t.Errorf("%s", ack)
	}
	c.expectEnd()
}

// wrongPacket is a packet that ends the connection: in MQTT 5 with a DISCONNECT of this code.
type wrongPacket struct {
	clauses string
	sends   string
	code    byte
}

// mqttWrong are the packets that a client of either version must not send. The clients want no reasons.
var mqttWrong = map[byte][]wrongPacket{
	4: {
		{"MQTT-2.2.2-2 MQTT-3.6.1-1 MQTT-4.8.0-1 flags of PUBREL", raw(0x60, "\x00\x01"), 0},
		{"MQTT-3.8.1-1 flags of SUBSCRIBE", raw(0x80, "\x00\x01", field("a"), "\x00"), 0},
		{"MQTT-3.10.1-1 flags of UNSUBSCRIBE", raw(0xa0, "\x00\x01", field("a")), 0},
		{"MQTT-3.14.1-1 flags of DISCONNECT", "\xe1\x00", 0},
		{"MQTT-2.3.1-1 identifier 0", rawPublish(4, qos1, "\x00\x00", "1"), 0},
		{"MQTT-2.3.1-1 identifier 0 of a request", raw(0x82, "\x00\x00", field("a"), "\x00"), 0},
		{"MQTT-3.3.1-2 DUP at QoS 0", rawPublish(4, dup, "", "1"), 0},
		{"MQTT-3.3.1-4 QoS 3", rawPublish(4, qos1|qos2, "\x00\x01", "1"), 0},
		{"MQTT-3.3.2-2 MQTT-4.7.1-1 a wildcard in a topic", raw(0x30, field("readings/g/+"), "1"), 0},
		{"MQTT-1.5.3-1 MQTT-3.3.2-1 a topic that is not UTF-8", raw(0x30, field("readings/g/\xff"), "1"), 0},
		{"MQTT-1.5.3-2 MQTT-4.7.3-2 U+0000 in a topic", raw(0x30, field("readings/g/\x00"), "1"), 0},
		{"MQTT-4.7.3-1 no topic", raw(0x30, field(""), "1"), 0},
		{"MQTT-3.8.3-3 SUBSCRIBE without a filter", raw(0x82, "\x00\x01"), 0},
		{"MQTT-3.8.3-4 reserved bits of a subscription", raw(0x82, "\x00\x01", field("a"), "\x04"), 0},
		{"MQTT-3.10.3-2 UNSUBSCRIBE without a filter", raw(0xa2, "\x00\x01"), 0},
		{"a packet of no type", raw(0x00), 0},
		{"a packet of 5 alone", raw(0xf0), 0},
	},
	5: {
		{"MQTT5-2.1.3-1 MQTT5-3.6.1-1 MQTT5-4.13.1-1 flags of PUBREL", raw(0x60, "\x00\x01"), 0x81},
		{"MQTT5-3.8.1-1 flags of SUBSCRIBE", raw(0x80, "\x00\x01\x00", field("a"), "\x00"), 0x81},
		{"MQTT5-3.10.1-1 flags of UNSUBSCRIBE", raw(0xa0, "\x00\x01\x00", field("a")), 0x81},
		{"MQTT5-3.14.1-1 flags of DISCONNECT", "\xe1\x00", 0x81},
		{"MQTT5-3.15.1-1 flags of AUTH", "\xf1\x00", 0x81},
		{"MQTT5-4.12.0-7 AUTH of who has no authentication method", raw(0xf0), 0x82},
		{"MQTT5-1.5.5-1 a remaining length of more bytes than it needs", "\xc0\x80\x00", 0x81},
		{"MQTT5-2.2.1-3 identifier 0", rawPublish(5, qos1, "\x00\x00", "1"), 0x82},
		{"MQTT5-2.2.1-3 identifier 0 of a request", raw(0x82, "\x00\x00\x00", field("a"), "\x00"), 0x82},
		{"MQTT5-3.3.1-2 DUP at QoS 0", rawPublish(5, dup, "", "1"), 0x81},
		{"MQTT5-3.3.1-4 QoS 3", rawPublish(5, qos1|qos2, "\x00\x01", "1"), 0x81},
		{"MQTT5-3.3.2-2 MQTT5-4.7.0-1 a wildcard in a topic", raw(0x30, field("readings/g/+"), "\x00", "1"), 0x90},
		{"MQTT5-3.3.2-8 topic alias 0", raw(0x30, field("readings/g/a"), "\x03\x23\x00\x00", "1"), 0x94},
		{"MQTT5-3.3.2-9 a topic alias beyond the maximum", raw(0x30, field("readings/g/a"), "\x03\x23\x00\xff", "1"), 0x94},
		{"MQTT5-3.3.2-14 a wildcard in a response topic", raw(0x30, field("readings/g/a"), "\x06\x08", field("a/#"), "1"), 0x82},
		{"MQTT5-3.3.4-6 a subscription identifier", raw(0x30, field("readings/g/a"), "\x02\x0b\x01", "1"), 0x82},
		{"MQTT5-1.5.4-1 MQTT5-3.3.2-1 a topic that is not UTF-8", raw(0x30, field("readings/g/\xff"), "\x00", "1"), 0x81},
		{"MQTT5-1.5.4-2 MQTT5-4.7.3-2 U+0000 in a topic", raw(0x30, field("readings/g/\x00"), "\x00", "1"), 0x81},
		{"MQTT5-4.7.3-1 no topic", raw(0x30, field(""), "\x00", "1"), 0x82},
		{"MQTT5-3.6.2-1 the reason code of PUBREL", raw(0x62, "\x00\x01\x10"), 0x82},
		{"MQTT5-3.8.3-2 SUBSCRIBE without a filter", raw(0x82, "\x00\x01\x00"), 0x82},
		{"MQTT5-3.8.3-4 No Local on a shared subscription", raw(0x82, "\x00\x01\x00", field("$share/a/b"), "\x04"), 0x82},
		{"MQTT5-3.8.3-5 reserved bits of a subscription", raw(0x82, "\x00\x01\x00", field("a"), "\x40"), 0x81},
		{"MQTT5-3.10.3-2 UNSUBSCRIBE without a filter", raw(0xa2, "\x00\x01\x00"), 0x82},
		{"MQTT5-3.14.2-1 the reason code of DISCONNECT", raw(0xe0, "\x03"), 0x82},
		{"a packet of no type", raw(0x00), 0x82},
	},
}

// TestMQTTWrongPackets: what must not be sent ends the connection; nothing but the code is said.
func TestMQTTWrongPackets(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Limits.Linger = 10 * time.Millisecond })
	for level, all := range mqttWrong {
		for _, k := range all {
			t.Run(k.clauses, func(t *testing.T) {
				c := f.dial(t)
				properties, want := "", ""
				if level == 5 {
					properties = "\x02\x17\x00" // no reasons
					want = "\xe0\x02" + string([]byte{k.code, 0})
				}
				c.send(rawConnect(level, clean, properties, enrolmentKey))
				c.answered(map[byte]string{4: "\x20\x02\x00\x00", 5: connack5}[level], "CONNECT")
				c.send(k.sends)
				if got, err := io.ReadAll(c.in); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(got, []byte(want)) {
					t.Errorf("answered %x, %v, want %x", got, err, want)
				}
			})
		}
	}
	if got := f.readings(t); len(got) > 0 {
		t.Errorf("stored is %q", got)
	}
}
