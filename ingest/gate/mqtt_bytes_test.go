package gate

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/clausetest"
)

// raw returns a packet.
func raw(first byte, body ...string) string {
	all := strings.Join(body, "")
	return string([]byte{first, byte(len(all))}) + all
}

// rawConnect is a CONNECT of gateway g with the key, whose flags say that both are there. The rest of the flags, and the
// properties of MQTT 5, are as given.
func rawConnect(level byte, flags byte, properties, key string) string {
	return rawClient(level, flags, properties, "c", key)
}

// rawClient is a CONNECT with this client identifier.
func rawClient(level byte, flags byte, properties, client, key string) string {
	return raw(0x10, field("MQTT"), string([]byte{level, 0xc0 | flags, 0, 60}), properties, field(client), field("g"), field(key))
}

const (
	clean    = 0x02
	noneOf5  = "\x00"                     // no properties
	minuteOf = "\x05\x11\x00\x00\x00\x3c" // a session that is kept for a minute
	connack5 = "\x20\x12\x00\x00"         // begins a CONNACK of MQTT 5, without a session
)

// rawPublish is a PUBLISH to sensor a of gateway g; level 5 has no properties.
func rawPublish(level, flags byte, id, value string) string {
	properties := ""
	if level == 5 {
		properties = "\x00"
	}
	return raw(0x30|flags, field("readings/g/a"), id, properties, value)
}

// The flags of a PUBLISH.
const (
	qos1 = 0x02
	qos2 = 0x04
	dup  = 0x08
)

// exchange is what a client sends, byte by byte, and what it is answered; what begins so, if the answer is more. An empty answer
// is none, and it is not waited for.
type exchange struct{ sends, answer string }

// mqttExchanges are normative statements shown by the very bytes of a connection, or of some one after the other. After the
// last step of each the server ends the connection, if the clause says so, and else the client does.
var mqttExchanges = []struct {
	clauses string
	conns   [][]exchange
	ends    bool     // by the server
	stored  []string // at the end
}{
	{"MQTT-3.2.0-1 MQTT-3.1.4-3 MQTT-3.1.4-4 MQTT-3.2.2-1 the first answer is the CONNACK", [][]exchange{{
		{rawConnect(4, clean, "", enrolmentKey), "\x20\x02\x00\x00"},
	}}, false, nil},
	{"MQTT-3.2.2-4 MQTT-3.2.2-5 MQTT-3.1.4-5 who is refused is told, and closed; what it sends after the CONNECT is not taken", [][]exchange{{
		{rawConnect(4, clean, "", "bk_wrong") + rawPublish(4, qos1, "\x00\x01", "1"), "\x20\x02\x00\x04"},
	}}, true, nil},
	{"MQTT5-3.2.2-7 MQTT5-3.1.4-2 MQTT5-3.1.4-6 the same", [][]exchange{{
		{rawConnect(5, clean, noneOf5, "bk_wrong") + rawPublish(5, qos1, "\x00\x01", "1"), "\x20"},
	}}, true, nil},
	{"MQTT5-3.14.0-1 no DISCONNECT comes before a CONNACK", [][]exchange{{
		{raw(0x10, field("MQTT"), "\x05\x03\x00\x00\x00", field("c")), "\x20"}, // the reserved flag
	}}, true, nil},
	{"MQTT-3.1.2-4 MQTT-3.2.2-2 of 3.1.1: a session is kept, and is there again", [][]exchange{
		{{rawConnect(4, 0, "", enrolmentKey), "\x20\x02\x00\x00"}, {raw(0xe0), ""}},
		{{rawConnect(4, 0, "", enrolmentKey), "\x20\x02\x01\x00"}},
	}, false, nil},
	{"MQTT-3.1.2-6 MQTT-3.2.2-3 of 3.1.1: a clean session discards what was, and is not kept", [][]exchange{
		{{rawConnect(4, 0, "", enrolmentKey), "\x20\x02\x00\x00"}, {raw(0xe0), ""}},
		{{rawConnect(4, clean, "", enrolmentKey), "\x20\x02\x00\x00"}, {raw(0xe0), ""}},
		{{rawConnect(4, 0, "", enrolmentKey), "\x20\x02\x00\x00"}},
	}, false, nil},
	{"MQTT-3.3.4-1 QoS 0 is not answered", [][]exchange{{
		{rawConnect(4, clean, "", enrolmentKey), "\x20\x02\x00\x00"},
		{rawPublish(4, 0, "", "1") + raw(0xc0), "\xd0\x00"},
		{rawPublish(4, qos1, "\x00\x01", "2"), "\x40\x02\x00\x01"},
	}}, false, []string{"g a 1", "g a 2"}},
	{"MQTT-4.3.2-2 MQTT-2.3.1-6 QoS 1: an identifier that was acknowledged is another message, DUP or not", [][]exchange{{
		{rawConnect(4, clean, "", enrolmentKey), "\x20\x02\x00\x00"},
		{rawPublish(4, qos1, "\x00\x07", "1"), "\x40\x02\x00\x07"},
		{rawPublish(4, qos1, "\x00\x07", "2"), "\x40\x02\x00\x07"},
		{rawPublish(4, qos1|dup, "\x00\x07", "3"), "\x40\x02\x00\x07"},
	}}, false, []string{"g a 1", "g a 2", "g a 3"}},
	{"MQTT-4.3.3-2 MQTT-3.3.1-3 MQTT-4.1.0-2 MQTT-2.2.2-1 QoS 2: until it is released a message is taken once, and answered each time; then it is another", [][]exchange{{
		{rawConnect(4, clean, "", enrolmentKey), "\x20\x02\x00\x00"},
		{rawPublish(4, qos2, "\x00\x07", "1"), "\x50\x02\x00\x07"},
		{rawPublish(4, qos2|dup, "\x00\x07", "1"), "\x50\x02\x00\x07"},
		{rawPublish(4, qos2, "\x00\x07", "2"), "\x50\x02\x00\x07"}, // DUP says nothing of it [MQTT-3.3.1-3]
		{raw(0x62, "\x00\x07"), "\x70\x02\x00\x07"},
		{rawPublish(4, qos2|dup, "\x00\x07", "3"), "\x50\x02\x00\x07"},
		{raw(0x62, "\x00\x07"), "\x70\x02\x00\x07"},
		{raw(0x62, "\x00\x07"), "\x70\x02\x00\x07"},
	}}, false, []string{"g a 1", "g a 3"}},
	{"MQTT5-4.3.3-8 MQTT5-4.3.3-10 MQTT5-4.3.3-11 MQTT5-4.3.3-12 MQTT5-4.1.0-1 MQTT5-2.2.1-5 MQTT5-3.3.4-1 the same, with reason codes", [][]exchange{{
		{rawConnect(5, clean, noneOf5, enrolmentKey), "\x20"},
		{rawPublish(5, qos2, "\x00\x07", "1"), "\x50\x02\x00\x07"},
		{rawPublish(5, qos2|dup, "\x00\x07", "1"), "\x50\x02\x00\x07"},
		{raw(0x62, "\x00\x07"), "\x70\x02\x00\x07"},
		{rawPublish(5, qos2, "\x00\x07", "2"), "\x50\x02\x00\x07"},
		{raw(0x62, "\x00\x07\x00"), "\x70\x02\x00\x07"},
		{raw(0x62, "\x00\x07"), "\x70\x03\x00\x07\x92"},
	}}, false, []string{"g a 1", "g a 2"}},
	{"MQTT-4.4.0-1 MQTT-4.1.0-1 QoS 2 goes on in the next connection, of the same session", [][]exchange{
		{
			{rawConnect(4, 0, "", enrolmentKey), "\x20\x02\x00\x00"},
			{rawPublish(4, qos2, "\x00\x07", "1"), "\x50\x02\x00\x07"},
		},
		{
			{rawConnect(4, 0, "", enrolmentKey), "\x20\x02\x01\x00"},
			{rawPublish(4, qos2|dup, "\x00\x07", "1"), "\x50\x02\x00\x07"},
			{raw(0x62, "\x00\x07"), "\x70\x02\x00\x07"},
		},
		{
			{rawConnect(4, 0, "", enrolmentKey), "\x20\x02\x01\x00"},
			{raw(0x62, "\x00\x07"), "\x70\x02\x00\x07"},
			{rawPublish(4, qos2, "\x00\x07", "2"), "\x50\x02\x00\x07"},
		},
	}, false, []string{"g a 1", "g a 2"}},
	{"MQTT5-4.4.0-1 table 3-8: in a session that goes on, a PUBREL of what is released already is no error", [][]exchange{
		{{rawConnect(5, 0, minuteOf, enrolmentKey), "\x20"}, {rawPublish(5, qos2, "\x00\x07", "1"), "\x50\x02\x00\x07"}, {raw(0x62, "\x00\x07"), "\x70\x02\x00\x07"}},
		{{rawConnect(5, 0, minuteOf, enrolmentKey), "\x20"}, {raw(0x62, "\x00\x07"), "\x70\x02\x00\x07"}},
	}, false, []string{"g a 1"}},
	{"MQTT5-4.1.0-2 without an expiry a session ends with its connection", [][]exchange{
		{{rawConnect(5, 0, noneOf5, enrolmentKey), "\x20"}, {rawPublish(5, qos2, "\x00\x07", "1"), "\x50\x02\x00\x07"}},
		{{rawConnect(5, 0, noneOf5, enrolmentKey), "\x20"}, {rawPublish(5, qos2|dup, "\x00\x07", "1"), "\x50\x02\x00\x07"}},
	}, false, []string{"g a 1", "g a 1"}},
	{"MQTT-3.12.4-1 PINGREQ is answered", [][]exchange{{
		{rawConnect(4, clean, "", enrolmentKey), "\x20\x02\x00\x00"}, {"\xc0\x00\xc0\x00", "\xd0\x00\xd0\x00"},
	}}, false, nil},
	{"MQTT-3.14.4-1 MQTT-3.14.4-2 nothing is taken after a DISCONNECT", [][]exchange{{
		{rawConnect(4, clean, "", enrolmentKey), "\x20\x02\x00\x00"},
		{raw(0xe0) + rawPublish(4, qos1, "\x00\x01", "1"), ""},
	}}, true, nil},
	{"MQTT-4.6.0-2 MQTT-4.6.0-3 acknowledgements are in the order of the messages", [][]exchange{{
		{rawConnect(4, clean, "", enrolmentKey), "\x20\x02\x00\x00"},
		{
			rawPublish(4, qos1, "\x00\x09", "1") + rawPublish(4, qos2, "\x00\x08", "2") + rawPublish(4, qos2, "\x00\x03", "3") + rawPublish(4, qos1, "\x00\x01", "4"),
			"\x40\x02\x00\x09\x50\x02\x00\x08\x50\x02\x00\x03\x40\x02\x00\x01",
		},
	}}, false, []string{"g a 1", "g a 2", "g a 3", "g a 4"}},
	{"MQTT5-4.6.0-2 MQTT5-4.6.0-3 acknowledgements are in the order of the messages", [][]exchange{{
		{rawConnect(5, clean, noneOf5, enrolmentKey), connack5},
		{
			rawPublish(5, qos1, "\x00\x09", "1") + rawPublish(5, qos2, "\x00\x08", "2") + rawPublish(5, qos2, "\x00\x03", "3") + rawPublish(5, qos1, "\x00\x01", "4"),
			"\x40\x02\x00\x09\x50\x02\x00\x08\x50\x02\x00\x03\x40\x02\x00\x01",
		},
	}}, false, []string{"g a 1", "g a 2", "g a 3", "g a 4"}},
	{"MQTT5-4.3.2-4 MQTT5-4.3.2-5 MQTT5-3.3.1-3 QoS 1: an identifier that was acknowledged is another message, DUP or not", [][]exchange{{
		{rawConnect(5, clean, noneOf5, enrolmentKey), connack5},
		{rawPublish(5, qos1, "\x00\x07", "1"), "\x40\x02\x00\x07"},
		{rawPublish(5, qos1|dup, "\x00\x07", "2"), "\x40\x02\x00\x07"},
	}}, false, []string{"g a 1", "g a 2"}},
	{"MQTT5-4.3.3-13 QoS 2 is answered to its end, whether the message has expired or not", [][]exchange{{
		{rawConnect(5, clean, noneOf5, enrolmentKey), connack5},
		{raw(0x34, field("readings/g/a"), "\x00\x07", "\x05\x02\x00\x00\x00\x00", "1"), "\x50\x02\x00\x07"},
		{raw(0x62, "\x00\x07"), "\x70\x02\x00\x07"},
	}}, false, []string{"g a 1"}},
	{"MQTT5-3.1.2-23 MQTT5-3.2.2-3 QoS 2 goes on in the next connection of the same session", [][]exchange{
		{{rawConnect(5, 0, minuteOf, enrolmentKey), connack5}, {rawPublish(5, qos2, "\x00\x07", "1"), "\x50\x02\x00\x07"}},
		{{rawConnect(5, 0, minuteOf, enrolmentKey), "\x20\x12\x01\x00"}, {rawPublish(5, qos2|dup, "\x00\x07", "1"), "\x50\x02\x00\x07"}},
	}, false, []string{"g a 1"}},
	{"MQTT5-3.2.0-1 MQTT5-3.2.0-2 MQTT5-3.1.4-5 MQTT5-3.2.2-1 MQTT5-3.12.4-1 one CONNACK, first; PINGREQ is answered", [][]exchange{{
		{rawConnect(5, clean, noneOf5, enrolmentKey) + raw(0xc0), connack5}, {raw(0xc0), "\xd0\x00\xd0\x00"},
	}}, false, nil},
	{"MQTT5-2.2.1-6 MQTT5-2.2.2-1 MQTT5-3.8.4-2 MQTT5-3.8.4-5 MQTT5-3.10.4-5 MQTT5-3.10.4-6 each filter has a reason code", [][]exchange{{
		{rawConnect(5, clean, noneOf5, enrolmentKey), connack5},
		{raw(0x82, "\x00\x09\x00", field("commands/g/#"), "\x01", field("others"), "\x00", field("commands/g/a"), "\x00"), "\x90\x06\x00\x09\x00\x01\x87\x00"},
		{raw(0xa2, "\x00\x0a\x00", field("commands/g/#"), field("never")), "\xb0\x05\x00\x0a\x00\x00\x11"},
	}}, false, nil},
	{"MQTT-1.5.3-3 MQTT-4.7.3-4 U+FEFF is not stripped, and capitals are not small letters", [][]exchange{
		{{rawClient(4, 0, "", "c", enrolmentKey), "\x20\x02\x00\x00"}},
		{{rawClient(4, 0, "", "\ufeffc", enrolmentKey), "\x20\x02\x00\x00"}},
		{{rawClient(4, 0, "", "C", enrolmentKey), "\x20\x02\x00\x00"}, {raw(0x32, field("readings/g/A"), "\x00\x01", "1"), "\x40\x02\x00\x01"}},
		{{rawClient(4, 0, "", "c", enrolmentKey), "\x20\x02\x01\x00"}},
	}, false, []string{"g A 1"}},
	{"MQTT5-1.5.4-3 MQTT5-4.7.3-4 U+FEFF is not stripped, and capitals are not small letters", [][]exchange{
		{{rawClient(5, 0, minuteOf, "c", enrolmentKey), connack5}},
		{{rawClient(5, 0, minuteOf, "\ufeffc", enrolmentKey), connack5}},
		{{rawClient(5, 0, minuteOf, "C", enrolmentKey), connack5}, {raw(0x32, field("readings/g/A"), "\x00\x01\x00", "1"), "\x40\x02\x00\x01"}},
		{{rawClient(5, 0, minuteOf, "c", enrolmentKey), "\x20\x12\x01\x00"}},
	}, false, []string{"g A 1"}},
	{"MQTT-3.1.3-5 client identifiers of 23 letters and digits are allowed", [][]exchange{
		{{rawClient(4, clean, "", "0123456789abcdefghijklm", enrolmentKey), "\x20\x02\x00\x00"}},
		{{rawClient(4, clean, "", "nopqrstuvwxyzABCDEFGHIJ", enrolmentKey), "\x20\x02\x00\x00"}},
		{{rawClient(4, clean, "", "KLMNOPQRSTUVWXYZ", enrolmentKey), "\x20\x02\x00\x00"}},
	}, false, nil},
	{"MQTT5-3.1.3-5 client identifiers of 23 letters and digits are allowed", [][]exchange{
		{{rawClient(5, clean, noneOf5, "0123456789abcdefghijklm", enrolmentKey), connack5}},
		{{rawClient(5, clean, noneOf5, "nopqrstuvwxyzABCDEFGHIJ", enrolmentKey), connack5}},
		{{rawClient(5, clean, noneOf5, "KLMNOPQRSTUVWXYZ", enrolmentKey), connack5}},
	}, false, nil},
	{"MQTT5-4.2.0-1 a packet in pieces, a byte at a time, is a packet", [][]exchange{{
		{rawConnect(5, clean, noneOf5, enrolmentKey), connack5}, {rawPublish(5, qos1, "\x00\x01", "1"), "\x40\x02\x00\x01"},
	}}, false, []string{"g a 1"}},
	{"MQTT-3.8.4-1 MQTT-3.8.4-2 MQTT-3.8.4-4 MQTT-3.8.4-5 MQTT-3.9.3-1 MQTT-2.3.1-7 MQTT-3.10.4-4 MQTT-3.10.4-5 MQTT-3.10.4-6 each filter of a SUBSCRIBE is answered, in order", [][]exchange{{
		{rawConnect(4, clean, "", enrolmentKey), "\x20\x02\x00\x00"},
		{raw(0x82, "\x00\x09", field("commands/g/#"), "\x01", field("others"), "\x00", field("commands/g/a"), "\x00"), "\x90\x05\x00\x09\x01\x80\x00"},
		{raw(0xa2, "\x00\x0a", field("commands/g/#"), field("never")), "\xb0\x02\x00\x0a"},
	}}, false, nil},
	{"MQTT-7.1.1-1 a packet in pieces, a byte at a time, is a packet", [][]exchange{{
		{rawConnect(4, clean, "", enrolmentKey), "\x20\x02\x00\x00"}, {rawPublish(4, qos1, "\x00\x01", "1"), "\x40\x02\x00\x01"},
	}}, false, []string{"g a 1"}},
}

func TestMQTTByTheByte(t *testing.T) {
	var names []string
	for _, all := range mqttWrong {
		for _, k := range all {
			names = append(names, k.clauses)
		}
	}
	for _, k := range mqttExchanges {
		names = append(names, k.clauses)
		t.Run(k.clauses, func(t *testing.T) {
			t.Parallel()
			f := start(t, func(_ *fixture, o *Options) { o.Limits.Linger = 10 * time.Millisecond })
			for i, steps := range k.conns {
				c := f.dial(t)
				for n, s := range steps {
					piece := len(s.sends)
					if strings.Contains(k.clauses, "a byte at a time") {
						piece = 1
					}
					for part := range slices.Chunk([]byte(s.sends), piece) {
						c.send(string(part))
					}
					c.answered(s.answer, fmt.Sprintf("connection %d, step %d", i+1, n+1))
				}
				if k.ends {
					_, _ = io.Copy(io.Discard, c.in) // the rest of an answer, and the end
				}
				_ = c.Close()
				f.eventually(t, "the connection is gone", func() bool { return f.Connections() == 0 })
			}
			f.eventually(t, "nothing is in hand", func() bool { _, n := f.committer.Totals(); return n == 0 })
			if got := f.readings(t); !slices.Equal(got, k.stored) {
				t.Errorf("stored is %q, want %q", got, k.stored)
			}
			f.books(t)
		})
	}
	clausetest.Check(t, "../..", "bytes", names)
}

// answered reads an answer: this one, or of MQTT 5 a packet that begins so.
func (c *client) answered(want, where string) {
	c.t.Helper()
	if want == "" {
		return
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.in, got); err != nil || string(got) != want {
		c.t.Fatalf("%s: answered %x, %v, want %x", where, got, err, want)
	}
	whole := len(want) >= 2 && len(want)%(2+int(want[1])) == 0
	if whole {
		return
	}
	var rest int
	if len(want) == 1 {
		length, err := c.in.ReadByte()
		if err != nil {
			c.t.Fatal(err)
		}
		rest = int(length)
	} else {
		rest = 2 + int(want[1]) - len(want)
	}
	if _, err := c.in.Discard(rest); err != nil {
		c.t.Fatalf("%s: %v", where, err)
	}
}
