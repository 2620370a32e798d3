package batch

import (
	"encoding/binary"
	"math"

	"berth/schema"
	"berth/schema/internal/wire"
)

// The fewest bytes that the parts of a message take: what a number claims is checked against the bytes that are left
// before anything is allocated for it.
const (
	leastLayout = 1 + leastSensor
	leastSensor = 1 + leastCoded
	leastShape  = 1 + leastCoded + 1
	leastCoded  = 3
	leastRow    = 2 + 1
	leastReason = 2
)

// Decode reads a message. Its shapes are those of in. The rows of a claim are empty. It allocates at most some hundred
// times the message's length, however it is damaged, and nothing per reading.
func Decode(data []byte, in *Interner) (Header, *Rows, error) {
	d, h, err := open(data)
	rows := &Rows{}
	if err == nil && h.Kind == Data {
		d.in = in
		d.body(rows)
		err = d.err
	}
	if err == nil && len(d.rest) > 0 {
		err = schema.Errorf(schema.Invalid, "log message: %d bytes too many", len(d.rest))
	}
	if err != nil {
		return Header{}, nil, err
	}
	return h, rows, nil
}

// DecodeHeader reads the header of a message, whose checksum it checks too.
func DecodeHeader(data []byte) (Header, error) {
	_, h, err := open(data)
	return h, err
}

// open checks what every message has and reads its header.
func open(data []byte) (*decoder, Header, error) {
	var h Header
	switch {
	case len(data) < len(magic)+2+crcSize || string(data[:len(magic)]) != magic:
		return nil, h, schema.Errorf(schema.Invalid, "log message: %d bytes that do not begin as one", len(data))
	case data[len(magic)] != version && data[len(magic)] != withSessions:
		return nil, h, schema.Errorf(schema.Invalid, "log message: version %d is not known here, only %d and %d", data[len(magic)], version, withSessions)
	}
	body, ok := wire.Unseal(data)
	if !ok {
		return nil, h, schema.Errorf(schema.Invalid, "log message: its checksum is not that of its %d bytes", len(data))
	}
	h.Kind = Kind(data[len(magic)+1])
	if h.Kind != Claim && h.Kind != Data {
		return nil, h, schema.Errorf(schema.Invalid, "log message: kind %d is not known", h.Kind)
	}
	d := &decoder{data: body, rest: body[len(magic)+2:]}
	d.header(&h)
	if data[len(magic)] == withSessions {
		d.sessions(&h)
	}
	return d, h, d.err
}

// decoder reads a message from its front. After an error it reads nothing but zeros.
type decoder struct {
	data, rest []byte
	err        error
	in         *Interner
	layouts    []*layout
	floats     []bool // of each layout: whether all its sensors are floats
	shapes     []*Shape
	of         []uint32 // layout of each shape
	key        []byte   // scratch: of a layout or shape
	sensor     []byte   // the sensor before
	gateway    []byte   // the gateway of the shape before
	// The attributes of the shape before, one after the other, and where each of their names and values ends.
	before, after         []byte
	beforeEnds, afterEnds []int
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = schema.Errorf(schema.Invalid, "log message: %s at byte %d of %d", what, len(d.data)-len(d.rest), len(d.data)+crcSize)
	}
	d.rest = nil
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail("no number")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// number reads how many parts follow that take at least the given number of bytes each.
func (d *decoder) number(least int) int {
	n := d.uvarint()
	if n > uint64(len(d.rest)/least) {
		d.fail("more parts than bytes")
		return 0
	}
	return int(n)
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.fail("cut off")
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() []byte { return d.take(d.number(1)) }

func (d *decoder) header(h *Header) {
	h.Claim = string(d.text())
	if b := d.take(8); b != nil {
		h.Created = int64(binary.LittleEndian.Uint64(b))
	}
	for _, n := range h.Totals.numbers() {
		*n = d.uvarint()
	}
	reasons := d.number(leastReason)
	if reasons > MaxReasons {
		d.fail("too many reasons")
		return
	}
	for range reasons {
		name := d.text()
		if _, again := h.Totals.Reasons[string(name)]; again || len(name) > MaxReason {
			d.fail("a reason too long, or twice")
			return
		}
		switch n := d.uvarint(); {
		case string(name) != bytesReason:
			if h.Totals.Reasons == nil {
				h.Totals.Reasons = make(map[string]uint64, reasons)
			}
			h.Totals.Reasons[string(name)] = n
		case h.Totals.Bytes != 0 || n == 0:
			d.fail("the bytes of the log twice, or none")
		default:
			h.Totals.Bytes = n
		}
	}
}

func (d *decoder) body(rows *Rows) {
	readings := d.number(1)
	text := d.number(1)
	for range d.number(leastLayout) {
		d.layout()
	}
	for range d.number(leastShape) {
		d.shape()
	}
	n := d.number(leastRow)
	if d.err != nil {
		return
	}
	rows.Rows = make([]Row, 0, n)
	rows.Bits = make([]uint64, 0, readings)
	rows.Text = make([]byte, 0, text)
	d.rows(rows, n, readings)
	switch {
	case d.err != nil:
	case len(rows.Bits) != readings:
		d.fail("fewer readings than announced")
	case len(rows.Text) != text:
		d.fail("another length of texts than announced")
	}
}

// coded reads a text that is coded against the one before and appends it to dst.
func (d *decoder) coded(dst, before []byte, most int) []byte {
	start, end := d.uvarint(), d.uvarint()
	if b := uint64(len(before)); start > b || end > b-start {
		d.fail("a name shares more than there is")
		return dst
	}
	middle := d.text()
	if int(start+end)+len(middle) > most {
		d.fail("a name too long")
		return dst
	}
	dst = append(dst, before[:start]...)
	dst = append(dst, middle...)
	return append(dst, before[uint64(len(before))-end:]...)
}

// next reads a text that is coded against before and puts it in its place.
func (d *decoder) next(before []byte, most int) []byte {
	length := len(before)
	both := d.coded(before, before, most)
	return both[:copy(both, both[length:])]
}

func (d *decoder) layout() {
	n := d.number(leastSensor)
	if n == 0 || n > MaxRowSensors {
		d.fail("a row with no sensors, or too many")
		return
	}
	floats := true
	d.key = d.key[:0]
	for range n {
		k := d.take(1)
		if k == nil || !schema.Kind(k[0]).Valid() {
			d.fail("no kind")
			return
		}
		floats = floats && schema.Kind(k[0]) == schema.Float
		d.sensor = d.next(d.sensor, schema.MaxSensorName)
		if len(d.sensor) == 0 {
			d.fail("a sensor without a name")
			return
		}
		d.key = appendSensor(d.key, schema.Kind(k[0]), d.sensor)
	}
	d.layouts = append(d.layouts, d.in.layout(d.key))
	d.floats = append(d.floats, floats)
}

func (d *decoder) shape() {
	l := d.uvarint()
	if l >= uint64(len(d.layouts)) {
		d.fail("no such layout")
		return
	}
	d.gateway = d.next(d.gateway, schema.MaxGatewayName)
	if len(d.gateway) == 0 {
		d.fail("a gateway without a name")
		return
	}
	d.key = appendText(d.key[:0], d.gateway)
	n := d.number(2 * leastCoded)
	if n > MaxAttributes {
		d.fail("too many attributes")
		return
	}
	d.after, d.afterEnds = d.after[:0], d.afterEnds[:0]
	for i := range 2 * n {
		var before []byte
		if i < len(d.beforeEnds) {
			start := 0
			if i > 0 {
				start = d.beforeEnds[i-1]
			}
			before = d.before[start:d.beforeEnds[i]]
		}
		start := len(d.after)
		d.after = d.coded(d.after, before, MaxAttribute)
		d.afterEnds = append(d.afterEnds, len(d.after))
		d.key = appendText(d.key, d.after[start:])
	}
	if d.err != nil {
		return
	}
	d.before, d.after = d.after, d.before
	d.beforeEnds, d.afterEnds = d.afterEnds, d.beforeEnds
	d.shapes = append(d.shapes, d.in.shape(d.key, d.layouts[l]))
	d.of = append(d.of, uint32(l))
}

// rows reads n rows. The slices of out have the capacity for what was announced, and more is an error.
func (d *decoder) rows(out *Rows, n, readings int) {
	var before int64
	for range n {
		head, delta := d.uvarint(), d.uvarint()
		index := head >> 1
		if index >= uint64(len(d.shapes)) {
			d.fail("no such shape")
			return
		}
		shape := d.shapes[index]
		before += wire.Unzigzag(delta)
		first := len(out.Bits)
		if len(shape.Kinds) > readings-first {
			d.fail("more readings than announced")
			return
		}
		out.Rows = append(out.Rows, Row{Shape: shape, Time: before, First: uint32(first), Arrival: head&1 != 0})
		values := out.Bits[first : first+len(shape.Kinds)]
		out.Bits = out.Bits[:first+len(shape.Kinds)]
		if d.floats[d.of[index]] {
			d.floatValues(values)
		} else {
			d.values(values, shape.Kinds, out)
		}
		if d.err != nil {
			return
		}
	}
}

func (d *decoder) floatValues(values []uint64) {
	b := d.take(8 * len(values))
	if b == nil {
		return
	}
	for i := range values {
		values[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
}

func (d *decoder) values(values []uint64, kinds []schema.Kind, out *Rows) {
	for i := range values {
		switch kinds[i] {
		case schema.Float:
			if b := d.take(8); b != nil {
				values[i] = binary.LittleEndian.Uint64(b)
			}
		case schema.Int:
			values[i] = uint64(wire.Unzigzag(d.uvarint()))
		case schema.Bool:
			b := d.take(1)
			if b == nil || b[0] > 1 {
				d.fail("no bool")
				return
			}
			values[i] = uint64(b[0])
		case schema.Text:
			t := d.text()
			if len(t) > schema.MaxText || len(t) > cap(out.Text)-len(out.Text) || uint64(len(out.Text)) > math.MaxUint32 {
				d.fail("a text too long")
				return
			}
			values[i] = out.AddText(t)
		}
	}
}
