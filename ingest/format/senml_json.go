package format

// senmlJSONDecoder decodes SenML in JSON (RFC 8428 §5, application/senml+json):
//
//	[{"bn":"urn:dev:mac:0024befffe804ff1:","bt":1700000000,"n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]
//
// What the records mean is said in senml.go. An exponent may have a capital E, though senders must not write one.
type senmlJSONDecoder struct{}

// senmlJSON reads the records of one payload.
type senmlJSON struct {
	jsonReader
	pack senmlPack
	rec  senmlRecord
}

func (senmlJSONDecoder) decode(t *task, payload []byte) error {
	r := senmlJSON{jsonReader: jsonReader{task: t, scanner: scanner{p: payload}}, pack: newSenMLPack(t)}
	r.open()
	for r.err == nil {
		start := r.i
		if r.next(); r.err != nil {
			break
		}
		fresh, bad := r.pack.resolve(&r.rec)
		if fresh && !r.pack.proven {
			if r.err = r.prove(); r.err != nil {
				break
			}
			r.pack.proven = true
		}
		r.pack.conclude(bad, Span{start, r.i})
		if !r.more(']') {
			r.end()
			break
		}
	}
	return r.err
}

// open reads the beginning of the pack.
func (r *senmlJSON) open() {
	if r.skip(); r.peek() != '[' {
		r.fail("an array of SenML records was expected")
		return
	}
	r.i++
	if r.skip(); r.peek() == ']' {
		r.err = errNoRecord
	}
}

// next reads a record and accepts it in the pack.
func (r *senmlJSON) next() {
	if r.record(); r.err == nil {
		r.err = r.pack.accept(&r.rec)
	}
}

// prove reads ahead whether anything in the rest of the payload refuses the pack. Only if nothing does, anything new may be
// taken up.
func (r *senmlJSON) prove() error {
	rest := *r
	for rest.more(']') {
		if rest.next(); rest.err != nil {
			return rest.err
		}
	}
	rest.end()
	return rest.err
}

// record reads a record.
func (r *senmlJSON) record() {
	r.rec.reset()
	r.names = r.names[:0]
	if r.peek() != '{' {
		r.ignore(1)
		r.rec.bad = syntax("it is no object (RFC 8428 §5)")
		return
	}
	r.i++
	r.skip()
	if r.peek() == '}' {
		r.i++
		return
	}
	for {
		start := r.i
		key := r.key()
		if r.err != nil {
			return
		}
		l := senmlLabelOf(key)
		r.field(l, key)
		if l.base() {
			r.rec.field[l] = Span{start, r.i}
		}
		if !r.more('}') {
			return
		}
	}
}

// senmlLabelOf returns the label that is written so. Those of one letter, which nearly every record has, are found at once.
func senmlLabelOf(key []byte) senmlLabel {
	switch len(key) {
	case 1:
		switch key[0] {
		case 'n':
			return senmlName
		case 'u':
			return senmlUnit
		case 'v':
			return senmlValue
		case 's':
			return senmlSum
		case 't':
			return senmlTime
		}
	case 2, len("bver"):
		for l, text := range senmlLabels {
			if string(key) == text {
				return senmlLabel(l)
			}
		}
	}
	return senmlUnknown
}

// field reads the value of a label.
func (r *senmlJSON) field(l senmlLabel, key []byte) {
	if l == senmlUnknown {
		r.rec.unknown(key)
		r.ignore(1)
		return
	}
	r.rec.see(l)
	c := r.peek()
	switch l {
	case senmlBaseName, senmlBaseUnit, senmlName, senmlUnit, senmlText, senmlData:
		if c == '"' {
			r.string(l)
			return
		}
		r.rec.wrongType(l, "string")
	case senmlBool:
		if c == 't' || c == 'f' {
			r.rec.flag = r.literal(c) == 1
			return
		}
		r.rec.wrongType(l, "boolean")
	default:
		if c == '-' || c-'0' <= 9 {
			r.amount(l)
			return
		}
		r.rec.wrongType(l, "number")
	}
	r.ignore(1)
}

// string reads a text. That of a base field lives as long as the pack.
func (r *senmlJSON) string(l senmlLabel) {
	text, escaped := r.str()
	switch {
	case escaped && l.base():
		text = appendUnescaped(nil, text)
	case escaped:
		start := len(r.names)
		r.names = appendUnescaped(r.names, text)
		text = r.names[start:len(r.names):len(r.names)]
	}
	r.rec.text[l] = text
}

// amount reads a number.
func (r *senmlJSON) amount(l senmlLabel) {
	d, text := r.decimal()
	if r.err != nil {
		return
	}
	switch l {
	case senmlBaseTime, senmlTime:
		r.rec.time[l] = d.seconds(text)
	case senmlVersion:
		f, _ := d.float(text)
		r.rec.setVersion(wholeNumber(f))
	default:
		f, ok := d.float(text)
		r.rec.setNumber(l, f, ok, text)
	}
}

// wholeNumber returns f if it is a positive integer, else 0.
func wholeNumber(f float64) uint64 {
	if n := uint64(min(max(f, 0), 1<<53)); float64(n) == f {
		return n
	}
	return 0
}

func (senmlJSONDecoder) pick(payload []byte, spans []Span) []byte {
	r := senmlJSON{jsonReader: jsonReader{task: &task{}, scanner: scanner{p: payload}}}
	c := choice{payload: payload, spans: spans}
	for r.open(); r.err == nil; {
		start := r.i
		r.record()
		c.see(&r.rec, Span{start, r.i})
		if r.err != nil || !r.more(']') {
			break
		}
	}
	out := []byte{'['}
	for i, piece := range c.pieces {
		if i > 0 {
			out = append(out, ',')
		}
		if !piece.base {
			out = append(out, payload[piece.all.From:piece.all.To]...)
			continue
		}
		out = append(out, '{')
		for k, field := range piece.fields {
			if k > 0 {
				out = append(out, ',')
			}
			out = append(out, payload[field.From:field.To]...)
		}
		out = append(out, '}')
	}
	return append(out, ']')
}
