package batch

import (
	"encoding/binary"
	"maps"
	"slices"

	"berth/schema"
	"berth/schema/internal/wire"
)

// Encoder encodes messages. It keeps memory between messages, so one that is used again allocates nothing. It is not
// for concurrent use.
type Encoder struct {
	shapes  []*Shape
	local   map[*Shape]uint32 // index in shapes
	layouts []*Shape          // the first shape of each layout
	known   map[layoutKey]uint32
	of      []uint32 // layout of each shape
	floats  []bool   // whether all sensors of the shape are floats
	rows    []uint32 // shape of each row
}

// layoutKey recognises a layout by the memory of its slices: shapes of one interner that share a layout share these.
type layoutKey struct {
	sensors *string
	kinds   *schema.Kind
	length  int
}

// Encode appends the message of the header and the rows to dst and returns it. The ordinal of a reading is the number
// of readings before it in rows, taken one after the other. A claim has no rows.
func (e *Encoder) Encode(dst []byte, h *Header, rows ...*Rows) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	if h.SessionsFrom == 0 && len(h.Sessions) == 0 {
		dst = appendHeader(append(dst, version, byte(h.Kind)), h)
	} else {
		dst = appendSessions(appendHeader(append(dst, withSessions, byte(h.Kind)), h), h)
	}
	if h.Kind == Data {
		readings, text := e.collect(rows)
		dst = binary.AppendUvarint(dst, uint64(readings))
		dst = binary.AppendUvarint(dst, uint64(text))
		dst = e.appendLayouts(dst)
		dst = e.appendShapes(dst)
		dst = binary.AppendUvarint(dst, uint64(len(e.rows)))
		// The most that the rows can take: two varints a row, a varint or 8 bytes and a length a value.
		dst = slices.Grow(dst, 2*binary.MaxVarintLen64*len(e.rows)+binary.MaxVarintLen64*readings+text+crcSize)
		dst = e.appendRows(dst, rows)
		e.forget()
	}
	return wire.Seal(dst, start)
}

func appendHeader(dst []byte, h *Header) []byte {
	dst = appendText(dst, h.Claim)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.Created))
	t := h.Totals
	for _, n := range t.numbers() {
		dst = binary.AppendUvarint(dst, *n)
	}
	reasons := bounded(t.Reasons)
	if t.Bytes == 0 {
		dst = binary.AppendUvarint(dst, uint64(len(reasons)))
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(reasons)+1))
		dst = binary.AppendUvarint(appendText(dst, bytesReason), t.Bytes)
	}
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		dst = binary.AppendUvarint(appendText(dst, name), reasons[name])
	}
	return dst
}

// bounded returns the reasons with those beyond the bounds added up under OtherReasons.
func bounded(reasons map[string]uint64) map[string]uint64 {
	fits := len(reasons) < MaxReasons
	for name := range reasons {
		fits = fits && len(name) <= MaxReason && name != bytesReason
	}
	if fits {
		return reasons
	}
	kept := make(map[string]uint64, MaxReasons)
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		if len(name) > MaxReason || name == bytesReason || name != OtherReasons && len(kept) >= MaxReasons-2 {
			kept[OtherReasons] += reasons[name]
			continue
		}
		kept[name] += reasons[name]
	}
	return kept
}

// collect numbers the shapes of all rows and their layouts in the order in which they first occur.
func (e *Encoder) collect(rows []*Rows) (readings, text int) {
	if e.local == nil {
		e.local, e.known = make(map[*Shape]uint32), make(map[layoutKey]uint32)
	}
	var last *Shape
	var index uint32
	for _, r := range rows {
		text += len(r.Text)
		for i := range r.Rows {
			if s := r.Rows[i].Shape; s != last {
				last, index = s, e.index(s)
			}
			e.rows = append(e.rows, index)
			readings += len(last.Kinds)
		}
	}
	return readings, text
}

func (e *Encoder) index(s *Shape) uint32 {
	if i, ok := e.local[s]; ok {
		return i
	}
	i := uint32(len(e.shapes))
	e.local[s] = i
	e.shapes = append(e.shapes, s)
	key := layoutKey{&s.Sensors[0], &s.Kinds[0], len(s.Sensors)}
	l, ok := e.known[key]
	if !ok {
		l = uint32(len(e.layouts))
		e.known[key] = l
		e.layouts = append(e.layouts, s)
	}
	e.of = append(e.of, l)
	e.floats = append(e.floats, !slices.ContainsFunc(s.Kinds, func(k schema.Kind) bool { return k != schema.Float }))
	return i
}

// forget drops what belongs to one message, and with it the shapes.
func (e *Encoder) forget() {
	clear(e.shapes)
	clear(e.layouts)
	clear(e.local)
	clear(e.known)
	e.shapes, e.layouts = e.shapes[:0], e.layouts[:0]
	e.of, e.floats, e.rows = e.of[:0], e.floats[:0], e.rows[:0]
}

func (e *Encoder) appendLayouts(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(e.layouts)))
	before := ""
	for _, s := range e.layouts {
		dst = binary.AppendUvarint(dst, uint64(len(s.Sensors)))
		for i, name := range s.Sensors {
			dst = appendCoded(append(dst, byte(s.Kinds[i])), before, name)
			before = name
		}
	}
	return dst
}

func (e *Encoder) appendShapes(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(e.shapes)))
	before := &Shape{}
	for i, s := range e.shapes {
		dst = binary.AppendUvarint(dst, uint64(e.of[i]))
		dst = appendCoded(dst, before.Gateway, s.Gateway)
		dst = binary.AppendUvarint(dst, uint64(len(s.Attributes)))
		for j, a := range s.Attributes {
			var b Attribute
			if j < len(before.Attributes) {
				b = before.Attributes[j]
			}
			dst = appendCoded(appendCoded(dst, b.Name, a.Name), b.Value, a.Value)
		}
		before = s
	}
	return dst
}

// appendCoded appends s without what it shares with before at its start and end.
func appendCoded(dst []byte, before, s string) []byte {
	most := min(len(before), len(s))
	start := 0
	for start < most && before[start] == s[start] {
		start++
	}
	end := 0
	for end < most-start && before[len(before)-1-end] == s[len(s)-1-end] {
		end++
	}
	dst = binary.AppendUvarint(dst, uint64(start))
	dst = binary.AppendUvarint(dst, uint64(end))
	return appendText(dst, s[start:len(s)-end])
}

func (e *Encoder) appendRows(dst []byte, rows []*Rows) []byte {
	shapes := e.rows
	var before int64
	for _, r := range rows {
		for i := range r.Rows {
			row := &r.Rows[i]
			index := shapes[i]
			head := uint64(index) << 1
			if row.Arrival {
				head |= 1
			}
			dst = binary.AppendUvarint(dst, head)
			dst = wire.AppendZigzag(dst, row.Time-before)
			before = row.Time
			values := r.Bits[row.First : int(row.First)+len(row.Shape.Kinds)]
			if e.floats[index] {
				for _, v := range values {
					dst = binary.LittleEndian.AppendUint64(dst, v)
				}
				continue
			}
			dst = appendValues(dst, r, row.Shape.Kinds, values)
		}
		shapes = shapes[len(r.Rows):]
	}
	return dst
}

func appendValues(dst []byte, r *Rows, kinds []schema.Kind, values []uint64) []byte {
	for j, v := range values {
		switch kinds[j] {
		case schema.Float:
			dst = binary.LittleEndian.AppendUint64(dst, v)
		case schema.Int:
			dst = wire.AppendZigzag(dst, int64(v))
		case schema.Bool:
			dst = append(dst, byte(v))
		case schema.Text:
			dst = appendText(dst, r.text(v))
		}
	}
	return dst
}
