package packet

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	packets5 "github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"berth/internal/clausetest"
)

// read reads whatever a client may send, and returns what was read.
func read(v Version, data []byte) (any, error) {
	h, err := ParseHeader(data)
	if err != nil || h.Size == 0 || len(data) < h.Whole() {
		return nil, err
	}
	body := data[h.Size:h.Whole()]
	switch h.Type {
	case TypeConnect:
		return ReadConnect(body)
	case TypePublish:
		var p Publish
		return &p, ReadPublish(v, h, body, &p)
	case TypeSubscribe:
		return ReadSubscribe(v, body)
	case TypeUnsubscribe:
		return ReadUnsubscribe(v, body)
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp:
		return ReadAck(v, h.Type, body)
	case TypeDisconnect:
		return ReadDisconnect(v, body)
	default:
		return nil, nil
	}
}

// packetOf returns a packet of this first byte, from hexadecimal digits and texts in quotation marks, which have their
// length before them.
func packetOf(t testing.TB, first byte, text string) []byte {
	t.Helper()
	var body []byte
	for word := range strings.FieldsSeq(text) {
		if quoted, ok := strings.CutPrefix(word, `'`); ok {
			quoted = strings.TrimSuffix(quoted, `'`)
			body = append(append(body, byte(len(quoted)>>8), byte(len(quoted))), quoted...)
			continue
		}
		b, err := hex.DecodeString(word)
		if err != nil {
			t.Fatal(err)
		}
		body = append(body, b...)
	}
	if len(body) > 127 {
		t.Fatal("too long for a test")
	}
	return append([]byte{first, byte(len(body))}, body...)
}

// TestClausesOfForm has a row for each clause on the form of a packet that a server receives: what breaks it is refused
// with the code, beside what does not.
func TestClausesOfForm(t *testing.T) {
	const ok = Success
	cases := []struct {
		clause string
		v      Version
		first  byte
		body   string
		code   Code
	}{
		// Packets and their flags.
		{"MQTT-2.2.2-2 flags", V311, 0x80, "0001 'a' 00", Malformed},
		{"MQTT-3.8.1-1 flags of SUBSCRIBE", V311, 0x82, "0001 'a' 00", ok},
		{"MQTT-3.6.1-1 flags of PUBREL", V311, 0x60, "0001", Malformed},
		{"MQTT-3.6.1-1 flags of PUBREL", V311, 0x62, "0001", ok},
		{"MQTT5-3.10.1-1 flags of UNSUBSCRIBE", V5, 0xa0, "0001 00 'a'", Malformed},
		{"MQTT-3.14.1-1 flags of DISCONNECT", V311, 0xe1, "", Malformed},
		{"MQTT5-1.5.5-1 lengths in their shortest form", V5, 0x30, "'a' 8000", Malformed},
		// CONNECT.
		{"3.1.1 as it should be", 0, 0x10, "'MQTT' 04 02 0000 'c'", ok},
		{"5 as it should be", 0, 0x10, "'MQTT' 05 02 0000 00 'c'", ok},
		{"3.1 as it should be", 0, 0x10, "'MQIsdp' 03 02 0000 'c'", ok},
		{"MQTT-3.1.2-1 name", 0, 0x10, "'MQTX' 04 02 0000 'c'", ProtocolError},
		{"MQTT-3.1.2-2 level", 0, 0x10, "'MQTT' 06 02 0000 'c'", UnsupportedVersion},
		{"MQTT-3.1.2-3 reserved flag", 0, 0x10, "'MQTT' 04 03 0000 'c'", Malformed},
		{"MQTT5-3.1.2-3 reserved flag, 5", 0, 0x10, "'MQTT' 05 03 0000 00 'c'", Malformed},
		{"MQTT-3.1.2-9 a will is there when it is said to be", 0, 0x10, "'MQTT' 04 06 0000 'c'", Malformed},
		{"MQTT-3.1.2-13 QoS without a will", 0, 0x10, "'MQTT' 04 0a 0000 'c'", Malformed},
		{"MQTT-3.1.2-14 will of QoS 3", 0, 0x10, "'MQTT' 04 1e 0000 'c' 'w' 'm'", Malformed},
		{"MQTT-3.1.2-15 retain without a will", 0, 0x10, "'MQTT' 04 22 0000 'c'", Malformed},
		{"MQTT-3.1.2-19 user name is there", 0, 0x10, "'MQTT' 04 82 0000 'c'", Malformed},
		{"MQTT-3.1.2-18 no user name, though there is one", 0, 0x10, "'MQTT' 04 02 0000 'c' 'u'", Malformed},
		{"MQTT-3.1.2-21 password is there", 0, 0x10, "'MQTT' 04 c2 0000 'c' 'u'", Malformed},
		{"MQTT-3.1.2-22 password without a user name", 0, 0x10, "'MQTT' 04 42 0000 'c' 'p'", Malformed},
		{"MQTT 5 §3.1.2.9 password without a user name", 0, 0x10, "'MQTT' 05 42 0000 00 'c' 'p'", ok},
		{"MQTT-3.1.3-3 client identifier is there", 0, 0x10, "'MQTT' 04 02 0000", Malformed},
		{"MQTT-3.1.3-4 client identifier in UTF-8", 0, 0x10, "'MQTT' 04 02 0000 0001ff", Malformed},
		{"MQTT-1.5.3-1 surrogates", 0, 0x10, "'MQTT' 04 02 0000 0003eda080", Malformed},
		{"MQTT-1.5.3-2 null character", 0, 0x10, "'MQTT' 04 02 0000 000100", Malformed},
		{"MQTT-3.1.3-10 will topic in UTF-8", 0, 0x10, "'MQTT' 04 06 0000 'c' 0001ff 'm'", Malformed},
		{"MQTT-4.7.1-1 will topic with a wildcard", 0, 0x10, "'MQTT' 04 06 0000 'c' 'w/#' 'm'", TopicNameInvalid},
		{"MQTT-3.1.3-11 user name in UTF-8", 0, 0x10, "'MQTT' 04 82 0000 'c' 0001ff", Malformed},
		{"MQTT 5 §3.1.2.11.2 session expiry twice", 0, 0x10, "'MQTT' 05 02 0000 0a 1100000001 1100000001 'c'", ProtocolError},
		{"MQTT 5 §3.1.2.11.3 Receive Maximum 0", 0, 0x10, "'MQTT' 05 02 0000 03 210000 'c'", ProtocolError},
		{"MQTT 5 §3.1.2.11.4 Maximum Packet Size 0", 0, 0x10, "'MQTT' 05 02 0000 05 2700000000 'c'", ProtocolError},
		{"MQTT 5 §3.1.2.11.7 Request Problem Information 2", 0, 0x10, "'MQTT' 05 02 0000 02 1702 'c'", ProtocolError},
		{"MQTT 5 §3.1.2.11.8 user properties as often as one likes", 0, 0x10, "'MQTT' 05 02 0000 0e 26 'a' 'b' 26 'a' 'b' 'c'", ok},
		{"MQTT 5 §3.1.2.11.10 data without a method", 0, 0x10, "'MQTT' 05 02 0000 04 16 'x' 'c'", ProtocolError},
		{"MQTT 5 §2.2.2.2 a property of another packet", 0, 0x10, "'MQTT' 05 02 0000 03 230001 'c'", Malformed},
		{"MQTT 5 §2.2.2.2 a property of the will in the CONNECT", 0, 0x10, "'MQTT' 05 02 0000 05 1800000001 'c'", Malformed},
		{"MQTT 5 §3.1.3.2.2 delay of the will", 0, 0x10, "'MQTT' 05 06 0000 00 'c' 05 1800000001 'w' 'm'", ok},
		{"MQTT 5 §2.2.2.1 properties longer than the packet", 0, 0x10, "'MQTT' 05 02 0000 7f 'c'", Malformed},
		// PUBLISH.
		{"3.1.1 as it should be", V311, 0x30, "'a' 00", ok},
		{"5 as it should be", V5, 0x32, "'a' 0001 00 00", ok},
		{"MQTT-3.3.1-2 DUP of QoS 0", V311, 0x38, "'a'", Malformed},
		{"MQTT-3.3.1-4 QoS 3", V311, 0x36, "'a' 0001", Malformed},
		{"MQTT-2.3.1-1 identifier 0", V311, 0x32, "'a' 0000", ProtocolError},
		{"MQTT-2.3.1-5 no identifier at QoS 0", V311, 0x30, "'a' 0000", ok},
		{"MQTT-3.3.2-1 topic in UTF-8", V311, 0x30, "0001ff", Malformed},
		{"MQTT-3.3.2-2 wildcards", V311, 0x30, "'a/+'", TopicNameInvalid},
		{"MQTT-4.7.3-1 an empty topic", V311, 0x30, "''", ProtocolError},
		{"MQTT5-4.7.3-1 an empty topic with an alias", V5, 0x30, "'' 03 230001", ok},
		{"MQTT5-3.3.2-8 alias 0", V5, 0x30, "'a' 03 230000", TopicAliasInvalid},
		{"MQTT 5 §3.3.2.3.4 alias twice", V5, 0x30, "'a' 06 230001 230001", ProtocolError},
		{"MQTT5-3.3.4-6 a subscription identifier from a client", V5, 0x30, "'a' 02 0b01", ProtocolError},
		{"MQTT 5 §3.3.2.3.2 format indicator 2", V5, 0x30, "'a' 02 0102", ProtocolError},
		{"a topic longer than the packet", V311, 0x30, "0005 6161", Malformed},
		{"no room for the identifier", V311, 0x32, "'a' 00", Malformed},
		// SUBSCRIBE and UNSUBSCRIBE.
		{"MQTT-3.8.3-1 filter in UTF-8", V311, 0x82, "0001 0001ff 00", Malformed},
		{"MQTT-3.8.3-3 no filter", V311, 0x82, "0001", ProtocolError},
		{"MQTT-3.8.3-4 reserved bits", V311, 0x82, "0001 'a' 04", Malformed},
		{"MQTT-3.8.3-4 QoS 3", V311, 0x82, "0001 'a' 03", Malformed},
		{"MQTT5-3.8.3-5 reserved bits, 5", V5, 0x82, "0001 00 'a' 40", Malformed},
		{"MQTT 5 §3.8.3.1 retain handling 3", V5, 0x82, "0001 00 'a' 30", ProtocolError},
		{"MQTT 5 §3.2.2.3.12 subscription identifiers", V5, 0x82, "0001 02 0b01 'a' 00", SubscriptionIDRefused},
		{"MQTT 5 §3.8.2.1.2 subscription identifier 0", V5, 0x82, "0001 02 0b00 'a' 00", ProtocolError},
		{"MQTT-2.3.1-1 identifier 0", V311, 0x82, "0000 'a' 00", ProtocolError},
		{"a filter without options", V311, 0x82, "0001 'a'", Malformed},
		{"MQTT-3.10.3-1 filter in UTF-8", V311, 0xa2, "0001 0001ff", Malformed},
		{"MQTT5-3.10.3-2 no filter", V5, 0xa2, "0001 00", ProtocolError},
		{"as it should be", V311, 0xa2, "0001 'a' 'b'", ok},
		{"a filter cut short", V311, 0xa2, "0001 'a' 0009", Malformed},
		// The rest.
		{"PUBREL with a reason and properties", V5, 0x62, "0001 92 00", ok},
		{"PUBREL without an identifier", V5, 0x62, "01", Malformed},
		{"DISCONNECT with something in it", V311, 0xe0, "00", Malformed},
		{"DISCONNECT with nothing in it", V5, 0xe0, "", ok},
		{"DISCONNECT with an expiry", V5, 0xe0, "00 05 1100000005", ok},
		{"DISCONNECT with a Receive Maximum", V5, 0xe0, "00 03 210001", Malformed},
		// The same in 5, and what only one of the versions asks for.
		{"MQTT5-2.1.3-1 flags", V5, 0x42, "0001", Malformed},
		{"MQTT5-3.8.1-1 flags of SUBSCRIBE", V5, 0x80, "0001 00 'a' 00", Malformed},
		{"MQTT5-3.6.1-1 flags of PUBREL", V5, 0x60, "0001", Malformed},
		{"MQTT-3.10.1-1 flags of UNSUBSCRIBE", V311, 0xa0, "0001 'a'", Malformed},
		{"MQTT5-3.14.1-1 flags of DISCONNECT", V5, 0xe1, "", Malformed},
		{"MQTT5-3.15.1-1 flags of AUTH", V5, 0xf1, "", Malformed},
		{"MQTT-3.1.3-1 the order of the fields", 0, 0x10, "'MQTT' 04 c6 0000 'c' 'w' 'm' 'u' 'p'", ok},
		{"MQTT5-3.1.3-1 the order of the fields", 0, 0x10, "'MQTT' 05 c6 0000 00 'c' 00 'w' 'm' 'u' 'p'", ok},
		{"MQTT5-3.1.2-1 name", 0, 0x10, "'MQTX' 05 02 0000 00 'c'", ProtocolError},
		{"MQTT-3.1.2-11 a will though there is none", 0, 0x10, "'MQTT' 04 02 0000 'c' 'w' 'm'", Malformed},
		{"MQTT-3.1.2-20 no password, though there is one", 0, 0x10, "'MQTT' 04 82 0000 'c' 'u' 'p'", Malformed},
		{"MQTT5-3.1.2-9 a will is there when it is said to be", 0, 0x10, "'MQTT' 05 06 0000 00 'c'", Malformed},
		{"MQTT5-3.1.2-9 the properties of a will are there", 0, 0x10, "'MQTT' 05 06 0000 00 'c' 'w' 'm'", Malformed},
		{"MQTT5-3.1.2-11 QoS without a will", 0, 0x10, "'MQTT' 05 0a 0000 00 'c'", Malformed},
		{"MQTT5-3.1.2-12 will of QoS 3", 0, 0x10, "'MQTT' 05 1e 0000 00 'c' 00 'w' 'm'", Malformed},
		{"MQTT5-3.1.2-13 retain without a will", 0, 0x10, "'MQTT' 05 22 0000 00 'c'", Malformed},
		{"MQTT5-3.1.2-16 no user name, though there is one", 0, 0x10, "'MQTT' 05 02 0000 00 'c' 'u'", Malformed},
		{"MQTT5-3.1.2-17 user name is there", 0, 0x10, "'MQTT' 05 82 0000 00 'c'", Malformed},
		{"MQTT5-3.1.2-18 no password, though there is one", 0, 0x10, "'MQTT' 05 82 0000 00 'c' 'u' 'p'", Malformed},
		{"MQTT5-3.1.2-19 password is there", 0, 0x10, "'MQTT' 05 c2 0000 00 'c' 'u'", Malformed},
		{"MQTT5-3.1.3-3 client identifier is there", 0, 0x10, "'MQTT' 05 02 0000 00", Malformed},
		{"MQTT5-3.1.3-4 client identifier in UTF-8", 0, 0x10, "'MQTT' 05 02 0000 00 0001ff", Malformed},
		{"MQTT5-3.1.3-11 will topic in UTF-8", 0, 0x10, "'MQTT' 05 06 0000 00 'c' 00 0001ff 'm'", Malformed},
		{"MQTT5-3.1.3-12 user name in UTF-8", 0, 0x10, "'MQTT' 05 82 0000 00 'c' 0001ff", Malformed},
		{"MQTT5-1.5.4-1 surrogates", 0, 0x10, "'MQTT' 05 02 0000 00 0003eda080", Malformed},
		{"MQTT5-1.5.4-2 null character", 0, 0x10, "'MQTT' 05 02 0000 00 000100", Malformed},
		{"MQTT5-1.5.7-1 the first of a pair in UTF-8", 0, 0x10, "'MQTT' 05 02 0000 07 26 0001ff 'b' 'c'", Malformed},
		{"MQTT5-1.5.7-1 the second of a pair in UTF-8", 0, 0x10, "'MQTT' 05 02 0000 07 26 'a' 0001ff 'c'", Malformed},
		{"MQTT5-2.2.1-2 no identifier at QoS 0", V5, 0x30, "'a' 00 0001", ok},
		{"MQTT5-3.3.2-13 response topic in UTF-8", V5, 0x30, "'a' 04 08 0001ff", Malformed},
		{"MQTT5-3.3.2-14 response topic with a wildcard", V5, 0x30, "'a' 06 08 'b/+'", ProtocolError},
		{"MQTT5-3.3.2-14 response topic of a will with a wildcard", 0, 0x10, "'MQTT' 05 06 0000 00 'c' 04 08 '#' 'w' 'm'", ProtocolError},
		{"MQTT5-3.3.2-19 content type in UTF-8", V5, 0x30, "'a' 04 03 0001ff", Malformed},
		{"MQTT5-3.8.3-1 filter in UTF-8", V5, 0x82, "0001 00 0001ff 00", Malformed},
		{"MQTT5-3.8.3-4 No Local on a shared subscription", V5, 0x82, "0001 00 '$share/a/b' 04", ProtocolError},
		{"MQTT5 §3.8.3.1 No Local", V5, 0x82, "0001 00 'a' 04", ok},
		{"MQTT5 §3.8.3.1 QoS 3", V5, 0x82, "0001 00 'a' 03", ProtocolError},
		{"MQTT5-3.10.3-1 filter in UTF-8", V5, 0xa2, "0001 00 0001ff", Malformed},
		{"MQTT5-3.6.2-1 reason code of PUBREL", V5, 0x62, "0001 80", ProtocolError},
		{"MQTT5-3.14.2-1 reason code of DISCONNECT", V5, 0xe0, "8e", ProtocolError},
	}
	names := []string{longest}
	for _, c := range cases {
		names = append(names, c.clause)
		_, err := read(c.v, packetOf(t, c.first, c.body))
		code := Success
		if e, wrong := errors.AsType[*Error](err); wrong {
			code = e.Code
		} else if err != nil {
			t.Errorf("%s: %v is no *Error", c.clause, err)
		}
		if code != c.code {
			t.Errorf("%s: %q is refused with %#x (%v), want %#x", c.clause, c.body, code, err, c.code)
		}
	}
	clausetest.Check(t, "../../../..", "form", names)
}

const longest = "MQTT-4.7.3-3 MQTT5-4.7.3-3 a topic of 65,535 bytes"

// TestTheLongestTopic is longest.
func TestTheLongestTopic(t *testing.T) {
	topic := strings.Repeat("t", 0xffff)
	for v, properties := range map[Version]string{V311: "", V5: "\x00"} {
		var p Publish
		if err := ReadPublish(v, Header{Type: TypePublish}, []byte("\xff\xff"+topic+properties), &p); err != nil || p.Topic != topic {
			t.Errorf("%v", err)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		data   string
		size   int
		length int
		bad    bool
	}{
		{"30", 0, 0, false},
		{"3000", 2, 0, false},
		{"307f", 2, 127, false},
		{"3080", 0, 0, false},
		{"308001", 3, 128, false},
		{"30ffffff7f", 5, 268_435_455, false}, // §2.2.3, table 2.4
		{"30ffffffff", 0, 0, true},            // §2.2.3: at most four bytes
		{"30ffffff", 0, 0, false},
	} {
		data, _ := hex.DecodeString(c.data)
		h, err := ParseHeader(data)
		if h.Size != c.size || h.Length != c.length || (err != nil) != c.bad {
			t.Errorf("%s: %+v, %v", c.data, h, err)
		}
	}
}

func TestPropertiesAreBounded(t *testing.T) {
	var body []byte
	body = append(body, 0, 1, 'a')
	many := bytes.Repeat([]byte{propUser, 0, 0, 0, 0}, 2000)
	body = append(body, 0x90, 0x4e)
	h := Header{Type: TypePublish}
	var p Publish
	if e, ok := errors.AsType[*Error](ReadPublish(V5, h, append(body, many...), &p)); !ok || e.Code != TooLarge {
		t.Errorf("10 KB of properties: %v", e)
	}
}

func TestValidFilter(t *testing.T) {
	for filter, want := range map[string]bool{
		"": false, "#": true, "a/#": true, "a#": false, "a/#/b": false, "+": true, "+/a": true, "a+": false, "a/+/b": true, "/": true, "$SYS/#": true,
	} {
		if ValidFilter(filter) != want {
			t.Errorf("%q", filter)
		}
	}
}

// TestAnswersAreUnderstood: what is written is what the codecs of the Paho clients read.
func TestAnswersAreUnderstood(t *testing.T) {
	var out []byte
	out = AppendConnack(out, V311, &Accepted{SessionPresent: true})
	out = AppendRefusal(out, V311, NotAuthorized, "")
	out = AppendRefusal(out, V311, Malformed, "") // there is no such code: nothing
	out = AppendAck(out, V311, TypePuback, 258, QuotaExceeded, "ignored")
	out = AppendSuback(out, V311, 3, []Code{1, NotAuthorized})
	out = AppendUnsuback(out, V311, 4, []Code{0})
	out = AppendDisconnect(out, V311, ShuttingDown, "ignored")
	out = AppendPingresp(out)
	var got []string
	for in := bytes.NewReader(out); in.Len() > 0; {
		p, err := packets3.ReadPacket(in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.String())
	}
	want := []string{
		"CONNACK: dup: false qos: 0 retain: false rLength: 2 sessionpresent: true returncode: 0",
		"CONNACK: dup: false qos: 0 retain: false rLength: 2 sessionpresent: false returncode: 5",
		"PUBACK: dup: false qos: 0 retain: false rLength: 2 MessageID: 258",
		"SUBACK: dup: false qos: 0 retain: false rLength: 4 MessageID: 3",
		"UNSUBACK: dup: false qos: 0 retain: false rLength: 2 MessageID: 4",
		"PINGRESP: dup: false qos: 0 retain: false rLength: 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	out = AppendConnack(nil, V5, &Accepted{AssignedID: "x", KeepAlive: 9, HasExpiry: true, ExpirySecs: 7, ReceiveMaximum: 3, AliasMaximum: 2, MaximumSize: 5})
	out = AppendAck(out, V5, TypePuback, 1, Success, "")
	out = AppendAck(out, V5, TypePubrec, 2, QuotaExceeded, "why")
	out = AppendAck(out, V5, TypePubcomp, 3, IdentifierNotFound, "")
	out = AppendUnsuback(out, V5, 4, []Code{NoSubscription})
	out = AppendDisconnect(out, V5, ShuttingDown, "why")
	in := bytes.NewReader(out)
	next := func() packets5.Packet {
		p, err := packets5.ReadPacket(in)
		if err != nil {
			t.Fatal(err)
		}
		return p.Content
	}
	if p, ok := next().(*packets5.Connack); !ok || p.Properties.AssignedClientID != "x" || *p.Properties.ServerKeepAlive != 9 ||
		*p.Properties.SessionExpiryInterval != 7 || *p.Properties.ReceiveMaximum != 3 || *p.Properties.TopicAliasMaximum != 2 ||
		*p.Properties.MaximumPacketSize != 5 || *p.Properties.SubIDAvailable != 0 || *p.Properties.SharedSubAvailable != 0 {
		t.Errorf("CONNACK %v", p)
	}
	if p, ok := next().(*packets5.Puback); !ok || p.PacketID != 1 || p.ReasonCode != 0 {
		t.Errorf("PUBACK %v", p)
	}
	if p, ok := next().(*packets5.Pubrec); !ok || p.ReasonCode != 0x97 || p.Properties.ReasonString != "why" {
		t.Errorf("PUBREC %v", p)
	}
	if p, ok := next().(*packets5.Pubcomp); !ok || p.ReasonCode != 0x92 {
		t.Errorf("PUBCOMP %v", p)
	}
	if p, ok := next().(*packets5.Unsuback); !ok || !slices.Equal(p.Reasons, []byte{0x11}) {
		t.Errorf("UNSUBACK %v", p)
	}
	if p, ok := next().(*packets5.Disconnect); !ok || p.ReasonCode != 0x8B {
		t.Errorf("DISCONNECT %v", p)
	}
}

// FuzzPacket: whatever bytes come, they are a packet that obeys the clauses on form, and then the Paho codecs read the
// same, or an *Error, and never a panic.
func FuzzPacket(f *testing.F) {
	for _, seed := range []struct {
		first byte
		body  string
	}{
		{0x10, "'MQTT' 04 c6 003c 'c' 'w' 'm' 'u' 'p'"},
		{0x10, "'MQTT' 05 c6 003c 05 1100000001 'c' 05 1800000001 'w' 'm' 'u' 'p'"},
		{0x32, "'a/b' 0001 2131"},
		{0x34, "'' 0001 03 230001 31"},
		{0x30, "'a' 09 03 'x/y' 230001 31"},
		{0x82, "0001 'a' 01 'b' 00"},
		{0x82, "0001 00 'a' 2c"},
		{0xa2, "0001 'a' 'b'"},
		{0xa2, "0001 05 26 'a' 'b'"},
		{0x62, "0001"},
		{0x62, "0001 92 05 1f 'no'"},
		{0xe0, ""},
		{0xe0, "04 05 1100000001"},
		{0xc0, ""},
	} {
		f.Add(packetOf(f, seed.first, seed.body), false)
		f.Add(packetOf(f, seed.first, seed.body), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, five bool) {
		v := V311
		if five {
			v = V5
		}
		LevelOf(data)
		got, err := read(v, data)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%x: %v is no *Error", data, err)
			}
			return
		}
		p, ok := got.(*Publish)
		if !ok {
			return
		}
		if !utf8.ValidString(p.Topic) || strings.ContainsAny(p.Topic, "+#\x00") || p.QoS > 0 && p.ID == 0 {
			t.Fatalf("%x: %+v", data, p)
		}
		topic, payload := theirs(t, v, data)
		if topic != p.Topic || !bytes.Equal(payload, p.Payload) {
			t.Fatalf("%x: %q %x, the codec says %q %x", data, p.Topic, p.Payload, topic, payload)
		}
	})
}

// theirs returns what the codecs alone make of a PUBLISH.
func theirs(t *testing.T, v Version, data []byte) (topic string, payload []byte) {
	t.Helper()
	if v == V5 {
		p, err := packets5.ReadPacket(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%x: %v", data, err)
		}
		publish, _ := p.Content.(*packets5.Publish)
		return publish.Topic, publish.Payload
	}
	p, err := packets3.ReadPacket(bytes.NewReader(data))
	publish, ok := p.(*packets3.PublishPacket)
	if !ok || err != nil && len(publish.Payload) > 0 { // an empty payload is an end to it
		t.Fatalf("%x: %v", data, err)
	}
	return publish.TopicName, publish.Payload
}

func BenchmarkReadPublish(b *testing.B) {
	data := packetOf(b, 0x32, "'readings/gateway0001/temperature' 0001 32312e35")
	five := packetOf(b, 0x32, "'readings/gateway0001/temperature' 0001 00 32312e35")
	for v, packet := range map[Version][]byte{V311: data, V5: five} {
		b.Run(map[Version]string{V311: "3.1.1", V5: "5"}[v], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h, err := ParseHeader(packet)
				if err != nil {
					b.Fatal(err)
				}
				var p Publish
				if err := ReadPublish(v, h, packet[h.Size:h.Whole()], &p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
