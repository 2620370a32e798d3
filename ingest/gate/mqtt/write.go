package mqtt

import (
	"strings"
)

// maxReason is the longest reason in an answer, in bytes.
const maxReason = 400

// fitting appends an answer with a reason, or without one where the client does not ask for it [MQTT-3.1.2-29] or its
// Maximum Packet Size leaves no room [MQTT-3.4.2-2] [MQTT-3.14.2-3].
func (s *connection) fitting(out []byte, answer func(out []byte, reason string) []byte, reason string) []byte {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	most := uint32(0)
	if s.options != nil {
		if most = s.options.maximumSize; s.options.noReasons {
			reason = ""
		}
	}
	with := answer(out, reason)
	if reason != "" && most > 0 && len(with)-len(out) > int(most) {
		return answer(out, "")
	}
	return with
}
