package batch

import (
	"berth/schema"
)

// Attribute is something a gateway says about itself that is no part of a reading's identity.
type Attribute struct{ Name, Value string }

// Shape is what the rows of one series share: all but time and values. It is immutable.
type Shape struct {
	Gateway    string
	Sensors    []string // at least one; of a sensor that is there twice the later value wins
	Kinds      []schema.Kind
	Attributes []Attribute
}

// Row is the values of the sensors of one Shape at one time.
type Row struct {
	Shape   *Shape
	Time    int64  // nanoseconds since 1970-01-01 UTC
	First   uint32 // the index of its first value in Bits; it has one for each sensor of its shape
	Arrival bool   // it came without a time: Time is that of its arrival
}

// Rows are readings, row by row. The values of a row follow those of the row before it without a gap, so the index of
// a value is its reading's ordinal. Rows are not for concurrent use; they can be used again after Reset.
type Rows struct {
	Rows []Row
	Bits []uint64 // schema.Value.Bits; of a Text its offset<<32 | length in Text
	Text []byte
}

// Reset empties the rows and keeps their memory.
func (r *Rows) Reset() {
	clear(r.Rows) // the shapes may go
	r.Rows, r.Bits, r.Text = r.Rows[:0], r.Bits[:0], r.Text[:0]
}

// Len returns the number of rows.
func (r *Rows) Len() int { return len(r.Rows) }

// Readings returns the number of readings.
func (r *Rows) Readings() int { return len(r.Bits) }

// Size returns about how many bytes the rows take in a message, without the shapes.
func (r *Rows) Size() int { return 8*len(r.Bits) + len(r.Text) + 8*len(r.Rows) }

// Value returns the value at index i of Bits, whose kind is k.
func (r *Rows) Value(i int, k schema.Kind) schema.Value {
	if k == schema.Text {
		return schema.TextValue(string(r.text(r.Bits[i])))
	}
	return schema.BitsValue(k, r.Bits[i])
}

func (r *Rows) text(bits uint64) []byte {
	offset, length := bits>>32, bits&0xffffffff
	return r.Text[offset : offset+length]
}

// AddText keeps a copy of text and returns the bits of its value.
func (r *Rows) AddText(text []byte) uint64 {
	offset := uint64(len(r.Text))
	r.Text = append(r.Text, text...)
	return offset<<32 | uint64(len(text))
}

// Append appends all rows of o, which stays as it is.
func (r *Rows) Append(o *Rows) { r.AppendRange(o, 0, len(o.Rows)) }

// AppendRange appends the rows [from, to) of o, which stays as it is.
func (r *Rows) AppendRange(o *Rows, from, to int) {
	if from >= to {
		return
	}
	first, end := int(o.Rows[from].First), len(o.Bits)
	if to < len(o.Rows) {
		end = int(o.Rows[to].First)
	}
	shift := uint32(len(r.Bits)) - uint32(first)
	start := len(r.Bits)
	r.Bits = append(r.Bits, o.Bits[first:end]...)
	for _, row := range o.Rows[from:to] {
		row.First += shift
		r.Rows = append(r.Rows, row)
	}
	if len(o.Text) > 0 {
		r.appendTexts(o, r.Rows[len(r.Rows)-(to-from):], start)
	}
}

// appendTexts copies the texts of the rows just appended, whose values begin at index start, from o.
func (r *Rows) appendTexts(o *Rows, rows []Row, start int) {
	for i := range rows {
		for j, k := range rows[i].Shape.Kinds {
			if k == schema.Text {
				at := start + j
				r.Bits[at] = r.AddText(o.text(r.Bits[at]))
			}
		}
		start += len(rows[i].Shape.Kinds)
	}
}
