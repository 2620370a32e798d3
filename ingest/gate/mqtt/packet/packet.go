// Package packet reads and writes the control packets of MQTT 3.1.1 and 5 that pass between a gateway and the provider's
// port. It is the one place where the Paho codecs are used.
//
// It gives each packet as one type for both versions, and what is wrong with one as an [Error] with the reason code of
// MQTT 5. What a packet means for the session is left to package mqtt. Its one invariant: what is handed out obeys the
// clauses on form; nothing here keeps or allocates more than a few times what came, and payloads are not copied.
//
// The codecs are lenient where we must not be, so they never see a packet first:
//
//   - Both would allocate whatever a remaining length claims. [ParseHeader] reads it, and packets are handed on only when
//     they are whole and within a limit.
//   - That of 3.1.1 fills what a packet lacks with zero bytes, and does not look at flags, at UTF-8, at what follows the
//     end. It reads from [exact], which fails instead; the rest is checked here.
//   - That of 5 takes properties twice, where they do not belong, with wrong values, and cut off at the packet's end.
//     properties.go checks them all before.
//   - Both copy the payload of a PUBLISH, the one of 5 several times. They get what stands before it.
//
// None of them was found to panic, by reading or by fuzzing.
package packet

import "fmt"

// Version is a protocol level.
type Version byte

// The protocol levels. V31 is MQTT 3.1, which for who publishes is 3.1.1 under another name.
const (
	V31  Version = 3
	V311 Version = 4
	V5   Version = 5
)

// Type is the type of a control packet.
type Type byte

// The types of control packets.
const (
	TypeConnect     Type = 1
	TypeConnack     Type = 2
	TypePublish     Type = 3
	TypePuback      Type = 4
	TypePubrec      Type = 5
	TypePubrel      Type = 6
	TypePubcomp     Type = 7
	TypeSubscribe   Type = 8
	TypeSuback      Type = 9
	TypeUnsubscribe Type = 10
	TypeUnsuback    Type = 11
	TypePingreq     Type = 12
	TypePingresp    Type = 13
	TypeDisconnect  Type = 14
	TypeAuth        Type = 15
)

// Code is a reason code of MQTT 5, which what is refused is known by in both versions.
type Code byte

// The reason codes that are used here.
const (
	Success               Code = 0x00
	WithWill              Code = 0x04 // DISCONNECT: and publish the will
	NoSubscription        Code = 0x11
	Unspecified           Code = 0x80
	Malformed             Code = 0x81
	ProtocolError         Code = 0x82
	ImplementationError   Code = 0x83
	UnsupportedVersion    Code = 0x84
	InvalidClientID       Code = 0x85
	BadUserOrPassword     Code = 0x86
	NotAuthorized         Code = 0x87
	ServerUnavailable     Code = 0x88
	ServerBusy            Code = 0x89
	ShuttingDown          Code = 0x8B
	BadAuthentication     Code = 0x8C
	KeepAliveTimeout      Code = 0x8D
	TakenOver             Code = 0x8E
	TopicFilterInvalid    Code = 0x8F
	TopicNameInvalid      Code = 0x90
	IdentifierNotFound    Code = 0x92
	ReceiveExceeded       Code = 0x93
	TopicAliasInvalid     Code = 0x94
	TooLarge              Code = 0x95
	RateTooHigh           Code = 0x96
	QuotaExceeded         Code = 0x97
	Administrative        Code = 0x98
	PayloadFormatInvalid  Code = 0x99
	SharedNotSupported    Code = 0x9E
	SubscriptionIDRefused Code = 0xA1
)

// Error is why a packet ends the connection.
type Error struct {
	Code Code
	Text string // can be shown to the sender
}

// Error says what is wrong.
func (e *Error) Error() string { return fmt.Sprintf("%s (0x%02X)", e.Text, byte(e.Code)) }

func malformed(format string, args ...any) *Error {
	return &Error{Malformed, fmt.Sprintf(format, args...)}
}

func protocolError(format string, args ...any) *Error {
	return &Error{ProtocolError, fmt.Sprintf(format, args...)}
}

// Header is the fixed header of a packet.
type Header struct {
	Type   Type
	Flags  byte
	Size   int // its own, in bytes
	Length int // what remains after it
}

// Whole returns the size of the whole packet.
func (h Header) Whole() int { return h.Size + h.Length }

// ParseHeader reads the fixed header at the beginning of data; Size is 0 when it is not there yet.
func ParseHeader(data []byte) (Header, error) {
	if len(data) < 2 {
		return Header{}, nil
	}
	h := Header{Type: Type(data[0] >> 4), Flags: data[0] & 0xf}
	length, n := varint(data[1:])
	switch {
	case n < 0:
		return Header{}, malformed("a remaining length is longer than four bytes") // §2.2.3; MQTT 5 §1.5.5
	case n == 0:
		return Header{}, nil
	}
	h.Size, h.Length = 1+n, length
	if h.Type != TypePublish && h.Flags != flagsOf[h.Type] {
		return Header{}, malformed("the flags of packet type %d are %#x", h.Type, h.Flags) // [MQTT-2.2.2-2] [MQTT5-2.1.3-1]
	}
	return h, nil
}

// Shortest reports whether the remaining length has no more bytes than it needs, as MQTT 5 wants it [MQTT5-1.5.5-1].
func (h Header) Shortest() bool { return minimal(h.Length, h.Size-1) }

// flagsOf are the flags that a packet must have which is no PUBLISH.
var flagsOf = [16]byte{TypePubrel: 2, TypeSubscribe: 2, TypeUnsubscribe: 2}

// varint reads a variable byte integer; n is 0 when it is not whole, -1 when it is too long.
func varint(data []byte) (value, n int) {
	for i := 0; i < len(data) && i < 4; i++ {
		value |= int(data[i]&0x7f) << (7 * i)
		if data[i] < 0x80 {
			return value, i + 1
		}
	}
	if len(data) >= 4 {
		return 0, -1
	}
	return 0, 0
}

// minimal reports whether a variable byte integer of so many bytes could not have had fewer.
func minimal(value, n int) bool { return n == 1 || value>>(7*(n-1)) != 0 }

// Connect is a CONNECT.
type Connect struct {
	Version      Version
	ClientID     string
	Clean        bool // Clean Session, or Clean Start
	KeepAlive    uint16
	HasUser      bool
	User         string
	HasPassword  bool
	Password     []byte
	Will         *Will
	NoReasons    bool   // of MQTT 5: it does not ask for reason strings
	AuthMethod   string // of MQTT 5
	MaximumSize  uint32 // of packets to it; 0: any
	ExpirySecs   uint32 // of MQTT 5: how long the session is to be kept after the connection
	ReceiveLimit uint16 // how many PUBLISHes it takes at once
}

// Will is the message that a client leaves for when it is gone.
type Will struct {
	Topic       string
	Payload     []byte
	QoS         byte
	DelaySecs   uint32
	ContentType string
}

// Publish is a PUBLISH. Its payload is part of what was read.
type Publish struct {
	Topic       string // empty: that of the alias
	ID          uint16 // of QoS 1 and 2
	QoS         byte
	Dup         bool
	Payload     []byte
	Alias       uint16 // 0: none
	ContentType string
	IsText      bool // it says that its payload is UTF-8
}

// Filter is a topic filter that somebody subscribes to.
type Filter struct {
	Name string
	QoS  byte
}

// Subscribe is a SUBSCRIBE.
type Subscribe struct {
	ID      uint16
	Filters []Filter
}

// Unsubscribe is an UNSUBSCRIBE.
type Unsubscribe struct {
	ID      uint16
	Filters []string
}

// Disconnect is a DISCONNECT.
type Disconnect struct {
	Code       Code
	HasExpiry  bool
	ExpirySecs uint32
}
