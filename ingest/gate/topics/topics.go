// Package topics says of an MQTT message whose readings it has and how they are written, whether a gateway publishes it here
// or a broker passes it on.
//
// It gives the topics that every provider has, asks a provider's own rules before them, and checks who may speak for whom. Its
// one invariant: what it names, the sender may speak for.
package topics

import (
	"strings"

	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/schema"
	"berth/schema/record"
)

const (
	// readings begins the topics that take readings.
	readings = "readings/"
	// device is where ThingsBoard's devices publish.
	device = "v1/devices/me/telemetry"
	// gateway is where ThingsBoard's gateways publish, each for many devices, which are gateways here: it takes a relay.
	gateway = "v1/gateway/telemetry"
	// Longest is the longest topic that is looked at, in bytes: a gateway's and a sensor's name have room in it.
	Longest = 1 << 10
	// maxFormat is how much of a content type that is not taken is shown.
	maxFormat = 100
)

// Message is what a message says of itself.
type Message struct {
	Topic       string
	ContentType string // of MQTT 5; empty: none
	Payload     []byte
}

// Route is whose readings a message has and how they are written.
type Route struct {
	ID     intake.Identity // as whom its sender speaks
	Format string
	Sensor string // of a bare value
}

// Of returns the route of a message that a sender publishes. Rules are asked first, then the provider's own. The error is
// shown to the sender; the route is then what is known.
func Of(k *intake.Keys, id intake.Identity, m *Message, rules []record.TopicRule) (Route, error) {
	r := Route{ID: id, Format: formatOf(m)}
	if len(m.Topic) > Longest {
		return r, none("a topic of %d bytes takes no readings", len(m.Topic))
	}
	for _, rules := range [...][]record.TopicRule{rules, k.Settings.Topics} {
		for i := range rules {
			if gateway, sensor, ok := rules[i].Match(m.Topic); ok {
				return r.by(k, &rules[i], gateway, sensor)
			}
		}
	}
	switch {
	case m.Topic == device:
		r.Format = "json"
		return r, nil
	case m.Topic == gateway:
		r.Format = "thingsboard"
		return r, nil
	case !strings.HasPrefix(m.Topic, readings):
		return r, none("the topic %q takes no readings", m.Topic)
	}
	gateway, sensor, named := Split(id, m.Topic[len(readings):])
	if named {
		r.Format, r.Sensor = record.FormatValue, sensor
	}
	return r.as(k, gateway)
}

// by returns the route by a rule that the topic matches, which names the gateway and the sensor if they are not empty.
func (r Route) by(k *intake.Keys, rule *record.TopicRule, gateway, sensor string) (Route, error) {
	if rule.Format != "" {
		r.Format = rule.Format
	}
	if sensor != "" {
		r.Format, r.Sensor = record.FormatValue, sensor
	}
	if rule.Gateway != "" {
		gateway = rule.Gateway
	}
	if gateway == "" {
		return r, nil
	}
	return r.as(k, gateway)
}

// as returns the route of a gateway, if the sender may speak for it.
func (r Route) as(k *intake.Keys, gateway string) (Route, error) {
	id, err := k.As(r.ID, gateway)
	if err != nil {
		return r, err
	}
	r.ID = id
	return r, nil
}

// none is why a topic is refused.
func none(format string, args ...any) error {
	return schema.Errorf(schema.NotFound, format, args...).
		WithNext("publish to readings/<gateway>, or to readings/<gateway>/<sensor>, or have the topic added: provisioner topic add")
}

// Refusal is the report of a message that Of has no route for.
func Refusal(err error) *format.Report {
	reason := format.ReasonNotAllowed
	switch schema.CodeOf(err) {
	case schema.Pending:
		reason = format.ReasonPending
	case schema.NotFound:
		reason = intake.ReasonTopic
	case schema.Invalid:
		reason = format.ReasonGatewayName
	default:
	}
	return &format.Report{Code: schema.CodeOf(err), Reason: schema.Show(err), Reasons: map[string]int{reason: 1}}
}

// Split returns the gateway and the rest that the levels below readings/ or commands/ name. A gateway whose name has a slash can
// name itself.
func Split(id intake.Identity, levels string) (gateway, rest string, named bool) {
	if own := id.Gateway; own != "" && strings.HasPrefix(levels, own) {
		if len(levels) == len(own) {
			return own, "", false
		}
		if levels[len(own)] == '/' {
			return own, levels[len(own)+1:], true
		}
	}
	return strings.Cut(levels, "/")
}

// formatOf returns the format of a payload: what the content type names, if that is a format, else what it looks like. One of
// SenML's family that is not taken is named by its content type, which is the name of no format: as JSON it would be misread.
func formatOf(m *Message) string {
	if m.ContentType != "" {
		if named, ok := format.OfMediaType(m.ContentType); ok {
			return named
		}
		if format.OtherSenML(m.ContentType) {
			return m.ContentType[:min(len(m.ContentType), maxFormat)]
		}
	}
	return format.Guess(m.Payload)
}
