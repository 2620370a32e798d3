package packet

import (
	"io"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// exact is what the codec of 3.1.1 reads from. It takes a short read for a whole one and leaves the rest zero: so there
// are none.
type exact []byte

// Read fills p or fails.
func (e *exact) Read(p []byte) (int, error) {
	if len(*e) < len(p) {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, *e)
	*e = (*e)[n:]
	return n, nil
}

// unpack has the codec read a packet, all of it.
func unpack(p packets.ControlPacket, body []byte) error {
	rest := exact(body)
	if err := p.Unpack(&rest); err != nil {
		return malformed("a packet is cut short")
	}
	if len(rest) > 0 {
		return malformed("a packet is longer than what is in it")
	}
	return nil
}

func fixed(t Type, flags byte, length int) packets.FixedHeader {
	return packets.FixedHeader{
		MessageType: byte(t), Dup: flags&8 != 0, Qos: flags >> 1 & 3, Retain: flags&1 != 0, RemainingLength: length,
	}
}

func connect3(body []byte) (*Connect, error) {
	p := packets.ConnectPacket{FixedHeader: fixed(TypeConnect, 0, len(body))}
	if err := unpack(&p, body); err != nil {
		return nil, err
	}
	c := &Connect{
		Version: Version(p.ProtocolVersion), ClientID: p.ClientIdentifier, Clean: p.CleanSession, KeepAlive: p.Keepalive,
		HasUser: p.UsernameFlag, User: p.Username, HasPassword: p.PasswordFlag, Password: p.Password,
	}
	if c.HasPassword && !c.HasUser {
		return nil, malformed("there is a password without a user name") // [MQTT-3.1.2-22]
	}
	if p.WillFlag {
		c.Will = &Will{Topic: p.WillTopic, Payload: p.WillMessage, QoS: p.WillQos}
	}
	return c, nil
}

func publish3(h Header, head []byte, out *Publish) error {
	p := packets.PublishPacket{FixedHeader: fixed(TypePublish, h.Flags, len(head))}
	if err := unpack(&p, head); err != nil {
		return err
	}
	out.Topic, out.ID = p.TopicName, p.MessageID
	return nil
}

func subscribe3(body []byte) (*Subscribe, error) {
	p := packets.SubscribePacket{FixedHeader: fixed(TypeSubscribe, 2, len(body))}
	if err := unpack(&p, body); err != nil {
		return nil, err
	}
	s := &Subscribe{ID: p.MessageID}
	for i, topic := range p.Topics {
		if p.Qoss[i] > 2 {
			return nil, malformed("QoS %d is asked for", p.Qoss[i]) // [MQTT-3.8.3-4]
		}
		s.Filters = append(s.Filters, Filter{topic, p.Qoss[i]})
	}
	return s, nil
}

func unsubscribe3(body []byte) (*Unsubscribe, error) {
	p := packets.UnsubscribePacket{FixedHeader: fixed(TypeUnsubscribe, 2, len(body))}
	if err := unpack(&p, body); err != nil {
		return nil, err
	}
	size := 2
	for _, topic := range p.Topics {
		size += 2 + len(topic)
	}
	if size != len(body) { // the codec ends silently at what is empty or cut short
		return nil, malformed("a topic filter is empty or cut short")
	}
	return &Unsubscribe{ID: p.MessageID, Filters: p.Topics}, nil
}

func ack3(body []byte) (uint16, error) {
	var p packets.PubrelPacket
	err := unpack(&p, body)
	return p.MessageID, err
}
