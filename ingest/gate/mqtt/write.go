package mqtt

import (
	"strings"

	"berth/ingest/gate/mqtt/packet"
)

// maxReason is the longest reason in an answer, in bytes.
const maxReason = 400

// errAnswer ends a connection whose answer its client does not take: nothing that is too long may be sent.
var errAnswer = &packet.Error{Code: packet.TooLarge, Text: "the answer is longer than the Maximum Packet Size"}

// takes reports whether the client takes a packet of this size [MQTT5-3.1.2-24].
func (s *connection) takes(size int) bool {
	return s.options == nil || s.options.maximumSize == 0 || uint64(size) <= uint64(s.options.maximumSize)
}

// fitting appends an answer with a reason, or without one where the client does not ask for it [MQTT5-3.1.2-29] or its
// Maximum Packet Size leaves no room [MQTT5-3.2.2-19] [MQTT5-3.4.2-2] [MQTT5-3.5.2-2] [MQTT5-3.14.2-3]. One that is too long
// even so is not sent.
func (s *connection) fitting(out []byte, answer func(out []byte, reason string) []byte, reason string) []byte {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	if s.options != nil && s.options.noReasons {
		reason = ""
	}
	with := answer(out, reason)
	if reason != "" && !s.takes(len(with)-len(out)) {
		with = answer(out, "")
	}
	if !s.takes(len(with) - len(out)) {
		return out
	}
	return with
}
