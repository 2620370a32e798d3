package block

import (
	"encoding/binary"
	"math"

	"berth/schema"
	"berth/schema/internal/wire"
)

// Info is what a block's directory says of a column. Min, Max and Sum are of the values that are numbers, as
// schema.Value.Number has them; they are zero where there are none.
type Info struct {
	Sensor              string
	Kind                schema.Kind
	Count               uint64 // of readings
	Numbers             uint64 // of readings whose value is a number
	Min, Max, Sum       float64
	First, Last         schema.Value
	FirstTime, LastTime int64
}

// Reader reads one block. It is not for concurrent use, and shares the memory of the bytes that it was opened on.
type Reader struct {
	gateway     string
	length      int
	unit        int64
	firstUnit   int64
	first, last int64
	from, to    schema.Position
	times       []timeColumn
	columns     []readColumn
	infos       []Info
	allLate     bool // every reading came late
}

// readColumn is a column that is not decoded yet.
type readColumn struct {
	entry
	data  []byte
	late  []bool   // of each reading; nil: none came late, unless all of the block's did
	texts []string // distinct, of a Text
}

// Open checks the magic, the version and the checksum of a block and reads its directory. Errors are Invalid and name
// the block. The bytes must not change while the Reader is in use.
func Open(data []byte) (*Reader, error) {
	body, sealed := wire.Unseal(data)
	c := wire.NewCursor(body)
	if string(c.Bytes(uint64(len(Magic)))) != Magic {
		return nil, schema.Errorf(schema.Invalid, "%d bytes are no block: they do not begin with %s", len(data), Magic)
	}
	version := c.Byte()
	r := &Reader{length: len(data)}
	r.gateway = string(readPackedBytes(c, schema.MaxGatewayName))
	switch {
	case !sealed:
		return nil, r.damaged("its checksum is wrong")
	case version < Version || version > NewerVersion:
		return nil, r.damaged("its version is not known to this release")
	case !r.readHeader(c):
		return nil, r.damaged("its header is damaged")
	case !r.readDirectory(c, version):
		return nil, r.damaged("its directory is damaged")
	}
	return r, nil
}

// damaged returns an error that names the block.
func (r *Reader) damaged(what string) error {
	return schema.Errorf(schema.Invalid, "the block of gateway %q, first reading at %d ns, %d bytes, cannot be read: %s", r.gateway, r.first, r.length, what)
}

func (r *Reader) readHeader(c *wire.Cursor) bool {
	unit := c.Byte()
	firstUnit, length := c.Zigzag(), c.Uvarint()
	r.from = schema.Position{Sequence: c.Uvarint(), Ordinal: uint32(c.Count(math.MaxUint32))}
	r.to = schema.Position{Sequence: r.from.Sequence + c.Uvarint(), Ordinal: uint32(c.Count(math.MaxUint32))}
	if !c.OK() || unit > maxUnit || r.to.Less(r.from) || schema.CheckGateway(r.gateway) != nil {
		return false
	}
	r.unit, r.firstUnit = units[unit], firstUnit
	day := uint64(schema.DaySpan / r.unit)
	if length > day || firstUnit > math.MaxInt64/r.unit-int64(length) || firstUnit < math.MinInt64/r.unit {
		return false
	}
	r.first = firstUnit * r.unit
	r.last = (firstUnit + int64(length)) * r.unit
	if schema.Start(r.first, schema.DaySpan) != schema.Start(r.last, schema.DaySpan) {
		return false
	}
	var ok bool
	r.times, ok = readTimeColumns(c, length)
	return ok
}

func (r *Reader) readDirectory(c *wire.Cursor, version byte) bool {
	count := c.Count(MaxColumns)
	if count == 0 || count > c.Left() {
		return false
	}
	heads := wire.ReadNameHeads(c, count, schema.MaxSensorName)
	sensors, ok := wire.ReadNames(heads, readPackedBytes(c, uint64(count)*schema.MaxSensorName), schema.MaxSensorName)
	if !c.OK() || !ok {
		return false
	}
	r.columns, r.infos = make([]readColumn, count), make([]Info, count)
	times, readings := 0, 0
	for i := range r.columns {
		info := &r.infos[i]
		r.columns[i].entry, info.Kind = readEntry(c, times, r.times)
		if !c.OK() || schema.CheckSensor(sensors[i]) != nil {
			return false
		}
		info.Sensor = sensors[i]
		times = r.columns[i].times
		readings += r.times[times].n
		if i > 0 && (info.Sensor < r.infos[i-1].Sensor || info.Sensor == r.infos[i-1].Sensor && info.Kind <= r.infos[i-1].Kind) {
			return false
		}
	}
	for i := range r.columns {
		column := &r.columns[i]
		column.data = c.Bytes(uint64(column.size))
		if !c.OK() || !column.inform(&r.infos[i], r.times[column.times].n) {
			return false
		}
	}
	if readings > MaxReadings || version > Version && !r.readLates(c, version) {
		return false
	}
	return c.Done() && r.readEnds()
}

// readEnds fills the first and last time of each column.
func (r *Reader) readEnds() bool {
	for i := range r.columns {
		t := &r.times[r.columns[i].times]
		if t.part && !r.decodeTimes(t) {
			return false // the ends of a part are seen only in its times
		}
		info := &r.infos[i]
		if t.part {
			info.FirstTime, info.LastTime = t.times[0], t.times[t.n-1]
			continue
		}
		info.FirstTime = (r.firstUnit + t.b.first) * r.unit
		info.LastTime = (r.firstUnit + t.b.last) * r.unit
	}
	return true
}

// inform fills what the column's payload adds to its entry in the directory: the first and last value. n is the number
// of readings.
func (column *readColumn) inform(info *Info, n int) bool {
	e := &column.entry
	info.Count, info.Numbers = uint64(n), e.stats.numbers
	info.Min, info.Max, info.Sum = e.stats.min, e.stats.max, e.stats.sum
	c := wire.NewCursor(column.data)
	switch e.coding {
	case codingTexts:
		return column.readTexts(c, info, n)
	case codingInts:
		if info.Kind == schema.Bool && (e.b.min < 0 || e.b.max > 1) {
			return false
		}
		info.First = schema.BitsValue(info.Kind, uint64(e.b.first))
		info.Last = schema.BitsValue(info.Kind, uint64(e.b.last))
	case codingOrdered:
		info.First = schema.BitsValue(schema.Float, uint64(toOrdered(uint64(e.b.first))))
		info.Last = schema.BitsValue(schema.Float, uint64(toOrdered(uint64(e.b.last))))
	case codingDistinct:
		bits := c.Bytes(8 * uint64(c.Count(uint64(n))))
		if !c.OK() || e.b.min < 0 || e.b.max >= int64(len(bits)/8) {
			return false
		}
		info.First = schema.BitsValue(schema.Float, binary.LittleEndian.Uint64(bits[8*e.b.first:]))
		info.Last = schema.BitsValue(schema.Float, binary.LittleEndian.Uint64(bits[8*e.b.last:]))
	default:
		info.First = schema.FloatValue(decimalFloat(e.b.first, e.scale, e.coding == codingSingle))
		info.Last = schema.FloatValue(decimalFloat(e.b.last, e.scale, e.coding == codingSingle))
		return column.eachException(c, n, func(i int, bits uint64) {
			if i == 0 {
				info.First = schema.BitsValue(schema.Float, bits)
			}
			if i == n-1 {
				info.Last = schema.BitsValue(schema.Float, bits)
			}
		})
	}
	return true
}

// eachException reads the exceptions of n decimals, if the column has any.
func (column *readColumn) eachException(c *wire.Cursor, n int, yield func(i int, bits uint64)) bool {
	if column.head&headExceptions == 0 {
		return true
	}
	count, at := c.Count(uint64(n)), 0
	for range count {
		at += c.Count(uint64(n))
		bits := c.Uint64()
		if !c.OK() || at >= n {
			return false
		}
		yield(at, bits)
	}
	return c.OK()
}

// readTexts reads the distinct texts of a column of n readings.
func (column *readColumn) readTexts(c *wire.Cursor, info *Info, n int) bool {
	count := c.Count(uint64(n))
	all := readPackedBytes(c, MaxTextBytes)
	b := column.b
	if !c.OK() || count > len(all) || b.min < 0 || b.max >= int64(count) {
		return false
	}
	texts := wire.NewCursor(all)
	column.texts = make([]string, count)
	shared := string(all) // one allocation for all of them
	for i := range column.texts {
		size := texts.Count(schema.MaxText)
		start := texts.Offset()
		if texts.Bytes(uint64(size)) == nil && size > 0 {
			return false
		}
		column.texts[i] = shared[start : start+size]
	}
	column.data = c.Bytes(uint64(c.Left()))
	info.First, info.Last = schema.TextValue(column.texts[b.first]), schema.TextValue(column.texts[b.last])
	return texts.Done()
}

// Gateway returns the gateway's name.
func (r *Reader) Gateway() string { return r.gateway }

// First returns the time of the first reading.
func (r *Reader) First() int64 { return r.first }

// Last returns the time of the last reading.
func (r *Reader) Last() int64 { return r.last }

// From returns the position of the first reading that went in.
func (r *Reader) From() schema.Position { return r.from }

// To returns the position of the last reading that went in.
func (r *Reader) To() schema.Position { return r.to }

// Position returns the positions of the first and last reading that went in.
func (r *Reader) Position() (from, to schema.Position) { return r.from, r.to }

// Columns returns the directory. It is the Reader's own: read only.
func (r *Reader) Columns() []Info { return r.infos }
