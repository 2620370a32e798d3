package record

import (
	"slices"
	"strings"
	"unicode/utf8"

	"berth/schema"
)

// TopicRule says of the messages of some MQTT topics whose readings they have and how they are written. Of several rules the
// first that a topic matches holds.
type TopicRule struct {
	// Pattern is a topic filter of MQTT: + is any one level, # at the end any levels that follow, or none. {gateway} is one
	// level that names the gateway. {sensor} is one that names the sensor of a bare value, at the end together with all
	// levels that follow.
	Pattern string `json:"pattern"`
	Gateway string `json:"gateway,omitempty"` // whose readings they are; empty: what {gateway} names, or else the sender's own
	Format  string `json:"format,omitempty"`  // empty: by content type or look; with {sensor} a bare value
}

// What a pattern may have for one of its levels.
const (
	topicGateway = "{gateway}"
	topicSensor  = "{sensor}"
)

const (
	// MaxTopics is how many rules of topics a provider may have, and a source.
	MaxTopics = 64
	// maxPattern is the longest pattern, in bytes.
	maxPattern = 512
)

// FormatValue is the format of a bare value whose sensor is named beside it.
const FormatValue = "value"

// TopicFormats are the formats that a rule may name. It is not asked of stored rules: one that an older release does not know
// has what matches refused, and nothing else.
var TopicFormats = []string{"json", "line", "senml+cbor", "senml+json", "thingsboard", FormatValue}

// CheckFormat returns an Invalid error when the rule names a format that there is not.
func (r *TopicRule) CheckFormat() error {
	if r.Format == "" || slices.Contains(TopicFormats, r.Format) {
		return nil
	}
	return schema.Errorf(schema.Invalid, "format %q is unknown", r.Format).WithNext("use one of %s", strings.Join(TopicFormats, ", "))
}

// Validate returns an Invalid error that says why the rule cannot be.
func (r *TopicRule) Validate() error {
	levels := strings.Split(r.Pattern, "/")
	gateways, sensors := 0, 0
	switch {
	case r.Pattern == "":
		return schema.Errorf(schema.Invalid, "a rule of topics has no pattern")
	case len(r.Pattern) > maxPattern:
		return schema.Errorf(schema.Invalid, "a pattern of %d bytes is longer than %d", len(r.Pattern), maxPattern)
	case !utf8.ValidString(r.Pattern) || strings.Contains(r.Pattern, "\x00"):
		return r.wrong("is no UTF-8 text") // [MQTT-1.5.3-1], [MQTT-1.5.3-2]
	}
	for i, level := range levels {
		switch {
		case level == topicGateway:
			gateways++
		case level == topicSensor:
			sensors++
		case level == "+":
		case level == "#" && i < len(levels)-1:
			return r.wrong("has # before its end") // [MQTT-4.7.1-2]
		case level == "#":
		case strings.ContainsAny(level, "+#"):
			return r.wrong("has + or # within a level").WithNext("either is a level of its own") // [MQTT-4.7.1-2], [MQTT-4.7.1-3]
		case strings.ContainsAny(level, "{}"):
			return r.wrong("has braces other than {gateway} and {sensor}").WithNext("each of these is a level of its own")
		}
	}
	return r.validateNames(gateways, sensors)
}

// validateNames checks what the rule says of gateway, sensor and format together.
func (r *TopicRule) validateNames(gateways, sensors int) error {
	switch {
	case gateways > 1 || sensors > 1:
		return r.wrong("names the gateway or the sensor twice")
	case gateways > 0 && r.Gateway != "":
		return r.wrong("names the gateway already").WithNext("leave {gateway} or the gateway %q away", r.Gateway)
	case sensors > 0 && r.Format != "" && r.Format != FormatValue:
		return r.wrong("names the sensor, as the format " + r.Format + " does by itself").WithNext("put + in the place of {sensor}, or leave the format away")
	case sensors == 0 && r.Format == FormatValue:
		return r.wrong("names no sensor, of which the value would be").WithNext("put {sensor} in the place of a level")
	case r.Gateway != "":
		return schema.CheckGateway(r.Gateway)
	}
	return nil
}

func (r *TopicRule) wrong(what string) *schema.Error {
	return schema.Errorf(schema.Invalid, "the pattern %q %s", r.Pattern, what)
}

// Filter returns the pattern as a topic filter of MQTT, to subscribe to.
func (r *TopicRule) Filter() string {
	levels := strings.Split(r.Pattern, "/")
	for i, level := range levels {
		if level == topicGateway || level == topicSensor {
			levels[i] = "+"
		}
		if level == topicSensor && i == len(levels)-1 {
			levels[i] = "+/#"
		}
	}
	return strings.Join(levels, "/")
}

// Match reports whether a topic matches, and what it names; empty is nothing. It allocates nothing.
func (r *TopicRule) Match(topic string) (gateway, sensor string, ok bool) {
	pattern := r.Pattern
	if strings.HasPrefix(topic, "$") && (strings.HasPrefix(pattern, "+") || strings.HasPrefix(pattern, "#") || strings.HasPrefix(pattern, "{")) {
		return "", "", false // [MQTT-4.7.2-1]
	}
	for {
		want, wantMore, morePattern := strings.Cut(pattern, "/")
		if want == "#" {
			return gateway, sensor, true
		}
		level, rest, more := strings.Cut(topic, "/")
		switch want {
		case topicGateway:
			gateway, ok = level, level != ""
		case topicSensor:
			if !morePattern {
				return gateway, topic, topic != ""
			}
			sensor, ok = level, level != ""
		case "+":
			ok = true
		default:
			ok = level == want
		}
		switch {
		case !ok:
			return "", "", false
		case !more && !morePattern:
			return gateway, sensor, true
		case !more:
			return gateway, sensor, wantMore == "#" // the level above # matches too: §4.7.1.2
		case !morePattern:
			return "", "", false
		}
		pattern, topic = wantMore, rest
	}
}

// validateTopics checks rules of topics together.
func validateTopics(rules []TopicRule) error {
	if len(rules) > MaxTopics {
		return schema.Errorf(schema.Invalid, "%d rules of topics are more than %d", len(rules), MaxTopics)
	}
	for i := range rules {
		if err := rules[i].Validate(); err != nil {
			return err
		}
		if slices.ContainsFunc(rules[:i], func(r TopicRule) bool { return r.Pattern == rules[i].Pattern }) {
			return schema.Errorf(schema.Invalid, "the pattern %q is there twice", rules[i].Pattern)
		}
	}
	return nil
}
