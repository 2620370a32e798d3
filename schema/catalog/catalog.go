// Package catalog is the format of what a gateway's row in the catalog holds: its entry (attributes, first and last
// seen, the latest value of each sensor) and its tail, the encoded blocks of its parts that are too small to be stored
// as blocks. When rows are written is left to others. Its invariant: the latest value of a sensor is the one measured
// last, in whatever order readings were observed.
//
// # Version 2 of entries, 1 of tails
//
// Uvarint, zigzag, strings (a length and bytes), names and values are those of schema/internal/wire.
//
//	entry                                           tail
//	3 bytes  "BCE"                                  3 bytes  "BCT"
//	byte     version                                byte     version
//	string   gateway                                uvarint  number of blocks; for each:
//	zigzag   first seen, ns                                    uvarint  length
//	zigzag   last seen - first seen                            bytes    schema/block
//	zigzag   interval, ns                           4 bytes  CRC-32C of all before
//	uvarint  hour: its number since 1970; 0 when
//	         no readings are counted, else:
//	[uvarint]  readings that arrived in it
//	[uvarint]  readings of the hour before
//	uvarint  number of attributes; for each:
//	           string   name
//	           string   value
//	zigzag   base: the time of the first latest value, ns, 0 if there is none
//	uvarint  number of latest values; for each, sorted by sensor:
//	           name     of the sensor, front-coded against the one before
//	           zigzag   time - that of the one before, at first base
//	           zigzag   sequence - that of the one before, at first 0
//	           uvarint  ordinal
//	           value
//	4 bytes  CRC-32C of all before, lowest byte first
//
// # Version 1 of entries
//
// It is read, and no longer written: it lacks the hour and what follows from it.
package catalog

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"berth/schema"
	"berth/schema/internal/wire"
)

// The magics and versions that entries and tails begin with.
const (
	EntryMagic   = "BCE"
	EntryVersion = 2
	TailMagic    = "BCT"
	TailVersion  = 1
)

// maxAttribute bounds the name and the value of an attribute.
const maxAttribute = schema.MaxText

// Attribute is something known of a gateway that is no part of its identity: a fleet, a model.
type Attribute struct{ Name, Value string }

// Latest is the value of a sensor that was measured last.
type Latest struct {
	Sensor   string
	Time     int64
	Value    schema.Value
	Position schema.Position
}

// Entry is what the catalog knows of a gateway. Times are in nanoseconds.
type Entry struct {
	Gateway    string
	Attributes []Attribute
	FirstSeen  int64    // arrival of the first reading
	LastSeen   int64    // arrival of the last reading
	Interval   int64    // between arrivals, as observed; 0 when not known
	Arrived    Arrived  // readings, lately
	Latest     []Latest // sorted by sensor
}

// Arrived counts readings by the hour of UTC in which they arrived, those that came again counted again.
type Arrived struct {
	Hour   int64  // that was counted last, from 1970; 0: nothing was
	Count  uint64 // in it
	Before uint64 // in the hour before it
}

// Add counts readings that arrived at a time, if it is known: it is not 0. What arrived before the hour that was counted last
// is counted with it.
func (a *Arrived) Add(at int64, readings uint64) {
	if hour := at / schema.HourSpan; hour > 0 {
		a.reach(hour)
		a.Count += readings
	}
}

// reach goes on to an hour.
func (a *Arrived) reach(hour int64) {
	switch {
	case hour <= a.Hour:
		return
	case hour == a.Hour+1:
		a.Before = a.Count
	default:
		a.Before = 0
	}
	a.Hour, a.Count = hour, 0
}

// Join returns what two counts say together whose readings are added by sum: their sum where they counted different readings,
// the greater where one counted all of the other's.
func (a *Arrived) Join(b Arrived, sum func(a, b uint64) uint64) Arrived {
	own, hour := *a, max(a.Hour, b.Hour)
	own.reach(hour)
	b.reach(hour)
	return Arrived{Hour: hour, Count: sum(own.Count, b.Count), Before: sum(own.Before, b.Before)}
}

// LastHour returns about how many readings arrived in the hour that ends now: those of the hour before count by how much of
// it they cover.
func (a *Arrived) LastHour(now int64) uint64 {
	at := *a
	at.reach(now / schema.HourSpan)
	left := float64(schema.HourSpan-now%schema.HourSpan) / float64(schema.HourSpan)
	return at.Count + uint64(math.Round(left*float64(at.Before)))
}

// Observe notes a reading. The latest value of a sensor is the one with the greatest time; of equal times that with the
// later position.
func (e *Entry) Observe(sensor string, t int64, v schema.Value, p schema.Position) {
	at, ok := slices.BinarySearchFunc(e.Latest, sensor, func(l Latest, sensor string) int {
		return cmp.Compare(l.Sensor, sensor)
	})
	seen := Latest{Sensor: sensor, Time: t, Value: v, Position: p}
	if !ok {
		e.Latest = slices.Insert(e.Latest, at, seen)
		return
	}
	if l := &e.Latest[at]; cmp.Or(cmp.Compare(t, l.Time), p.Compare(l.Position)) > 0 {
		*l = seen
	}
}

// Find returns the latest value of a sensor.
func (e *Entry) Find(sensor string) (Latest, bool) {
	at, ok := slices.BinarySearchFunc(e.Latest, sensor, func(l Latest, sensor string) int {
		return cmp.Compare(l.Sensor, sensor)
	})
	if !ok {
		return Latest{}, false
	}
	return e.Latest[at], true
}

// EncodeEntry appends e.
func EncodeEntry(dst []byte, e *Entry) []byte {
	start := len(dst)
	dst = append(append(dst, EntryMagic...), EntryVersion)
	dst = wire.AppendString(dst, e.Gateway)
	dst = wire.AppendZigzag(dst, e.FirstSeen)
	dst = wire.AppendZigzag(dst, e.LastSeen-e.FirstSeen)
	dst = wire.AppendZigzag(dst, e.Interval)
	if dst = binary.AppendUvarint(dst, uint64(max(e.Arrived.Hour, 0))); e.Arrived.Hour > 0 {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, e.Arrived.Count), e.Arrived.Before)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Attributes)))
	for _, a := range e.Attributes {
		dst = wire.AppendString(wire.AppendString(dst, a.Name), a.Value)
	}
	before := Latest{}
	if len(e.Latest) > 0 {
		before.Time = e.Latest[0].Time
	}
	dst = wire.AppendZigzag(dst, before.Time)
	dst = binary.AppendUvarint(dst, uint64(len(e.Latest)))
	for i := range e.Latest {
		l := &e.Latest[i]
		dst = wire.AppendName(dst, before.Sensor, l.Sensor)
		dst = wire.AppendZigzag(dst, l.Time-before.Time)
		dst = wire.AppendZigzag(dst, int64(l.Position.Sequence-before.Position.Sequence))
		dst = binary.AppendUvarint(dst, uint64(l.Position.Ordinal))
		dst = wire.AppendValue(dst, l.Value)
		before = *l
	}
	return wire.Seal(dst, start)
}

// DecodeEntry reads an entry. An error is Invalid: the bytes are no entry, of a version that is not known, or damaged.
func DecodeEntry(data []byte) (*Entry, error) { return DecodeSome(data, nil) }

// DecodeSome is DecodeEntry, but that what it returns has the latest values of those sensors only that are wanted, and no
// attributes. nil: it has all.
func DecodeSome(data []byte, want func(sensor []byte) bool) (*Entry, error) {
	c, version, err := open(data, "catalog entry", EntryMagic, EntryVersion)
	if err != nil {
		return nil, err
	}
	e := new(readOutline(c, version))
	for range c.Count(uint64(c.Left())) {
		if !c.OK() {
			break
		}
		if want == nil {
			e.Attributes = append(e.Attributes, Attribute{Name: c.String(maxAttribute), Value: c.String(maxAttribute)})
			continue
		}
		c.Bytes(uint64(c.Count(maxAttribute)))
		c.Bytes(uint64(c.Count(maxAttribute)))
	}
	before := Latest{Time: c.Zigzag()}
	names := wire.NameReader{Limit: schema.MaxSensorName}
	count := c.Count(uint64(c.Left()))
	if want == nil {
		e.Latest = slices.Grow(e.Latest, min(count, c.Left()/leastLatest))
	}
	for range count {
		if !c.OK() {
			break
		}
		name := names.NextBytes(c)
		l := Latest{}
		l.Time = before.Time + c.Zigzag()
		l.Position.Sequence = before.Position.Sequence + uint64(c.Zigzag())
		l.Position.Ordinal = uint32(c.Count(math.MaxUint32))
		l.Value = c.Value()
		if before = l; want == nil || want(name) {
			l.Sensor = string(name)
			e.Latest = append(e.Latest, l)
		}
	}
	if !c.Done() {
		return nil, damaged(e, c)
	}
	return e, nil
}

// leastLatest is how many bytes of an entry a newest reading takes at least.
const leastLatest = 6

// Outline reads what an entry says before its attributes, and leaves the rest out: lists sort many by it. Only the checksum answers
// for the rest.
func Outline(data []byte) (Entry, error) {
	c, version, err := open(data, "catalog entry", EntryMagic, EntryVersion)
	if err != nil {
		return Entry{}, err
	}
	e := readOutline(c, version)
	if !c.OK() {
		return Entry{}, damaged(&e, c)
	}
	return e, nil
}

func readOutline(c *wire.Cursor, version byte) Entry {
	e := Entry{Gateway: c.String(schema.MaxGatewayName)}
	e.FirstSeen = c.Zigzag()
	e.LastSeen = e.FirstSeen + c.Zigzag()
	e.Interval = c.Zigzag()
	if version > 1 {
		e.Arrived.Hour = int64(c.Uvarint() & math.MaxInt64)
	}
	if e.Arrived.Hour > 0 {
		e.Arrived.Count, e.Arrived.Before = c.Uvarint(), c.Uvarint()
	}
	return e
}

func damaged(e *Entry, c *wire.Cursor) error {
	return schema.Errorf(schema.Invalid, "the catalog entry of gateway %q cannot be read: it is damaged at byte %d", e.Gateway, c.Offset())
}

// EncodeTail appends encoded blocks as a tail.
func EncodeTail(dst []byte, blocks [][]byte) []byte {
	start := len(dst)
	dst = append(append(dst, TailMagic...), TailVersion)
	dst = binary.AppendUvarint(dst, uint64(len(blocks)))
	for _, b := range blocks {
		dst = append(binary.AppendUvarint(dst, uint64(len(b))), b...)
	}
	return wire.Seal(dst, start)
}

// DecodeTail returns the blocks of a tail; they share the memory of data. An error is Invalid: the bytes are no tail, of
// a version that is not known, or damaged. No bytes at all are a tail without blocks.
func DecodeTail(data []byte) ([][]byte, error) {
	if len(data) == 0 {
		return nil, nil
	}
	c, _, err := open(data, "tail", TailMagic, TailVersion)
	if err != nil {
		return nil, err
	}
	var blocks [][]byte
	for count := c.Count(uint64(c.Left())); len(blocks) < count && c.OK(); {
		blocks = append(blocks, c.Bytes(c.Uvarint()))
	}
	if !c.Done() {
		return nil, schema.Errorf(schema.Invalid, "a tail of %d bytes cannot be read: it is damaged at byte %d", len(data), c.Offset())
	}
	return blocks, nil
}

// open checks the magic, checksum and version of a shape, of which all versions from 1 are read, and returns a cursor behind them.
func open(data []byte, what, magic string, newest byte) (c *wire.Cursor, version byte, err error) {
	body, sealed := wire.Unseal(data)
	c = wire.NewCursor(body)
	if string(c.Bytes(uint64(len(magic)))) != magic {
		return nil, 0, schema.Errorf(schema.Invalid, "%d bytes are no %s: they do not begin with %s", len(data), what, magic)
	}
	if !sealed {
		return nil, 0, schema.Errorf(schema.Invalid, "a %s of %d bytes cannot be read: its checksum is wrong", what, len(data))
	}
	if version = c.Byte(); version == 0 || version > newest {
		return nil, 0, schema.Errorf(schema.Invalid, "a %s of %d bytes cannot be read: version %d is not known to this release", what, len(data), version)
	}
	return c, version, nil
}
