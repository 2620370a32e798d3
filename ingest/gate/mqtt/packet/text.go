package packet

import (
	"strings"
	"unicode/utf8"
)

// checkText checks a UTF-8 encoded string: it is well-formed [MQTT-1.5.3-1] [MQTT5-1.5.4-1] and has no U+0000
// [MQTT-1.5.3-2] [MQTT5-1.5.4-2].
func checkText(what, s string) error {
	if !utf8.ValidString(s) {
		return malformed("%s is not UTF-8", what)
	}
	if strings.IndexByte(s, 0) >= 0 {
		return malformed("%s has a null character", what)
	}
	return nil
}

// checkTopic checks a topic name: no wildcards [MQTT-3.3.2-2] [MQTT-4.7.1-1] [MQTT5-4.7.0-1].
func checkTopic(topic string) error {
	if err := checkText("a topic name", topic); err != nil {
		return err
	}
	if strings.ContainsAny(topic, "+#") {
		return &Error{TopicNameInvalid, "a topic name has a wildcard"}
	}
	return nil
}

// ValidFilter reports whether a topic filter is well-formed: at least one character [MQTT-4.7.3-1], # alone on the last
// level [MQTT-4.7.1-2] [MQTT5-4.7.1-1], + alone on a level [MQTT-4.7.1-3] [MQTT5-4.7.1-2].
func ValidFilter(filter string) bool {
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		if strings.Contains(level, "#") && (level != "#" || i+1 < len(levels)) || strings.Contains(level, "+") && level != "+" {
			return false
		}
	}
	return filter != ""
}
