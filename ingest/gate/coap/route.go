package coap

import (
	"strings"

	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/schema"
)

// route is whose readings a request has and how they are written.
type route struct {
	keys    *intake.Keys
	id      intake.Identity // as whom its sender speaks
	gateway string          // as the path names it
	sensor  string
	named   bool // the path names a sensor
	format  string
}

// read reads the path: readings, the gateway, and what is the sensor's name. Of a segment that holds a slash, and of the
// gateway alone, that is part of the name.
func (q *request) read() {
	n := 0
	var sensor []string
	q.Path(func(segment []byte) bool {
		switch n++; {
		case n == 2:
			q.gateway = string(segment)
		case n > 2:
			sensor = append(sensor, string(segment))
		}
		return true
	})
	q.sensor = strings.Join(sensor, "/")
	q.named = q.sensor != ""
}

// setFormat finds the format of a body. A path that names a sensor takes a bare value; a text, or what is of no said format,
// is lines or JSON as it looks.
func (q *request) setFormat(body []byte) error {
	number, typed := q.ContentFormat()
	switch text := !typed || number == textPlain; {
	case text && q.named:
		q.format = "value"
		return nil
	case text:
		q.format = format.Guess(body)
		return nil
	case q.named:
		return unsupported("the path names a sensor: it takes a bare value, as text/plain")
	}
	name, ok := format.OfContentFormat(number)
	if number == anyCBOR {
		name, ok = "senml+cbor", true
	}
	if !ok {
		return unsupported("Content-Format %d is not taken", number).WithNext("send 0, 50, 60, 110 or 112")
	}
	q.format = name
	return nil
}

const (
	// textPlain is the Content-Format of a text (RFC 7252 §12.3).
	textPlain = 0
	// anyCBOR is that of CBOR of whatever kind (RFC 8949 §9.3). What is taken of it is SenML.
	anyCBOR = 60
)

// unsupported is why the format of a body is refused.
func unsupported(text string, args ...any) *schema.Error {
	return schema.Errorf(schema.Invalid, text, args...).WithCause(errFormat)
}
