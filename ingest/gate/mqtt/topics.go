package mqtt

import (
	"bytes"
	"strings"

	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/schema"
)

const (
	// readingsTopic begins the topics that take readings.
	readingsTopic = "readings/"
	// deviceTopic is where ThingsBoard's devices publish.
	deviceTopic = "v1/devices/me/telemetry"
	// gatewayTopic is where ThingsBoard's gateways publish, each for many devices, which are gateways here: it takes a relay.
	gatewayTopic = "v1/gateway/telemetry"
	// maxTopic is the longest topic that is looked at, in bytes: a gateway's and a sensor's name have room in it.
	maxTopic = 1 << 10
)

// route is whose readings a message has and how they are written.
type route struct {
	id     intake.Identity // as whom its sender speaks
	format string
	sensor string
}

// route returns what a topic says of a message. It is the place for a provider's own table of topics, which would be asked
// first. The error is shown to the sender; the route is then what is known.
func (s *connection) route(topic, contentType string, payload []byte) (route, error) {
	r := route{id: s.ID, format: formatOf(contentType, payload)}
	switch {
	case len(topic) > maxTopic:
		return r, noTopic("a topic of %d bytes takes no readings", len(topic))
	case topic == deviceTopic:
		r.format = "json"
		return r, nil
	case topic == gatewayTopic:
		r.format = "thingsboard"
		return r, nil
	case !strings.HasPrefix(topic, readingsTopic):
		return r, noTopic("the topic %q takes no readings", topic)
	}
	gateway, sensor, named := s.split(topic[len(readingsTopic):])
	if named {
		r.format, r.sensor = "value", sensor
	}
	id, err := s.Keys.As(s.ID, gateway)
	if err != nil {
		return r, err
	}
	r.id = id
	return r, nil
}

// noTopic is why a topic is refused.
func noTopic(format string, args ...any) error {
	return schema.Errorf(schema.NotFound, format, args...).WithNext("publish to readings/<gateway>, or to readings/<gateway>/<sensor>")
}

// split returns the gateway and the sensor that a topic names. A gateway whose name has a slash can name itself.
func (s *connection) split(rest string) (gateway, sensor string, named bool) {
	if own := s.ID.Gateway; own != "" && strings.HasPrefix(rest, own) {
		if len(rest) == len(own) {
			return own, "", false
		}
		if rest[len(own)] == '/' {
			return own, rest[len(own)+1:], true
		}
	}
	return strings.Cut(rest, "/")
}

// formatOf returns the format of a payload: what the content type names, if that is a format, else what it looks like.
func formatOf(contentType string, payload []byte) string {
	if contentType != "" {
		if named, ok := format.OfMediaType(contentType); ok {
			return named
		}
	}
	if start := bytes.TrimLeft(payload, " \t\r\n"); len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		return "json"
	}
	return "line"
}
