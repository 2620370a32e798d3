package block

import (
	"encoding/binary"
	"sync"

	"berth/schema"
	"berth/schema/internal/wire"
)

// Magic and a version begin every block.
const (
	Magic        = "BBK"
	Version      = 1 // where no reading came late
	LateVersion  = 2
	NewerVersion = 3 // where a stream is of formDigits or formMoves
)

// The head byte of a column in the directory.
const (
	headKind        = 3      // kind - 1
	headCodingShift = 2      // coding
	headCodingMask  = 7      //
	headExceptions  = 1 << 5 // floats that are no decimals are kept beside the integers
	headTimes       = 1 << 6 // the number of the time column follows; else it is that of the column before
	headUnused      = 1 << 7
)

// The codings of a column's values. The numbers are stored; they never change.
const (
	codingInts     = 0 // Int, Bool
	codingDecimal  = 1 // Float: n / 10^scale
	codingSingle   = 2 // Float: n / 10^scale, rounded to a float32
	codingDistinct = 3 // Float: indexes of distinct bits
	codingOrdered  = 4 // Float: bits as integers in the order of floats
	codingTexts    = 5 // Text: indexes of distinct texts
)

// encoder holds the memory that encoding needs, from one block to the next.
type encoder struct {
	times     timeSets
	ints      ints
	decimals  decimals
	values    []int64
	indexes   []int64
	bits      []uint64       // distinct
	seenBits  map[uint64]int // index in bits
	seenTexts map[string]int
	texts     []byte // distinct, each behind its length
	directory []byte
	payload   []byte
	other     []byte // payload of a coding to compare with
	heads     []byte // of names
	names     []byte
}

var encoders = sync.Pool{New: func() any {
	return &encoder{
		times:    timeSets{known: make(map[timesKey]int)},
		seenBits: make(map[uint64]int), seenTexts: make(map[string]int),
	}
}}

// Encode appends c as a block. What cannot be one is an Invalid or TooLarge error: a gateway or sensor without a proper
// name, more than one UTC day, columns out of order, an identity held twice, more than the limits above.
func Encode(dst []byte, c *Content) ([]byte, error) {
	if err := c.check(); err != nil {
		return dst, err
	}
	e, ok := encoders.Get().(*encoder)
	if !ok {
		return dst, schema.Errorf(schema.Internal, "the pool of encoders holds something else")
	}
	defer encoders.Put(e)
	start := len(dst)
	dst, err := e.append(dst, c)
	if err != nil {
		return dst[:start], err
	}
	return wire.Seal(dst, start), nil
}

func (e *encoder) append(dst []byte, c *Content) ([]byte, error) {
	first, last := c.Span()
	e.times.collect(c.Columns, first)
	e.ints.newer, e.times.ints.newer = false, false
	dst = append(dst, Magic...)
	version := len(dst)
	dst = append(dst, Version)
	e.names = append(e.names[:0], c.Gateway...)
	dst = appendPackedBytes(dst, e.names)
	dst = append(dst, byte(e.times.unit))
	dst = wire.AppendZigzag(dst, e.times.first)
	dst = binary.AppendUvarint(dst, uint64((last-first)/units[e.times.unit]))
	dst = binary.AppendUvarint(dst, c.From.Sequence)
	dst = binary.AppendUvarint(dst, uint64(c.From.Ordinal))
	dst = binary.AppendUvarint(dst, c.To.Sequence-c.From.Sequence)
	dst = binary.AppendUvarint(dst, uint64(c.To.Ordinal))
	dst = e.times.append(dst)

	e.heads, e.names, e.directory, e.payload = e.heads[:0], e.names[:0], e.directory[:0], e.payload[:0]
	before, times := "", 0
	for i := range c.Columns {
		column := &c.Columns[i]
		shared := wire.Shared(before, column.Sensor)
		e.heads = wire.AppendNameHead(e.heads, shared, len(column.Sensor)-shared)
		e.names = append(e.names, column.Sensor[shared:]...)
		before = column.Sensor
		head := byte(column.Kind-1) & headKind
		if e.times.of[i] != times {
			head |= headTimes
			times = e.times.of[i]
		}
		if err := e.column(column, head, times); err != nil {
			return dst, err
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Columns)))
	dst = append(dst, e.heads...)
	dst = appendPackedBytes(dst, e.names)
	dst = append(dst, e.directory...)
	dst = append(dst, e.payload...)
	switch late := hasLate(c); {
	case e.ints.newer || e.times.ints.newer:
		dst[version] = NewerVersion
		if !late {
			return append(dst, latesNone), nil
		}
		dst = appendLates(dst, c.Columns)
	case late:
		dst[version] = LateVersion
		dst = appendLates(dst, c.Columns)
	}
	return dst, nil
}

// column appends a column to the directory and the payload.
func (e *encoder) column(c *Column, head byte, times int) error {
	entry := entry{head: head, times: times}
	start := len(e.payload)
	switch c.Kind {
	case schema.Float:
		e.floats(c.Bits, &entry)
	case schema.Text:
		if err := e.textColumn(c, &entry); err != nil {
			return err
		}
	default:
		e.values = resize(e.values, len(c.Bits))
		for i, b := range c.Bits {
			e.values[i] = int64(b)
		}
		entry.coding = codingInts
		e.payload = e.stream(e.payload, e.values, &entry)
	}
	entry.size = len(e.payload) - start
	e.directory = entry.append(e.directory, c)
	return nil
}

// stream appends a stream of integers, whose bounds and sum go to the directory.
func (e *encoder) stream(dst []byte, v []int64, entry *entry) []byte {
	entry.b = boundsOf(v)
	entry.values = v
	return e.ints.append(dst, v, entry.b)
}

// floats tries decimals, then decimals that went through a float32, then the shorter of distinct values and bits.
func (e *encoder) floats(floats []uint64, entry *entry) {
	for _, coding := range [...]byte{codingDecimal, codingSingle} {
		if e.decimals.find(floats, coding == codingSingle) {
			entry.coding, entry.scale = coding, e.decimals.scale
			e.payload = e.appendExceptions(e.payload, floats, entry)
			e.payload = e.stream(e.payload, e.decimals.ints, entry)
			return
		}
	}
	ordered := *entry
	ordered.coding = codingOrdered
	e.values = resize(e.values, len(floats))
	for i, b := range floats {
		e.values[i] = toOrdered(b)
	}
	e.other = e.stream(e.other[:0], e.values, &ordered)
	start := len(e.payload)
	if e.distinct(floats, entry) && len(e.payload)-start <= len(e.other) {
		return
	}
	e.payload = append(e.payload[:start], e.other...)
	*entry = ordered
}

// appendExceptions appends the floats that are no decimals: how many, and of each how far behind the one before, and
// its bits.
func (e *encoder) appendExceptions(dst []byte, floats []uint64, entry *entry) []byte {
	if len(e.decimals.exceptions) == 0 {
		return dst
	}
	entry.head |= headExceptions
	dst = binary.AppendUvarint(dst, uint64(len(e.decimals.exceptions)))
	before := 0
	for _, i := range e.decimals.exceptions {
		dst = binary.AppendUvarint(dst, uint64(i-before))
		dst = binary.LittleEndian.AppendUint64(dst, floats[i])
		before = i
	}
	return dst
}

// distinct appends the distinct floats and the index of each; false says that they are too many.
func (e *encoder) distinct(floats []uint64, entry *entry) bool {
	clear(e.seenBits)
	e.bits, e.indexes = e.bits[:0], resize(e.indexes, len(floats))
	for i, b := range floats {
		at, ok := e.seenBits[b]
		if !ok {
			at = len(e.bits)
			if at > len(floats)/2 {
				return false
			}
			e.bits = append(e.bits, b)
			e.seenBits[b] = at
		}
		e.indexes[i] = int64(at)
	}
	entry.coding = codingDistinct
	e.payload = binary.AppendUvarint(e.payload, uint64(len(e.bits)))
	for _, b := range e.bits {
		e.payload = binary.LittleEndian.AppendUint64(e.payload, b)
	}
	e.payload = e.stream(e.payload, e.indexes, entry)
	return true
}

// textColumn appends the distinct texts and the index of each.
func (e *encoder) textColumn(c *Column, entry *entry) error {
	clear(e.seenTexts)
	e.texts, e.indexes = e.texts[:0], resize(e.indexes, len(c.Texts))
	for i, s := range c.Texts {
		at, ok := e.seenTexts[s]
		if !ok {
			at = len(e.seenTexts)
			e.seenTexts[s] = at
			e.texts = wire.AppendString(e.texts, s)
			if len(e.texts) > MaxTextBytes {
				clear(e.seenTexts)
				return schema.Errorf(schema.TooLarge, "the texts of sensor %q are too long for a block", c.Sensor)
			}
		}
		e.indexes[i] = int64(at)
	}
	entry.coding = codingTexts
	e.payload = binary.AppendUvarint(e.payload, uint64(len(e.seenTexts)))
	e.payload = appendPackedBytes(e.payload, e.texts)
	e.payload = e.stream(e.payload, e.indexes, entry)
	clear(e.seenTexts) // the texts are the caller's
	return nil
}

// toOrdered maps the bits of a float to an integer, in the order of floats; it is its own inverse.
func toOrdered(b uint64) int64 {
	i := int64(b)
	return i ^ int64(uint64(i>>63)>>1)
}
