package format

import (
	"math"
	"time"

	"berth/schema"
)

// jsonDecoder decodes plain JSON telemetry: an object, or an array of such objects,
//
//	{"ts": 1700000000000, "gateway": "g1", "values": {"temperature": 21.5, "door": {"open": false}}}
//	{"ts": 1700000000000, "gateway": "g1", "temperature": 21.5, "door": {"open": false}}
//
// where ts (milliseconds since 1970, with decimals if need be, or RFC 3339 text) and gateway may be left out. A sensor's
// name is its key; of an object within an object the keys joined by dots: door.open. When there is an object values, it
// holds all readings and nothing but ts and gateway may stand beside it.
//
// A number is a float, so that a sensor that prints 21 and then 21.5 keeps its kind; only an integer beyond ±2^53, which
// a float64 would not hold exactly, is an int if it is an int64. A null is no reading. Arrays are no readings and are
// refused. Of a key that is there twice the later one counts.
//
// Each element of an array is taken or refused by itself; a payload that is not JSON is refused whole.
type jsonDecoder struct{}

// element is what is known of an element of the array, or of the only object, while it is read.
type element struct {
	at      int64
	arrival bool
	gateway []byte   // empty: it names none
	wrapped bool     // it has values
	flat    bool     // it has something else than ts, gateway and values
	beside  []byte   // the name of that
	bad     *refusal // the first
}

func (jsonDecoder) decode(t *task, payload []byte) error {
	r := jsonReader{task: t, scanner: scanner{p: payload}, hash: t.table.objects.sender(t.request.Sender.Gateway)}
	r.skip()
	switch r.peek() {
	case '{':
		r.element(1)
	case '[':
		r.listed = true
		r.array(elements, 0)
	default:
		r.fail("an object or an array of objects was expected")
	}
	r.end()
	return r.err
}

func (jsonDecoder) pick(payload []byte, spans []Span) []byte {
	out := []byte{'['}
	for i, s := range spans {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, payload[s.From:s.To]...)
	}
	return append(out, ']')
}

// end reads the payload's end.
func (r *jsonReader) end() {
	r.skip()
	if r.err == nil && r.i < len(r.p) {
		r.fail("something follows the end")
	}
}

// jsonReader reads the objects of one payload.
type jsonReader struct {
	*task
	scanner
	hash    uint64 // of the sender
	listed  bool   // the elements are those of an array
	refused int    // the number of the last element refused
	proven  bool   // the rest of the payload is JSON
	device  []byte // the gateway of elements that name none; nil: the sender
	el      element
}

// element reads an element of the array.
func (r *jsonReader) element(number int) {
	start := r.i
	r.el = element{at: r.arrived, arrival: true, gateway: r.device}
	r.begin()
	r.names = r.names[:0]
	if r.peek() != '{' {
		r.ignore(1)
		r.el.bad = syntax("it is no object")
	} else {
		r.object(members, nil, 1)
	}
	if r.err != nil {
		return
	}
	if r.el.wrapped && r.el.flat {
		r.bad(syntax(`%s stands beside "values"`, show(r.el.beside)))
	}
	if r.el.bad == nil && r.values() > 0 {
		r.el.bad = r.store()
		if r.err != nil {
			return
		}
	}
	if r.el.bad != nil {
		r.el.bad.readings = r.values()
		r.drop()
		r.report.add("element", number, r.el.bad, Span{start, r.i}, number > 1 && number == r.refused+1)
		r.refused = number
	}
}

// store stores the readings of the element.
func (r *jsonReader) store() *refusal {
	cache := r.table.objects
	hash := cache.hash(r.hash, r.el.gateway)
	s := cache.find(hash, r.request.Sender.Gateway, r.el.gateway, r.rules)
	fresh := s == nil
	if fresh {
		gateway, bad := r.gatewayOf(string(r.el.gateway))
		if bad != nil {
			return bad
		}
		s = &series{
			hash: hash, key: string(r.el.gateway), sender: r.request.Sender.Gateway, rules: r.rules, gateway: gateway,
			sensor: func(field []byte) string { return string(field) },
		}
	}
	if l := s.match(r.fields); l != nil {
		r.expect(l)
	} else if !r.proven {
		if r.prove(); r.err != nil {
			return nil
		}
	}
	bad := r.finish(s, r.el.at, r.el.arrival, "; ts is in milliseconds")
	if bad == nil && fresh {
		cache.put(s)
	}
	return bad
}

// bad refuses the element, if it is not refused already.
func (r *jsonReader) bad(f *refusal) {
	if r.el.bad == nil {
		r.el.bad = f
	}
}

// role says what the members of an object, or the elements of an array, are.
type role uint8

const (
	elements role = iota // of the payload's array: objects with readings
	members              // of such an object: readings, ts, gateway
	readings
	ignored
)

// object reads an object, whose members' names begin with prefix.
func (r *jsonReader) object(as role, prefix []byte, depth int) {
	if depth > maxDepth {
		r.fail("it is nested too deep")
		return
	}
	r.i++
	r.skip()
	if r.peek() == '}' {
		r.i++
		return
	}
	for {
		key := r.key()
		switch {
		case r.err != nil:
			return
		case as == members:
			r.member(key, depth)
		case as == ignored:
			r.ignore(depth)
		default:
			r.value(r.join(prefix, key), depth)
		}
		if !r.more('}') {
			return
		}
	}
}

// join returns the name of a member of an object whose own name is prefix; nil is none.
func (r *jsonReader) join(prefix, key []byte) []byte {
	if prefix == nil {
		return key
	}
	if length := len(prefix) + 1 + len(key); length > schema.MaxSensorName {
		r.bad(refuse(schema.Invalid, ReasonSensorName, "a sensor name of %d bytes is longer than %d", length, schema.MaxSensorName))
		return prefix
	}
	start := len(r.names)
	r.names = append(append(append(r.names, prefix...), '.'), key...)
	return r.names[start:len(r.names):len(r.names)]
}

// array reads an array.
func (r *jsonReader) array(as role, depth int) {
	if depth > maxDepth {
		r.fail("it is nested too deep")
		return
	}
	r.i++
	r.skip()
	if r.peek() == ']' {
		r.i++
		return
	}
	for n := 1; ; n++ {
		if as == elements {
			r.element(n)
		} else {
			r.ignore(depth)
		}
		if !r.more(']') {
			return
		}
	}
}

// key reads a key and the colon after it.
func (r *jsonReader) key() []byte {
	if r.peek() != '"' {
		r.fail("a key in quotation marks was expected")
		return nil
	}
	key := r.text()
	r.skip()
	if r.peek() != ':' {
		r.fail("a colon was expected")
		return nil
	}
	r.i++
	r.skip()
	return key
}

// text reads a string and takes the escapes out of it.
func (r *jsonReader) text() []byte {
	text, escaped := r.str()
	if !escaped {
		return text
	}
	start := len(r.names)
	r.names = appendUnescaped(r.names, text)
	return r.names[start:len(r.names):len(r.names)]
}

// ignore reads a value and forgets it.
func (r *jsonReader) ignore(depth int) {
	switch c := r.peek(); c {
	case '{':
		r.object(ignored, nil, depth+1)
	case '[':
		r.array(ignored, depth+1)
	case '"':
		r.str()
	case 't', 'f', 'n':
		r.literal(c)
	default:
		r.decimal()
	}
}

// member reads a value of the element itself.
func (r *jsonReader) member(key []byte, depth int) {
	switch string(key) {
	case "ts":
		r.timestamp(depth)
		return
	case "gateway":
		r.gateway(depth)
		return
	case "values":
		if r.peek() == '{' {
			r.el.wrapped = true
			r.object(readings, nil, depth+1)
			return
		}
	}
	r.el.beside, r.el.flat = key, true
	r.value(key, depth)
}

// value reads a value and adds the readings that it is or holds, whose name is or begins with name.
func (r *jsonReader) value(name []byte, depth int) {
	switch c := r.peek(); c {
	case '{':
		r.object(readings, name, depth+1)
	case '[':
		r.array(ignored, depth+1)
		r.bad(refuse(schema.Invalid, ReasonType, "%s is an array, not a reading", show(name)))
	case '"':
		text := r.text()
		var bits uint64
		if r.err == nil && r.el.bad == nil {
			bits, r.el.bad = r.keep(text)
		}
		r.add(name, schema.Text, bits)
	case 't', 'f':
		r.add(name, schema.Bool, r.literal(c))
	case 'n':
		r.literal(c)
	default:
		r.number(name)
	}
}

func (r *jsonReader) add(name []byte, kind schema.Kind, bits uint64) {
	if full := r.full(); full != nil {
		r.bad(full)
		return
	}
	r.fields = append(r.fields, field{name: name, kind: kind})
	r.out.Bits = append(r.out.Bits, bits)
}

// number reads a number as a reading.
func (r *jsonReader) number(name []byte) {
	d, text := r.decimal()
	if r.err != nil {
		return
	}
	if d.integer && (d.digits > 19 || d.mantissa > 1<<53) {
		if n, ok := d.int(text); ok {
			r.add(name, schema.Int, uint64(n))
			return
		}
	}
	f, ok := d.float(text)
	if !ok {
		r.bad(beyond(text, "float64"))
	}
	r.add(name, schema.Float, math.Float64bits(f))
}

// timestamp reads the time of the element.
func (r *jsonReader) timestamp(depth int) {
	switch c := r.peek(); {
	case c == 'n':
		r.literal(c)
		r.el.at, r.el.arrival = r.arrived, true
		return
	case c == '"':
		text, _ := r.str()
		at, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			r.bad(syntax("ts %s is no time: milliseconds since 1970, or RFC 3339", show(text)))
		}
		// Beyond the years that nanoseconds can tell, seconds will do: it is outside the window.
		if y := at.Year(); y > 2261 || y < 1678 {
			r.el.at = nanoseconds(at.Unix(), int64(time.Second))
		} else {
			r.el.at = at.UnixNano()
		}
	case c == '-' || c >= '0' && c <= '9':
		d, text := r.decimal()
		if r.err == nil {
			r.el.at = d.milliseconds(text)
		}
	default:
		r.ignore(depth)
		r.bad(syntax("ts is no time: milliseconds since 1970, or RFC 3339"))
	}
	r.el.arrival = false
}

// gateway reads the name of the element's gateway.
func (r *jsonReader) gateway(depth int) {
	switch c := r.peek(); c {
	case 'n':
		r.literal(c)
		r.el.gateway = nil
	case '"':
		if r.el.gateway = r.text(); len(r.el.gateway) == 0 {
			r.bad(named(ReasonGatewayName, schema.CheckGateway("")))
		}
	default:
		r.ignore(depth)
		r.bad(syntax("gateway is no text"))
	}
}
