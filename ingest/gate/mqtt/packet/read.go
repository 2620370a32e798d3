package packet

import (
	"encoding/binary"
)

// field returns a field with its length before it.
func field(data []byte) ([]byte, bool) {
	if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
		return nil, false
	}
	return data[2 : 2+int(binary.BigEndian.Uint16(data))], true
}

// LevelOf returns the protocol level that a CONNECT asks for, whose first bytes are known; 0 when they do not say it.
func LevelOf(first []byte) Version {
	_, n := varint(first[min(1, len(first)):])
	if n <= 0 {
		return 0
	}
	if name, ok := field(first[1+n:]); ok && len(first) > 3+n+len(name) {
		return Version(first[3+n+len(name)])
	}
	return 0
}

// ReadConnect reads a CONNECT from what follows its fixed header.
func ReadConnect(body []byte) (*Connect, error) {
	name, ok := field(body)
	head := 2 + len(name) + 4 // the protocol level, flags, and the keep-alive
	if !ok || len(body) < head {
		return nil, malformed("a CONNECT is cut short")
	}
	level := Version(body[2+len(name)])
	switch {
	case string(name) == "MQTT" && (level == V311 || level == V5), string(name) == "MQIsdp" && level == V31:
	case string(name) == "MQTT" || string(name) == "MQIsdp":
		return nil, &Error{UnsupportedVersion, "only MQTT 3.1.1 and 5 are spoken here"} // [MQTT-3.1.2-2]
	default:
		return nil, protocolError("the protocol is not MQTT") // [MQTT-3.1.2-1]
	}
	if err := checkFlags(body[head-3]); err != nil {
		return nil, err
	}
	var c *Connect
	var err error
	if level == V5 {
		c, err = connect5(body, head)
	} else {
		c, err = connect3(body)
	}
	if err != nil {
		return nil, err
	}
	return c, c.check()
}

// checkFlags checks the flags of a CONNECT.
func checkFlags(flags byte) error {
	will, qos, retain := flags&4 != 0, flags>>3&3, flags&0x20 != 0
	switch {
	case flags&1 != 0:
		return malformed("the reserved flag of a CONNECT is set") // [MQTT-3.1.2-3]
	case !will && (qos != 0 || retain):
		return malformed("there is no will, but flags of one") // [MQTT-3.1.2-13] [MQTT-3.1.2-15] [MQTT5-3.1.2-11] [MQTT5-3.1.2-13]
	case qos == 3:
		return malformed("the will has QoS 3") // [MQTT-3.1.2-14] [MQTT5-3.1.2-12]
	}
	return nil
}

// check checks the texts of a CONNECT.
func (c *Connect) check() error {
	if err := checkText("the client identifier", c.ClientID); err != nil {
		return err // [MQTT-3.1.3-4]
	}
	if err := checkText("the user name", c.User); err != nil {
		return err // [MQTT-3.1.3-11] [MQTT5-3.1.3-12]
	}
	if c.Will == nil {
		return nil
	}
	if c.Will.Topic == "" {
		return malformed("the will has no topic") // [MQTT-4.7.3-1]
	}
	return checkTopic(c.Will.Topic) // [MQTT-3.1.3-10] [MQTT5-3.1.3-11]
}

// publishNames returns how many bytes the topic and the identifier of a PUBLISH take, of which some are known; false: too
// few to say.
func publishNames(h Header, known []byte) (int, bool) {
	topic, ok := field(known)
	n := 2 + len(topic)
	if h.Flags&6 != 0 {
		n += 2
	}
	return n, ok && len(known) >= n
}

// ReadPublish reads a PUBLISH from what follows its fixed header. Of one of MQTT 3.1.1 the payload may be missing.
func ReadPublish(v Version, h Header, body []byte, out *Publish) error {
	*out = Publish{QoS: h.Flags >> 1 & 3, Dup: h.Flags&8 != 0}
	if out.QoS == 3 {
		return malformed("a PUBLISH has QoS 3") // [MQTT-3.3.1-4]
	}
	if out.QoS == 0 && out.Dup {
		return malformed("a PUBLISH of QoS 0 is said to be sent again") // [MQTT-3.3.1-2]
	}
	n, ok := publishNames(h, body)
	if !ok {
		return malformed("a PUBLISH is cut short")
	}
	var err error
	if v == V5 {
		var properties int
		if properties, err = checkProperties(body[n:], ofPublish); err != nil {
			return err
		}
		if n += properties; properties > 1 {
			err = publish5(h, body[:n], out)
		} else { // without properties it is one of 3.1.1 and a zero, and that codec costs less
			err = publish3(h, body[:n-1], out)
		}
	} else {
		err = publish3(h, body[:n], out)
	}
	if err != nil {
		return err
	}
	out.Payload = body[n:]
	switch {
	case out.QoS > 0 && out.ID == 0:
		return protocolError("a PUBLISH has the packet identifier 0") // [MQTT-2.3.1-1] [MQTT5-2.2.1-3]
	case out.Topic == "" && out.Alias == 0:
		return protocolError("a PUBLISH has no topic") // [MQTT-4.7.3-1]; MQTT 5 §3.3.2.1
	}
	return checkTopic(out.Topic)
}

// ReadSubscribe reads a SUBSCRIBE from what follows its fixed header.
func ReadSubscribe(v Version, body []byte) (*Subscribe, error) {
	if len(body) < 2 {
		return nil, malformed("a SUBSCRIBE is cut short")
	}
	read := subscribe3
	if v == V5 {
		read = subscribe5
	}
	s, err := read(body)
	if err != nil {
		return nil, err
	}
	for _, f := range s.Filters {
		if err := checkText("a topic filter", f.Name); err != nil {
			return nil, err // [MQTT-3.8.3-1]
		}
	}
	return s, checkRequest(s.ID, len(s.Filters))
}

// ReadUnsubscribe reads an UNSUBSCRIBE from what follows its fixed header.
func ReadUnsubscribe(v Version, body []byte) (*Unsubscribe, error) {
	if len(body) < 2 {
		return nil, malformed("an UNSUBSCRIBE is cut short")
	}
	read := unsubscribe3
	if v == V5 {
		read = unsubscribe5
	}
	u, err := read(body)
	if err != nil {
		return nil, err
	}
	for _, f := range u.Filters {
		if err := checkText("a topic filter", f); err != nil {
			return nil, err // [MQTT-3.10.3-1]
		}
	}
	return u, checkRequest(u.ID, len(u.Filters))
}

// checkRequest checks what SUBSCRIBE and UNSUBSCRIBE have in common.
func checkRequest(id uint16, filters int) error {
	if id == 0 {
		return protocolError("a packet identifier is 0") // [MQTT-2.3.1-1] [MQTT5-2.2.1-3]
	}
	if filters == 0 {
		return protocolError("there is no topic filter") // [MQTT-3.8.3-3] [MQTT-3.10.3-2] [MQTT5-3.8.3-2]
	}
	return nil
}

// ReadAck reads the packet identifier of a PUBACK, PUBREC, PUBREL or PUBCOMP from what follows its fixed header.
func ReadAck(v Version, t Type, body []byte) (uint16, error) {
	if v == V5 {
		return ack5(t, body)
	}
	return ack3(body)
}

// ReadDisconnect reads a DISCONNECT from what follows its fixed header.
func ReadDisconnect(v Version, body []byte) (Disconnect, error) {
	if v == V5 {
		return disconnect5(body)
	}
	if len(body) > 0 {
		return Disconnect{}, malformed("a DISCONNECT has something in it")
	}
	return Disconnect{}, nil
}
