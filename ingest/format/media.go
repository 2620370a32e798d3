package format

import (
	"bytes"
	"mime"
	"strings"
)

// media are the formats that a payload's media type names, with the number by which CoAP knows the type (RFC 7252 §12.3,
// RFC 8428 §12.4).
var media = []struct {
	mediaType, format string
	contentFormat     int
}{
	{"application/json", "json", 50},
	{"application/senml+json", "senml+json", 110},
	{"application/senml+cbor", "senml+cbor", 112},
}

// OfMediaType returns the format of payloads with this Content-Type, whose parameters say nothing; false when it names none.
func OfMediaType(contentType string) (name string, ok bool) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil && kind == "" {
		return "", false
	}
	for _, m := range media {
		if m.mediaType == kind {
			return m.format, true
		}
	}
	return "", false
}

// OtherSenML reports whether a Content-Type is of SenML's family and none of the formats, such as SensML or SenML in XML: its
// payloads would be misread as another.
func OtherSenML(contentType string) bool {
	if _, ok := OfMediaType(contentType); ok {
		return false
	}
	kind := strings.ToLower(contentType)
	return strings.Contains(kind, "senml") || strings.Contains(kind, "sensml")
}

// OfContentFormat returns the format of payloads with this CoAP Content-Format; false when it is the number of none.
func OfContentFormat(number int) (name string, ok bool) {
	for _, m := range media {
		if m.contentFormat == number {
			return m.format, true
		}
	}
	return "", false
}

// Guess returns the format of a payload that nothing else tells: JSON if it begins like it, else lines.
func Guess(payload []byte) string {
	if start := bytes.TrimLeft(payload, " \t\r\n"); len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		return "json"
	}
	return "line"
}

// Named returns the format's name as a string. For the formats there are it allocates nothing.
func Named(name []byte) string {
	if known, ok := canonical[string(name)]; ok {
		return known
	}
	return string(name)
}

var canonical = func() map[string]string {
	m := make(map[string]string, len(formats))
	for name := range formats {
		m[name] = name
	}
	return m
}()
