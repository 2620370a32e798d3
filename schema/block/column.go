package block

import (
	"encoding/binary"
	"math"
	"slices"

	"berth/schema"
	"berth/schema/internal/wire"
)

// Column decodes column i into dst, whose memory is used again. Nothing in dst is shared with the Reader but the text
// of texts.
func (r *Reader) Column(i int, dst *Column) error {
	times, err := r.timesOf(i)
	if err != nil {
		return err
	}
	dst.Sensor, dst.Kind = r.infos[i].Sensor, r.infos[i].Kind
	dst.Times = append(dst.Times[:0], times...)
	dst.Late = append(dst.Late[:0], r.late(i)...)
	return r.values(i, dst)
}

// run returns column i, for reading only: columns share their times.
func (r *Reader) run(i int) (Column, error) {
	times, err := r.timesOf(i)
	if err != nil {
		return Column{}, err
	}
	c := Column{Sensor: r.infos[i].Sensor, Kind: r.infos[i].Kind, Times: times, Late: r.late(i)}
	return c, r.values(i, &c)
}

// Content decodes all columns. Those of sensors that are read together share their times.
func (r *Reader) Content() (*Content, error) {
	c := &Content{Gateway: r.gateway, From: r.from, To: r.to, Columns: make([]Column, len(r.columns))}
	for i := range c.Columns {
		var err error
		if c.Columns[i], err = r.run(i); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (r *Reader) timesOf(i int) ([]int64, error) {
	t := &r.times[r.columns[i].times]
	if !r.decodeTimes(t) {
		return nil, r.damaged("the times of sensor " + r.infos[i].Sensor + " are damaged")
	}
	return t.times, nil
}

// decodeTimes decodes a time column once.
func (r *Reader) decodeTimes(t *timeColumn) bool {
	if t.times != nil {
		return true
	}
	whole := &r.times[0]
	if t.part && !r.decodeTimes(whole) {
		return false
	}
	return t.decode(whole.times, r.firstUnit, r.unit)
}

// values decodes the values of column i.
func (r *Reader) values(i int, dst *Column) error {
	if !r.columns[i].decode(dst, len(dst.Times)) {
		return r.damaged("the values of sensor " + r.infos[i].Sensor + " are damaged")
	}
	return nil
}

func (column *readColumn) decode(dst *Column, n int) bool {
	if dst.Kind == schema.Text {
		return column.decodeTexts(dst, n)
	}
	dst.Texts = dst.Texts[:0]
	dst.Bits = slices.Grow(dst.Bits[:0], n)[:n]
	c := wire.NewCursor(column.data)
	switch column.coding {
	case codingInts:
		return readInts(dst.Bits, column.data, column.b)
	case codingOrdered:
		ok := readInts(dst.Bits, column.data, column.b)
		for i, b := range dst.Bits {
			dst.Bits[i] = uint64(toOrdered(b))
		}
		return ok
	case codingDistinct:
		distinct := c.Bytes(8 * c.Uvarint()) // Open checked that it is there, and that it has all indexes
		ok := readInts(dst.Bits, c.Bytes(uint64(c.Left())), column.b)
		for i, at := range dst.Bits {
			if !ok {
				return false
			}
			dst.Bits[i] = binary.LittleEndian.Uint64(distinct[8*at:])
		}
		return ok
	default:
		return column.decodeDecimals(dst.Bits, c)
	}
}

func (column *readColumn) decodeDecimals(bits []uint64, c *wire.Cursor) bool {
	if !column.eachException(c, len(bits), func(int, uint64) {}) {
		return false
	}
	if !readInts(bits, c.Bytes(uint64(c.Left())), column.b) {
		return false
	}
	power := wire.Power(column.scale)
	if column.coding == codingSingle {
		for i, n := range bits {
			bits[i] = math.Float64bits(float64(float32(int64(n)) / float32(power)))
		}
	} else {
		for i, n := range bits {
			bits[i] = math.Float64bits(float64(int64(n)) / power)
		}
	}
	return column.eachException(wire.NewCursor(column.data), len(bits), func(i int, b uint64) { bits[i] = b })
}

func (column *readColumn) decodeTexts(dst *Column, n int) bool {
	dst.Bits = dst.Bits[:0]
	indexes := make([]uint64, n)
	if !readInts(indexes, column.data, column.b) {
		return false
	}
	dst.Texts = slices.Grow(dst.Texts[:0], n)[:n]
	for i, at := range indexes {
		dst.Texts[i] = column.texts[at]
	}
	return true
}
