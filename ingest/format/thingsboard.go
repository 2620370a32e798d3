package format

import "bytes"

// thingsBoardDecoder decodes what ThingsBoard's gateways send for many devices at once: an object with an array for each
// device, of objects as jsonDecoder takes them,
//
//	{"Device A": [{"ts": 1700000000000, "values": {"temperature": 42, "humidity": 80}}, {"temperature": 41.5}]}
//
// A device is a gateway here, so the sender must be a relay. Each object is taken or refused by itself; they are counted
// through all devices. A payload that is not of this form is refused whole.
type thingsBoardDecoder struct{}

func (thingsBoardDecoder) decode(t *task, payload []byte) error {
	r := jsonReader{task: t, scanner: scanner{p: payload}, hash: t.table.objects.sender(t.request.Sender.Gateway), proven: true}
	whole := jsonReader{task: t, scanner: scanner{p: payload}}
	if whole.devices(func([]byte) { whole.skipped() }); whole.err != nil {
		return whole.err // before anything was taken up
	}
	number := 0
	r.devices(func(device []byte) {
		r.device = bytes.Clone(device) // names of fields are unescaped where it is
		if len(r.device) == 0 {
			r.device = []byte(" ") // no gateway's name, nor the sender's
		}
		r.refused = 0 // what is refused of one device does not run on into the next
		for more := r.first(']'); more; more = r.more(']') {
			number++
			r.element(number)
		}
	})
	return r.err
}

// devices reads the object with the devices, and has each reads its array, which begins with a bracket.
func (r *jsonReader) devices(each func(device []byte)) {
	r.skip()
	if r.peek() != '{' {
		r.fail("an object with an array for each device was expected")
	}
	for more := r.err == nil && r.first('}'); more; more = r.more('}') {
		r.names = r.names[:0]
		device := r.key()
		if r.peek() != '[' {
			r.fail("an array was expected")
		}
		if r.err != nil {
			return
		}
		each(device)
	}
	r.end()
}

// first passes the opening byte, and reports whether there is something before the closing one.
func (r *jsonReader) first(closing byte) bool {
	r.i++
	r.skip()
	if r.peek() == closing {
		r.i++
		return false
	}
	return true
}

// skipped reads a device's array, whose elements must be objects, and forgets it.
func (r *jsonReader) skipped() { r.ignore(1) }

// pick returns the refused objects under their devices.
func (thingsBoardDecoder) pick(payload []byte, spans []Span) []byte {
	r := jsonReader{task: &task{}, scanner: scanner{p: payload}}
	out := []byte{'{'}
	r.skip()
	for more := r.first('}'); more && r.err == nil; more = r.more('}') {
		key := r.i
		r.key()
		array, begun := r.i, false
		r.skipped()
		for ; len(spans) > 0 && spans[0].To <= r.i; spans = spans[1:] {
			if len(out) > 1 {
				out = append(out, ',')
			}
			if !begun {
				out, begun = append(append(out, payload[key:array]...), '['), true
			}
			out = append(out, payload[spans[0].From:spans[0].To]...)
		}
		if begun {
			out = append(out, ']')
		}
	}
	return append(out, '}')
}
