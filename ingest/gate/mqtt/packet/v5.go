package packet

import (
	"bytes"
	"slices"
	"strings"

	"github.com/eclipse/paho.golang/packets"
)

func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// unpacked returns what became of a packet that the codec read from b, which it must have read to the end.
func unpacked(b *bytes.Buffer, err error) error {
	if err != nil {
		return malformed("a packet is cut short")
	}
	if b.Len() > 0 {
		return malformed("a packet is longer than what is in it")
	}
	return nil
}

// connect5 reads a CONNECT whose variable header without its properties is head bytes long.
func connect5(body []byte, head int) (*Connect, error) {
	n, err := checkProperties(body[head:], ofConnect)
	if err != nil {
		return nil, err
	}
	rest := body[head+n:]
	if id, ok := field(rest); ok && body[head-3]&4 != 0 { // there is a will behind the client identifier
		if _, err := checkProperties(rest[2+len(id):], ofWill); err != nil {
			return nil, err
		}
	}
	p := packets.Connect{Properties: &packets.Properties{}}
	b := bytes.NewBuffer(body)
	if err := unpacked(b, p.Unpack(b)); err != nil {
		return nil, err
	}
	if len(p.Properties.AuthData) > 0 && p.Properties.AuthMethod == "" {
		return nil, protocolError("there are data of an authentication without a method") // §3.1.2.11.10
	}
	c := &Connect{
		Version: V5, ClientID: p.ClientID, Clean: p.CleanStart, KeepAlive: p.KeepAlive,
		HasUser: p.UsernameFlag, User: p.Username, HasPassword: p.PasswordFlag, Password: p.Password,
		NoReasons: value(p.Properties.RequestProblemInfo, 1) == 0, AuthMethod: p.Properties.AuthMethod,
		MaximumSize: value(p.Properties.MaximumPacketSize, 0), ExpirySecs: value(p.Properties.SessionExpiryInterval, 0),
		ReceiveLimit: value(p.Properties.ReceiveMaximum, 0xffff),
	}
	if p.WillFlag {
		c.Will = &Will{
			Topic: p.WillTopic, Payload: p.WillMessage, QoS: p.WillQOS,
			DelaySecs: value(p.WillProperties.WillDelayInterval, 0), ContentType: p.WillProperties.ContentType,
		}
	}
	return c, nil
}

func publish5(h Header, head []byte, out *Publish) error {
	p := packets.Publish{QoS: h.Flags >> 1 & 3, Properties: &packets.Properties{}}
	b := bytes.NewBuffer(head)
	if err := unpacked(b, p.Unpack(b)); err != nil {
		return err
	}
	out.Topic, out.ID = p.Topic, p.PacketID
	out.Alias, out.ContentType = value(p.Properties.TopicAlias, 0), p.Properties.ContentType
	out.IsText = value(p.Properties.PayloadFormat, 0) == 1
	return nil
}

func subscribe5(body []byte) (*Subscribe, error) {
	n, err := checkProperties(body[2:], ofSubscribe)
	if err != nil {
		return nil, err
	}
	for rest := body[2+n:]; len(rest) > 0; {
		filter, ok := field(rest)
		if !ok || len(rest) < 3+len(filter) {
			return nil, malformed("a topic filter is cut short")
		}
		if err := checkOptions(rest[2+len(filter)], string(filter)); err != nil {
			return nil, err
		}
		rest = rest[3+len(filter):]
	}
	p := packets.Subscribe{Properties: &packets.Properties{}}
	b := bytes.NewBuffer(body)
	if err := unpacked(b, p.Unpack(b)); err != nil {
		return nil, err
	}
	if p.Properties.SubscriptionIdentifier != nil {
		return nil, &Error{SubscriptionIDRefused, "identifiers of subscriptions are not supported"} // §3.2.2.3.12
	}
	s := &Subscribe{ID: p.PacketID}
	for _, f := range p.Subscriptions {
		s.Filters = append(s.Filters, Filter{f.Topic, f.QoS})
	}
	return s, nil
}

// checkOptions checks the options of a subscription; §3.8.3.1.
func checkOptions(options byte, filter string) error {
	switch {
	case options&0xc0 != 0:
		return malformed("reserved bits of a subscription's options are set") // [MQTT5-3.8.3-5]
	case options&3 == 3, options&0x30 == 0x30:
		return protocolError("the options %#x of a subscription are wrong", options)
	case options&4 != 0 && strings.HasPrefix(filter, "$share/"):
		return protocolError("a shared subscription has No Local") // [MQTT5-3.8.3-4]
	}
	return nil
}

func unsubscribe5(body []byte) (*Unsubscribe, error) {
	if _, err := checkProperties(body[2:], ofUnsubscribe); err != nil {
		return nil, err
	}
	p := packets.Unsubscribe{Properties: &packets.Properties{}}
	b := bytes.NewBuffer(body)
	if err := unpacked(b, p.Unpack(b)); err != nil {
		return nil, err
	}
	return &Unsubscribe{ID: p.PacketID, Filters: p.Topics}, nil
}

func ack5(t Type, body []byte) (uint16, error) {
	if len(body) > 3 {
		if _, err := checkProperties(body[3:], ofAck); err != nil {
			return 0, err
		}
	}
	p := packets.Pubrel{Properties: &packets.Properties{}}
	b := bytes.NewBuffer(body)
	if err := unpacked(b, p.Unpack(b)); err != nil {
		return 0, err
	}
	if t == TypePubrel && p.ReasonCode != byte(Success) && p.ReasonCode != byte(IdentifierNotFound) {
		return 0, protocolError("a PUBREL has the reason code 0x%02X", p.ReasonCode) // [MQTT5-3.6.2-1]
	}
	return p.PacketID, nil
}

// leaving are the reasons that a client may disconnect for; MQTT 5 table 3-10.
var leaving = []Code{
	Success, WithWill, Unspecified, Malformed, ProtocolError, ImplementationError, TopicNameInvalid, ReceiveExceeded,
	TopicAliasInvalid, TooLarge, RateTooHigh, QuotaExceeded, Administrative, PayloadFormatInvalid,
}

func disconnect5(body []byte) (Disconnect, error) {
	if len(body) == 0 {
		return Disconnect{}, nil // Normal disconnection: §3.14.2.1
	}
	if len(body) > 1 {
		if _, err := checkProperties(body[1:], ofDisconnect); err != nil {
			return Disconnect{}, err
		}
	}
	p := packets.Disconnect{Properties: &packets.Properties{}}
	b := bytes.NewBuffer(body)
	err := unpacked(b, p.Unpack(b))
	if err == nil && !slices.Contains(leaving, Code(p.ReasonCode)) {
		err = protocolError("a DISCONNECT has the reason code 0x%02X", p.ReasonCode) // [MQTT5-3.14.2-1]
	}
	expiry := p.Properties.SessionExpiryInterval
	return Disconnect{Code: Code(p.ReasonCode), HasExpiry: expiry != nil, ExpirySecs: value(expiry, 0)}, err
}
