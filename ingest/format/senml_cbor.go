package format

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"berth/ingest/format/cbor"
	"berth/schema"
)

// senmlCBORDecoder decodes SenML in CBOR (RFC 8428 §6, application/senml+cbor): an array, which comes with its length, of
// maps whose keys are the numbers of the labels. What the records mean is said in senml.go.
//
// A float is what its shortest decimal says, as JSON would have it: a time of 1276020076.001 is at the millisecond, though
// no float64 is. A label that is a text is an extension, and ignored, even if it is written like one that has a number.
type senmlCBORDecoder struct{}

// senmlCBOR reads the records of one payload.
type senmlCBOR struct {
	cbor.Reader
	pack senmlPack
	rec  senmlRecord
	left uint64 // records
	err  error
}

func (senmlCBORDecoder) decode(t *task, payload []byte) error {
	r := senmlCBOR{pack: newSenMLPack(t)}
	for r.open(payload); r.err == nil && r.left > 0; {
		start := r.Offset()
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
		r.pack.conclude(bad, Span{start, r.Offset()})
	}
	return r.err
}

// open reads the beginning of the pack.
func (r *senmlCBOR) open(payload []byte) {
	if r.Reader, r.err = cbor.Open(payload); r.err != nil {
		return
	}
	switch h := r.Next(); {
	case h.Kind != cbor.Array:
		r.err = schema.Errorf(schema.Invalid, "SenML: the pack is no array of records (RFC 8428 §6)")
	case h.Indefinite():
		r.err = schema.Errorf(schema.Invalid, "SenML: the array of records comes without its length: a stream, SensML, is not taken (RFC 8428 §6)").
			WithNext("send packs, each with the number of its records")
	case h.N == 0:
		r.err = errNoRecord
	default:
		r.left = h.N
	}
}

// next reads a record and accepts it in the pack.
func (r *senmlCBOR) next() {
	r.record()
	r.err = r.pack.accept(&r.rec)
}

// prove reads ahead whether anything in the rest of the payload refuses the pack.
func (r *senmlCBOR) prove() error {
	rest := *r
	for rest.left > 0 && rest.err == nil {
		rest.next()
	}
	return rest.err
}

// record reads a record.
func (r *senmlCBOR) record() {
	r.left--
	r.rec.reset()
	h := r.Next()
	if h.Kind != cbor.Map {
		r.SkipRest(h)
		r.rec.bad = syntax("it is no map (RFC 8428 §6)")
		return
	}
	for n := h.N; ; n-- {
		if h.Indefinite() && r.Break() || !h.Indefinite() && n == 0 {
			return
		}
		start := r.Offset()
		l := r.label()
		if l == senmlUnknown {
			r.Skip()
			continue
		}
		r.rec.see(l)
		r.field(l, r.Next())
		if l.base() {
			r.rec.field[l] = Span{start, r.Offset()}
		}
	}
}

// label reads a label.
func (r *senmlCBOR) label() senmlLabel {
	switch h := r.Next(); {
	case h.Kind == cbor.Uint && h.N < uint64(senmlUnknown-senmlName):
		return senmlName + senmlLabel(h.N)
	case h.Kind == cbor.Negative && h.N < uint64(senmlBases):
		return senmlLabel(h.N)
	case h.Kind == cbor.Text && !h.Indefinite():
		r.rec.unknown(r.Content(h))
	case h.Kind == cbor.Text: // its parts could hide what must be understood
		r.SkipRest(h)
		r.rec.fatal = syntax("a label is a text without its length")
	default:
		r.SkipRest(h)
	}
	return senmlUnknown
}

// field reads the value of a label, whose head is given.
func (r *senmlCBOR) field(l senmlLabel, h cbor.Head) {
	switch l {
	case senmlBaseName, senmlBaseUnit, senmlName, senmlUnit, senmlText:
		r.content(l, h, cbor.Text, "text with its length")
	case senmlData:
		r.rec.raw = true
		r.content(l, h, cbor.Bytes, "byte string with its length")
	case senmlBool:
		value, ok := h.Bool()
		if !ok {
			r.SkipRest(h)
			r.rec.wrongType(l, "boolean")
		}
		r.rec.flag = value
	case senmlVersion:
		if h.Kind != cbor.Uint {
			r.SkipRest(h)
			h.N = 0
		}
		r.rec.setVersion(h.N)
	default:
		r.number(l, h)
	}
}

// content reads a text or bytes.
func (r *senmlCBOR) content(l senmlLabel, h cbor.Head, kind cbor.Kind, want string) {
	if h.Kind != kind || h.Indefinite() {
		r.SkipRest(h)
		r.rec.wrongType(l, want)
		return
	}
	r.rec.text[l] = r.Content(h)
}

// number reads a number: an integer, a float or a decimal fraction (§6).
func (r *senmlCBOR) number(l senmlLabel, h cbor.Head) {
	f, isFloat := h.Float()
	switch {
	case h.Kind == cbor.Uint, h.Kind == cbor.Negative:
		r.rec.number[l], r.rec.time[l] = wholeFloat(h), wholeSeconds(h)
	case isFloat && (math.IsInf(f, 0) || math.IsNaN(f)):
		r.rec.refuse(l, refuse(schema.Invalid, ReasonNumber, "%s is %v, no finite number (RFC 8428 §5)", l, f))
	case isFloat:
		if r.rec.number[l] = f; l == senmlBaseTime || l == senmlTime {
			r.rec.time[l] = floatSeconds(f)
		}
	case h.Kind == cbor.Tag && h.N == cborDecimal:
		r.decimal(l, h)
	default:
		r.SkipRest(h)
		r.rec.wrongType(l, "integer, float or decimal fraction")
	}
}

// Tags (RFC 8949 §3.4.3 and §3.4.4).
const (
	cborBignum         = 2
	cborNegativeBignum = 3
	cborDecimal        = 4
)

// wholeFloat returns the float64 nearest to an integer.
func wholeFloat(h cbor.Head) float64 {
	switch {
	case h.Kind == cbor.Uint:
		return float64(h.N)
	case h.N == math.MaxUint64:
		return -(1 << 64)
	default:
		return -float64(h.N + 1)
	}
}

// wholeSeconds returns a whole number of seconds in nanoseconds.
func wholeSeconds(h cbor.Head) int64 {
	n := int64(min(h.N, math.MaxInt64))
	if h.Kind == cbor.Negative {
		n = -1 - n
	}
	return nanoseconds(n, int64(time.Second))
}

// floatSeconds returns a finite number of seconds in nanoseconds.
func floatSeconds(f float64) int64 {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return nanoseconds(int64(f), int64(time.Second))
	}
	var scratch [32]byte
	text := strconv.AppendFloat(scratch[:0], f, 'e', -1, 64)
	d, _ := scanDecimal(text, 0)
	return d.seconds(text)
}

// decimal reads a decimal fraction, whose tag was read: the exponent and the mantissa (RFC 8949 §3.4.4).
func (r *senmlCBOR) decimal(l senmlLabel, tag cbor.Head) {
	tagged := r.Reader
	if h := r.Next(); h.Kind == cbor.Array && h.N == 2 && !h.Indefinite() {
		exponent := r.Next()
		mantissa, ok := r.mantissa()
		if ok && (exponent.Kind == cbor.Uint || exponent.Kind == cbor.Negative) {
			r.setDecimal(l, mantissa, exponent)
			return
		}
	}
	r.Reader = tagged
	r.SkipRest(tag)
	r.rec.wrongType(l, "decimal fraction whose exponent is an integer and whose mantissa is one of 64 bits")
}

// mantissa reads the mantissa of a decimal fraction as an integer, also when it is a bignum that could have been one.
func (r *senmlCBOR) mantissa() (h cbor.Head, ok bool) {
	h = r.Next()
	if h.Kind != cbor.Tag || h.N != cborBignum && h.N != cborNegativeBignum {
		return h, h.Kind == cbor.Uint || h.Kind == cbor.Negative
	}
	n := cbor.Head{Kind: cbor.Uint}
	if h.N == cborNegativeBignum {
		n.Kind = cbor.Negative
	}
	h = r.Next()
	if h.Kind != cbor.Bytes || h.Indefinite() {
		return h, false
	}
	for _, c := range r.Content(h) {
		if n.N>>56 != 0 {
			return n, false
		}
		n.N = n.N<<8 | uint64(c)
	}
	return n, true
}

// setDecimal sets a number that is a mantissa times a power of ten.
func (r *senmlCBOR) setDecimal(l senmlLabel, mantissa, exponent cbor.Head) {
	var scratch [48]byte
	text := scratch[:0]
	switch {
	case mantissa.Kind == cbor.Uint:
		text = strconv.AppendUint(text, mantissa.N, 10)
	case mantissa.N == math.MaxUint64:
		text = append(text, "-18446744073709551616"...)
	default:
		text = strconv.AppendUint(append(text, '-'), mantissa.N+1, 10)
	}
	const farthest = 1 << 20 // nothing is left, or all is infinite, long before
	e := int64(min(exponent.N, farthest))
	if exponent.Kind == cbor.Negative {
		e = -1 - e
	}
	text = strconv.AppendInt(append(text, 'e'), e, 10)
	d, _ := scanDecimal(text, 0)
	if l == senmlBaseTime || l == senmlTime {
		r.rec.time[l] = d.seconds(text)
		return
	}
	f, ok := d.float(text)
	if !ok {
		text = bytes.Clone(text) // it is shown, and only then outlives this
	}
	r.rec.setNumber(l, f, ok, text)
}

func (senmlCBORDecoder) pick(payload []byte, spans []Span) []byte {
	r := senmlCBOR{}
	c := choice{payload: payload, spans: spans}
	for r.open(payload); r.err == nil && r.left > 0; {
		start := r.Offset()
		r.record()
		c.see(&r.rec, Span{start, r.Offset()})
	}
	out := cbor.AppendHead(nil, cbor.Array, uint64(len(c.pieces)))
	for _, piece := range c.pieces {
		if !piece.base {
			out = append(out, payload[piece.all.From:piece.all.To]...)
			continue
		}
		out = cbor.AppendHead(out, cbor.Map, uint64(len(piece.fields)))
		for _, field := range piece.fields {
			out = append(out, payload[field.From:field.To]...)
		}
	}
	return out
}
