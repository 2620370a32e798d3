package mqtt

import (
	"errors"

	"berth/ingest/gate/intake"
	"berth/ingest/gate/mqtt/packet"
	"berth/schema"
)

// connackOf returns how a CONNECT is refused for an error: with a code that CONNACK may have [MQTT5-3.2.2-8].
func connackOf(err error) (packet.Code, string) {
	if e, ok := errors.AsType[*packet.Error](err); ok {
		switch e.Code {
		case packet.KeepAliveTimeout, packet.TakenOver: // these are of DISCONNECT alone
			return packet.Unspecified, e.Text
		default:
			return e.Code, e.Text
		}
	}
	codes := map[schema.Code]packet.Code{
		schema.Unauthorized: packet.BadUserOrPassword, schema.Forbidden: packet.NotAuthorized, schema.Pending: packet.NotAuthorized, schema.Invalid: packet.BadUserOrPassword,
		schema.Limited: packet.QuotaExceeded, schema.TooLarge: packet.TooLarge, schema.Unavailable: packet.ServerUnavailable,
	}
	return codeOr(codes, err), schema.Show(err)
}

// disconnectOf returns how a connection is ended for an error.
func disconnectOf(err error) (packet.Code, string) {
	if e, ok := errors.AsType[*packet.Error](err); ok {
		return e.Code, e.Text
	}
	if errors.Is(err, intake.ErrStopping) {
		return packet.ShuttingDown, schema.Show(err)
	}
	codes := map[schema.Code]packet.Code{
		schema.Unauthorized: packet.NotAuthorized, schema.Forbidden: packet.NotAuthorized, schema.Pending: packet.NotAuthorized, schema.Limited: packet.QuotaExceeded,
		schema.TooLarge: packet.TooLarge, schema.Unavailable: packet.ServerBusy,
	}
	return codeOr(codes, err), schema.Show(err)
}

// pubackOf returns how a message is refused: of the codes that PUBACK and PUBREC may have [MQTT5-3.4.2-1] [MQTT5-3.5.2-1].
func pubackOf(code schema.Code) packet.Code {
	switch code {
	case schema.Unauthorized, schema.Forbidden, schema.Pending:
		return packet.NotAuthorized
	case schema.Limited, schema.TooLarge:
		return packet.QuotaExceeded
	case schema.Invalid:
		return packet.PayloadFormatInvalid
	case schema.NotFound:
		return packet.TopicNameInvalid
	default:
		return packet.Unspecified
	}
}

func codeOr(codes map[schema.Code]packet.Code, err error) packet.Code {
	if code, ok := codes[schema.CodeOf(err)]; ok {
		return code
	}
	return packet.Unspecified
}

// What ends a connection without the client being at fault.
var (
	errTakenOver = &packet.Error{Code: packet.TakenOver, Text: "another connection of this client took over"} // [MQTT5-3.1.4-3]
	errSilent    = &packet.Error{Code: packet.KeepAliveTimeout, Text: "nothing more came for too long"}       // [MQTT5-3.1.2-22]
)
