package head

import (
	"slices"
	"sort"

	"berth/schema"
	"berth/schema/batch"
)

// DefaultPartTimes is the timestamps of a full part. What a block has for each sensor, its name and its bounds, takes a fifth of
// a block of 120 timestamps, and a twentieth of one of 480: so large is the smallest block that is written while a gateway sends.
const DefaultPartTimes = 960

// When a part is full besides. A gateway of few sensors needs fullReadings for what a block has once; fullBytes of rows become
// some 16 to 64 KB of block.
const (
	fullReadings = 1024
	fullBytes    = 512 << 10
)

// Memory that a row and a value take, to account for it.
const (
	rowBytes   = 32
	valueBytes = 8
)

// row is one row of a part: the values of a shape's sensors at one time.
type row struct {
	shape *batch.Shape
	time  int64
	seq   uint64
	ord   uint32 // of its first reading; the others follow. With lateRow it came late
	first uint32 // index of its first value in the part's bits
}

// lateRow is set in the ordinal of a row that came late: no message has nearly as many readings.
const lateRow = 1 << 31

// late reports whether the row came late.
func (r *row) late() bool { return r.ord&lateRow != 0 }

// position returns the position of the row's first reading.
func (r *row) position() schema.Position {
	return schema.Position{Sequence: r.seq, Ordinal: r.ord &^ lateRow}
}

// end returns the position of the row's last reading.
func (r *row) end() schema.Position {
	return schema.Position{Sequence: r.seq, Ordinal: r.ord&^lateRow + uint32(len(r.shape.Sensors)) - 1}
}

// part holds the readings of one gateway and one UTC day that are not yet surely in the keyspace, in order of position.
// Rows are only ever appended, and cut from the front when the gateway's row turns out to hold them, so that a copy of
// the slices taken under the head's lock can be read without it.
type part struct {
	gateway *gateway
	full    int    // timestamps with which it is full
	day     int64  // start of its day, ns
	base    []byte // the part's tail as it was read back, an encoded block that is before the rows; nil mostly
	baseTo  schema.Position
	rows    []row
	bits    []uint64
	text    []byte

	times    int   // timestamps, those that came again counted again
	readings int   // of the rows
	touched  int64 // when its newest row came, ns
	closed   bool  // takes no more rows: it is to become a block
	taken    bool  // ingest/seal has it
	bytes    int64 // what is accounted for

	older, newer *part // neighbours among the open parts, in the order in which they were opened
}

// add appends a row, of a batch that was received at a time. Values of kind Text are moved into the part's own text.
func (p *part) add(r *batch.Row, seq uint64, received int64, l *lane, from *batch.Rows) {
	n := len(r.Shape.Sensors)
	first := len(p.bits)
	if len(p.rows) == 0 || p.rows[len(p.rows)-1].time != r.Time {
		p.times++
	}
	if len(p.rows) == cap(p.rows) {
		p.rows = moveTo(p.rows, p.room(len(p.rows)))
	}
	if first+n > cap(p.bits) {
		p.bits = moveTo(p.bits, p.room(first))
	}
	ord := r.First
	if schema.Late(r.Time, received) {
		ord |= lateRow
	}
	p.rows = append(p.rows, row{shape: r.Shape, time: r.Time, seq: seq, ord: ord, first: uint32(first)})
	p.bits = append(p.bits, from.Bits[r.First:int(r.First)+n]...)
	grown := int64(rowBytes + n*valueBytes)
	for _, i := range l.texts {
		before := len(p.text)
		p.bits[first+i], p.text = moveText(p.bits[first+i], from.Text, p.text)
		grown += int64(len(p.text) - before)
	}
	p.readings += n
	p.bytes += grown
}

// room returns how many elements a slice of the part will have when the part is full, if it has n now and the part is a
// quarter full: append alone would copy them time and again, and leave three times what is needed to the collector. Before
// that it returns 0, since most parts of gateways that seldom send stay small.
func (p *part) room(n int) int {
	if p.times < max(2, p.full/4) {
		return 0
	}
	before := p.times - 1 // the newest time is counted already, and is one of those to come
	times := max(p.full, fullReadings*before/p.readings)
	return min(n*times/before+n/before+1, 4*n)
}

// moveTo returns the slice with room for so many elements, if these are more than it has; append does the rest.
func moveTo[T any](s []T, room int) []T {
	if room <= cap(s) {
		return s
	}
	return append(make([]T, 0, room), s...)
}

// moveText appends the text that bits point at in from to text, and returns bits that point at it there.
func moveText(bits uint64, from, text []byte) (moved uint64, grown []byte) {
	offset, length := bits>>32, bits&0xffffffff
	moved = uint64(len(text))<<32 | length
	return moved, append(text, from[offset:offset+length]...)
}

// isFull reports whether the part should be made a block of.
func (p *part) isFull() bool {
	return p.times >= p.full && p.readings >= fullReadings || p.bytes >= fullBytes
}

// ripe reports whether a block of the part is worth more than one more tail.
func (p *part) ripe() bool {
	return p.times >= p.full/2 && p.readings >= fullReadings/2 || p.bytes >= fullBytes/2
}

// settling reports whether it is time to look for parts of earlier days that can be closed: each time an eighth of a full part
// has come.
func (p *part) settling() bool {
	return len(p.gateway.parts) > 1 && len(p.rows) > 0 && p.times%max(1, p.full/8) == 0
}

// newest returns the position of its newest reading.
func (p *part) newest() schema.Position {
	if len(p.rows) == 0 {
		return p.baseTo
	}
	return p.rows[len(p.rows)-1].end()
}

// columnBytes is more than a column of a block takes beside its name and its values.
const columnBytes = 96

// most returns more than the part takes as a block, in bytes.
func (p *part) most() int {
	most := int(p.bytes)
	var shape *batch.Shape
	for i := range p.rows {
		if p.rows[i].shape == shape {
			continue
		}
		shape = p.rows[i].shape
		for _, s := range shape.Sensors {
			most += columnBytes + len(s)
		}
	}
	return most
}

// cut removes the readings up to a position, which the keyspace holds, and returns the memory freed.
func (p *part) cut(upTo schema.Position) int64 {
	n := sort.Search(len(p.rows), func(i int) bool { return upTo.Less(p.rows[i].position()) })
	if n == 0 {
		return 0
	}
	freed := int64(0)
	for i := range p.rows[:n] {
		values := len(p.rows[i].shape.Sensors)
		p.readings -= values
		freed += int64(rowBytes + values*valueBytes)
	}
	p.rows = p.rows[n:]
	if len(p.rows) == 0 {
		p.bits, p.text, p.times = nil, nil, 0
		freed = p.bytes - int64(len(p.base))
	}
	p.bytes -= freed
	return freed
}

// view is a part as it was at one moment; it can be read without the head's lock.
type view struct {
	gateway string
	base    []byte
	rows    []row
	bits    []uint64
	text    []byte
}

func (p *part) view() view {
	return view{gateway: p.gateway.name, base: p.base, rows: p.rows, bits: p.bits, text: p.text}
}

// after returns the view of the rows after a position; the base is left out, since it does not know the positions of
// its readings.
func (v *view) after(after schema.Position) view {
	n := sort.Search(len(v.rows), func(i int) bool { return after.Less(v.rows[i].end()) })
	rest := *v
	rest.base, rest.rows = nil, v.rows[n:]
	return rest
}

// readings returns how many readings the rows hold.
func (v *view) readings() int {
	n := 0
	for i := range v.rows {
		n += len(v.rows[i].shape.Sensors)
	}
	return n
}

// message returns the rows as a message of the log, so that they can be kept when they cannot be a block.
func (v *view) message() []byte {
	var rows batch.Rows
	for i := range v.rows {
		r := &v.rows[i]
		first := len(rows.Bits)
		rows.Rows = append(rows.Rows, batch.Row{Shape: r.shape, Time: r.time, First: uint32(first)})
		for j, k := range r.shape.Kinds {
			bits := v.bits[int(r.first)+j]
			if k == schema.Text {
				bits, rows.Text = moveText(bits, v.text, rows.Text)
			}
			rows.Bits = append(rows.Bits, bits)
		}
	}
	var e batch.Encoder
	return e.Encode(nil, &batch.Header{Kind: batch.Data}, &rows)
}

// value returns the value of a row's sensor i.
func (v *view) value(r *row, i int) schema.Value {
	return valueOf(r.shape.Kinds[i], v.bits[int(r.first)+i], v.text)
}

// valueOf returns the value of a kind that bits hold, or point at in text.
func valueOf(k schema.Kind, bits uint64, text []byte) schema.Value {
	if k != schema.Text {
		return schema.BitsValue(k, bits)
	}
	offset, length := bits>>32, bits&0xffffffff
	return schema.TextValue(string(text[offset : offset+length]))
}

// textsOf returns which of a shape's sensors are texts.
func textsOf(s *batch.Shape) []int {
	var texts []int
	for i, k := range s.Kinds {
		if k == schema.Text {
			texts = append(texts, i)
		}
	}
	return slices.Clip(texts)
}
