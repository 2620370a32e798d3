package format

import (
	"bytes"
	"slices"
	"strings"

	"berth/schema"
	"berth/schema/batch"
)

// A sensor's name in line protocol is
//
//	measurement.field[,tag=value...]
//
// with those tags that name neither the gateway nor an attribute, sorted by name. In each part a backslash stands before
// a backslash, a comma and an equals sign, in the measurement before a dot too. So the name can be taken apart again:
// the measurement ends at the first dot without a backslash, the field at the next comma without one, and so on; no two
// different series share a name.

// tag is a tag of a line, without escapes.
type tag struct{ name, value string }

// series works out what a line's measurement and tags say. It is not remembered yet.
func (l *lineReader) series(hash uint64, key []byte) (*series, *refusal) {
	measurement, tags, r := splitKey(key)
	if r != nil {
		return nil, r
	}
	named, tags := l.rules.takeGateway(tags)
	gateway, r := l.gatewayOf(named)
	if r != nil {
		return nil, r
	}
	s := &series{hash: hash, key: string(key), sender: l.request.Sender.Gateway, rules: l.rules, gateway: gateway}
	var suffix strings.Builder
	for _, tg := range tags {
		if !slices.Contains(l.rules.attributes, tg.name) {
			suffix.WriteString("," + escape(tg.name, ",=") + "=" + escape(tg.value, ",="))
			continue
		}
		if r := checkAttribute(tg); r != nil {
			return nil, r
		}
		s.attributes = append(s.attributes, batch.Attribute{Name: tg.name, Value: tg.value})
	}
	prefix, end := escape(measurement, ".,=")+".", suffix.String()
	s.sensor = func(field []byte) string { return prefix + escape(unescape(field, ", ="), ",=") + end }
	return s, nil
}

// takeGateway returns the value of the tag that names the gateway, "" if there is none, and the other tags.
func (r *rules) takeGateway(tags []tag) (string, []tag) {
	names := []string{"gateway", "host"}
	if r.gatewayTag != "" {
		names = []string{r.gatewayTag}
	}
	for _, name := range names {
		if i := slices.IndexFunc(tags, func(t tag) bool { return t.name == name }); i >= 0 {
			value := tags[i].value
			return value, slices.Delete(tags, i, i+1)
		}
	}
	return "", tags
}

// splitKey takes a line's measurement and tags apart. The tags are sorted by name.
func splitKey(key []byte) (measurement string, tags []tag, r *refusal) {
	part, rest, more := cutUnescaped(key, ',')
	if len(part) == 0 {
		return "", nil, syntax("it has no measurement before %s", show(key))
	}
	measurement = unescape(part, ", ")
	for more {
		part, rest, more = cutUnescaped(rest, ',')
		name, value, ok := cutUnescaped(part, '=')
		if !ok || len(name) == 0 || len(value) == 0 {
			return "", nil, syntax("tag %s is not name=value", show(part))
		}
		if _, _, again := cutUnescaped(value, '='); again {
			return "", nil, syntax("tag %s has two equals signs; one within a name or value wants a backslash", show(part))
		}
		tags = append(tags, tag{unescape(name, ", ="), unescape(value, ", =")})
	}
	slices.SortFunc(tags, func(a, b tag) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(tags); i++ {
		if tags[i].name == tags[i-1].name {
			return "", nil, syntax("tag %s is there twice", show(tags[i].name))
		}
	}
	return measurement, tags, nil
}

// cutUnescaped cuts p around the first sep that has no backslash before it.
func cutUnescaped(p []byte, sep byte) (before, after []byte, found bool) {
	for i := range p {
		if p[i] == sep && (i == 0 || p[i-1] != '\\') {
			return p[:i], p[i+1:], true
		}
	}
	return p, nil, false
}

// unescape takes away the backslashes that stand before the characters of special.
func unescape(p []byte, special string) string {
	if bytes.IndexByte(p, '\\') < 0 {
		return string(p)
	}
	plain := make([]byte, 0, len(p))
	for i := range p {
		if p[i] == '\\' && i+1 < len(p) && strings.IndexByte(special, p[i+1]) >= 0 {
			continue
		}
		plain = append(plain, p[i])
	}
	return string(plain)
}

// escape puts a backslash before every backslash and every character of special.
func escape(s, special string) string {
	if !strings.ContainsAny(s, special) && strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if s[i] == '\\' || strings.IndexByte(special, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// checkAttribute refuses an attribute that cannot be kept. The rules of names are those of sensors.
func checkAttribute(t tag) *refusal {
	for _, s := range [...]string{t.name, t.value} {
		if len(s) > batch.MaxAttribute || schema.CheckSensor(s) != nil {
			return refuse(schema.Invalid, ReasonAttribute, "attribute %s is not printable, or longer than %d bytes", show(s), batch.MaxAttribute)
		}
	}
	return nil
}
