package packet

import (
	"bytes"
	"io"

	packets5 "github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"
)

// Accepted is what a CONNACK says beside its code.
type Accepted struct {
	SessionPresent bool
	AssignedID     string // empty: the client brought its own
	KeepAlive      uint16 // 0: the client's holds
	HasExpiry      bool   // the session is kept for ExpirySecs, not for as long as was asked
	ExpirySecs     uint32
	ReceiveMaximum uint16
	AliasMaximum   uint16
	MaximumSize    uint32
}

// returnCodes are what CONNACK of 3.1.1 says for a reason; 3.1.1 table 3.1.
var returnCodes = map[Code]byte{
	Success: 0, UnsupportedVersion: 1, InvalidClientID: 2, ServerUnavailable: 3, ServerBusy: 3, QuotaExceeded: 3, ShuttingDown: 3,
	BadUserOrPassword: 4, NotAuthorized: 5, BadAuthentication: 5,
}

// appendTo appends what a codec writes; writing to memory does not fail.
func appendTo(dst []byte, write func(w *bytes.Buffer)) []byte {
	b := bytes.NewBuffer(dst)
	write(b)
	return b.Bytes()
}

// write5 has the codec of MQTT 5 write a packet.
func write5(dst []byte, p io.WriterTo) []byte {
	return appendTo(dst, func(w *bytes.Buffer) { _, _ = p.WriteTo(w) })
}

// AppendConnack appends a CONNACK that accepts.
func AppendConnack(dst []byte, v Version, a *Accepted) []byte {
	if v != V5 {
		p := packets3.ConnackPacket{FixedHeader: fixed(TypeConnack, 0, 0), SessionPresent: a.SessionPresent}
		return appendTo(dst, func(w *bytes.Buffer) { _ = p.Write(w) })
	}
	no := byte(0)
	properties := packets5.Properties{
		ReceiveMaximum: &a.ReceiveMaximum, TopicAliasMaximum: &a.AliasMaximum, MaximumPacketSize: &a.MaximumSize,
		SubIDAvailable: &no, SharedSubAvailable: &no, AssignedClientID: a.AssignedID,
	}
	if a.KeepAlive != 0 {
		properties.ServerKeepAlive = &a.KeepAlive
	}
	if a.HasExpiry {
		properties.SessionExpiryInterval = &a.ExpirySecs
	}
	return write5(dst, &packets5.Connack{Properties: &properties, SessionPresent: a.SessionPresent})
}

// AppendRefusal appends a CONNACK that refuses. In 3.1.1 it is nothing when there is no return code for it: the connection
// is closed without one [MQTT-3.2.2-6].
func AppendRefusal(dst []byte, v Version, code Code, reason string) []byte {
	if v == V5 {
		return write5(dst, &packets5.Connack{Properties: &packets5.Properties{ReasonString: reason}, ReasonCode: byte(code)})
	}
	returned, ok := returnCodes[code]
	if !ok {
		return dst
	}
	p := packets3.ConnackPacket{FixedHeader: fixed(TypeConnack, 0, 0), ReturnCode: returned}
	return appendTo(dst, func(w *bytes.Buffer) { _ = p.Write(w) })
}

// AppendAck appends a PUBACK, PUBREC or PUBCOMP. One that succeeds is four bytes, written without a codec: there is one for
// each message. A reason is of MQTT 5 alone.
func AppendAck(dst []byte, v Version, t Type, id uint16, code Code, reason string) []byte {
	if v != V5 || code == Success {
		return append(dst, byte(t)<<4, 2, byte(id>>8), byte(id))
	}
	properties := &packets5.Properties{ReasonString: reason}
	switch t {
	case TypePubrec:
		return write5(dst, &packets5.Pubrec{Properties: properties, PacketID: id, ReasonCode: byte(code)})
	case TypePubcomp:
		return write5(dst, &packets5.Pubcomp{Properties: properties, PacketID: id, ReasonCode: byte(code)})
	default:
		return write5(dst, &packets5.Puback{Properties: properties, PacketID: id, ReasonCode: byte(code)})
	}
}

// AppendSuback appends a SUBACK, with a code for each filter; in 3.1.1 all refusals are one.
func AppendSuback(dst []byte, v Version, id uint16, codes []Code) []byte {
	all := make([]byte, len(codes))
	for i, code := range codes {
		if all[i] = byte(code); v != V5 && code >= Unspecified {
			all[i] = byte(Unspecified) // [MQTT-3.9.3-2]
		}
	}
	if v == V5 {
		return write5(dst, &packets5.Suback{Properties: &packets5.Properties{}, PacketID: id, Reasons: all})
	}
	p := packets3.SubackPacket{FixedHeader: fixed(TypeSuback, 0, 0), MessageID: id, ReturnCodes: all}
	return appendTo(dst, func(w *bytes.Buffer) { _ = p.Write(w) })
}

// AppendUnsuback appends an UNSUBACK, in MQTT 5 with a code for each filter.
func AppendUnsuback(dst []byte, v Version, id uint16, codes []Code) []byte {
	if v == V5 {
		all := make([]byte, len(codes))
		for i, code := range codes {
			all[i] = byte(code)
		}
		return write5(dst, &packets5.Unsuback{Properties: &packets5.Properties{}, PacketID: id, Reasons: all})
	}
	p := packets3.UnsubackPacket{FixedHeader: fixed(TypeUnsuback, 0, 0), MessageID: id}
	return appendTo(dst, func(w *bytes.Buffer) { _ = p.Write(w) })
}

// AppendPingresp appends a PINGRESP.
func AppendPingresp(dst []byte) []byte { return append(dst, byte(TypePingresp)<<4, 0) }

// AppendDisconnect appends a DISCONNECT; 3.1.1 has none from a server, so then it is nothing.
func AppendDisconnect(dst []byte, v Version, code Code, reason string) []byte {
	if v != V5 {
		return dst
	}
	return write5(dst, &packets5.Disconnect{Properties: &packets5.Properties{ReasonString: reason}, ReasonCode: byte(code)})
}
