package rollup

import (
	"bytes"

	"berth/schema"
	"berth/schema/internal/wire"
)

// Decode reads a rollup. An error is Invalid: the bytes are no rollup, of a version that is not known, or damaged.
func Decode(data []byte) ([]Stat, error) {
	stats, _, err := new(Decoder).Decode(data)
	return stats, err
}

// Decoder reads rollups one after another: names that are those of the rollup before, as they mostly are of one gateway, are
// not read again. Its zero value is ready for use, by one goroutine.
type Decoder struct {
	// Only says of which sensors the statistics are wanted: those of others stay zero, but for the name. Of a rollup of ten sensors
	// one takes two thirds of the time. nil: all are. A rollup of version 1 is read whole.
	Only func(sensor string) bool

	names []byte // as the rollup before has them; nil: no names are known
	stats []Stat
	skip  []bool // of each of stats; empty: none
}

// Decode reads a rollup as the function does. The statistics are the Decoder's own: good until the next call. same says that
// they are of the sensors that the call before returned.
func (d *Decoder) Decode(data []byte) (stats []Stat, same bool, err error) {
	body, sealed := wire.Unseal(data)
	c := wire.NewCursor(body)
	if string(c.Bytes(uint64(len(Magic)))) != Magic {
		return nil, false, schema.Errorf(schema.Invalid, "%d bytes are no rollup: they do not begin with %s", len(data), Magic)
	}
	version := c.Byte()
	if !sealed {
		return nil, false, schema.Errorf(schema.Invalid, "a rollup of %d bytes cannot be read: its checksum is wrong", len(data))
	}
	switch version {
	case 1:
		d.names, d.stats = nil, decode1(c)
	case Version:
		same = d.decode(c)
	default:
		return nil, false, schema.Errorf(schema.Invalid, "a rollup of %d bytes cannot be read: version %d is not known to this release", len(data), version)
	}
	if !c.Done() {
		d.names = nil
		return nil, false, schema.Errorf(schema.Invalid, "a rollup of %d bytes cannot be read: it is damaged at byte %d", len(data), len(body)-c.Left())
	}
	return d.stats, same, nil
}

// decode reads what follows the version, and reports whether the names are those of the rollup before.
func (d *Decoder) decode(c *wire.Cursor) (same bool) {
	names := c.Bytes(c.Uvarint())
	if same = d.names != nil && bytes.Equal(names, d.names); !same && !d.readNames(names, c.Left()) {
		c.Fail()
		return false
	}
	unit, base := c.Byte(), c.Zigzag()
	if unit > maxUnit || len(d.stats) > c.Left() {
		c.Fail()
		return false
	}
	before := &Stat{}
	if len(d.skip) > 0 {
		d.readSome(c, units[unit], base)
		return same
	}
	for i := range d.stats {
		s := &d.stats[i]
		*s = Stat{Sensor: s.Sensor}
		readStat(c, s, before, units[unit], base)
		before = s
	}
	return same
}

// readNames makes room for the statistics of the named sensors, at most so many.
func (d *Decoder) readNames(names []byte, most int) bool {
	c := wire.NewCursor(names)
	count := c.Count(uint64(min(c.Left(), most)))
	d.names, d.stats = append(d.names[:0], names...), make([]Stat, count)
	reader := wire.NameReader{Limit: schema.MaxSensorName}
	for i := range d.stats {
		d.stats[i].Sensor = reader.Next(c)
	}
	d.skip = d.skip[:0]
	if d.Only != nil {
		for i := range d.stats {
			d.skip = append(d.skip, !d.Only(d.stats[i].Sensor))
		}
	}
	return c.Done()
}
