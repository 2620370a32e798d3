package format

import (
	"bytes"
	"math"

	"berth/schema"
)

// valueDecoder decodes a bare value of the sensor that the request names, as where a topic or a path says what it is of:
//
//	21.5
//	true
//	open
//
// A number is what it is in JSON, true and false (in any case of letters) are bools, everything else is a text. White space
// around it is no part of it. It gets its arrival time. An object or an array is refused: it is in another format, and
// would be a text here.
type valueDecoder struct{}

func (valueDecoder) pick(payload []byte, _ []Span) []byte { return payload }

func (valueDecoder) decode(t *task, payload []byte) error {
	text := bytes.TrimSpace(payload)
	if len(text) > 0 && (text[0] == '{' || text[0] == '[') {
		return schema.Errorf(schema.Invalid, "an object or array is no value of one sensor").WithNext("publish it without a sensor's name")
	}
	t.begin()
	if bad := t.bare(text); bad != nil {
		bad.readings = max(1, t.values())
		t.drop()
		t.report.add("value", 1, bad, Span{0, len(payload)}, false)
	}
	return nil
}

// bare reads the value and stores it.
func (t *task) bare(text []byte) *refusal {
	kind, bits, bad := t.bareValue(text)
	if bad != nil {
		return bad
	}
	t.fields = append(t.fields, field{name: []byte(t.request.Sensor), kind: kind})
	t.out.Bits = append(t.out.Bits, bits)
	// It is a series like that of an object with this member.
	cache, sender := t.table.objects, t.request.Sender.Gateway
	hash := cache.hash(cache.sender(sender), nil)
	s := cache.find(hash, sender, nil, t.rules)
	fresh := s == nil
	if fresh {
		gateway, bad := t.gatewayOf("")
		if bad != nil {
			return bad
		}
		s = &series{hash: hash, sender: sender, rules: t.rules, gateway: gateway, sensor: func(field []byte) string { return string(field) }}
	}
	if l := s.match(t.fields); l != nil {
		t.expect(l)
	}
	bad = t.finish(s, t.arrived, true, "")
	if bad == nil && fresh {
		cache.put(s)
	}
	return bad
}

// bareValue returns what a text is.
func (t *task) bareValue(text []byte) (schema.Kind, uint64, *refusal) {
	switch {
	case len(text) == 0:
		return 0, 0, syntax("there is no value")
	case len(text) <= 5 && bytes.EqualFold(text, []byte("true")):
		return schema.Bool, 1, nil
	case len(text) <= 5 && bytes.EqualFold(text, []byte("false")):
		return schema.Bool, 0, nil
	case text[0] == '-' || text[0] >= '0' && text[0] <= '9':
		number := scanner{p: text}
		d, digits := number.decimal()
		if number.err != nil || number.i < len(text) {
			break // such as a date, or a version
		}
		if d.integer && (d.digits > 19 || d.mantissa > 1<<53) {
			if n, ok := d.int(digits); ok {
				return schema.Int, uint64(n), nil
			}
		}
		f, ok := d.float(digits)
		if !ok {
			return 0, 0, beyond(digits, "float64")
		}
		return schema.Float, math.Float64bits(f), nil
	}
	bits, bad := t.keep(text)
	return schema.Text, bits, bad
}
