// Package cbor reads CBOR (RFC 8949) that came from outside, item by item, without allocating.
//
// It gives [Open], which lets github.com/fxamacker/cbor judge the whole payload before any of it is looked at, and a
// [Reader] of what passed. It leaves to others what the items mean; so it takes what is well-formed, and duplicate keys,
// texts that are not UTF-8 and the contents of tags are theirs to judge. Its one invariant: a Reader is only ever of
// well-formed data, so what it reads is within the data, however long an item says that it is.
package cbor

import (
	"encoding/binary"
	"math"

	"github.com/fxamacker/cbor/v2"

	"berth/schema"
)

// MaxDepth is how deep arrays, maps and tags may lie in one another.
const MaxDepth = 32

// judge judges payloads. Numbers of elements need no limit of their own: each takes a byte of the payload at least, and
// nothing is allocated for it.
var judge = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		MaxNestedLevels: MaxDepth, MaxArrayElements: math.MaxInt32, MaxMapPairs: math.MaxInt32, IndefLength: cbor.IndefLengthAllowed,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return mode
}()

// Kind is a major type.
type Kind uint8

// The major types (RFC 8949 §3.1).
const (
	Uint     Kind = 0
	Negative Kind = 1 // -1-N
	Bytes    Kind = 2
	Text     Kind = 3
	Array    Kind = 4
	Map      Kind = 5
	Tag      Kind = 6
	Simple   Kind = 7 // false, true, null, floats
)

// Head is the first bytes of an item.
type Head struct {
	Kind Kind
	info byte   // the five bits beside the major type
	N    uint64 // the argument: the number, the length, the number of elements or pairs, the tag
}

// What the five bits beside the major type say (RFC 8949 §3).
const (
	infoFalse      = 20
	infoTrue       = 21
	infoHalf       = 25
	infoSingle     = 26
	infoDouble     = 27
	infoIndefinite = 31

	stop = 0xff // the end of an item without a length
)

// Indefinite reports whether the item comes without its length: then Break says where it ends.
func (h Head) Indefinite() bool { return h.info == infoIndefinite }

// Bool returns the boolean that the item is, if it is one.
func (h Head) Bool() (value, ok bool) {
	return h.info == infoTrue, h.Kind == Simple && (h.info == infoTrue || h.info == infoFalse)
}

// Float returns the float that the item is, if it is one. None loses anything as a float64.
func (h Head) Float() (value float64, ok bool) {
	if h.Kind != Simple {
		return 0, false
	}
	switch h.info {
	case infoHalf:
		return half(uint16(h.N)), true
	case infoSingle:
		return float64(math.Float32frombits(uint32(h.N))), true
	case infoDouble:
		return math.Float64frombits(h.N), true
	default:
		return 0, false
	}
}

// half returns a float of sixteen bits (RFC 8949 appendix D).
func half(bits uint16) float64 {
	exponent, fraction := int(bits>>10&0x1f), float64(bits&0x3ff)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 31:
		if f = math.Inf(1); fraction != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(fraction+1024, exponent-25)
	}
	if bits>>15 == 1 {
		f = -f
	}
	return f
}

// Reader reads well-formed data. Whoever reads beyond the end of what there is gets items of nothing.
type Reader struct {
	p []byte
	i int
}

// Open returns a reader of data, or an Invalid error when the data are not one well-formed item and nothing after it.
func Open(data []byte) (Reader, error) {
	if err := judge.Wellformed(data); err != nil {
		return Reader{}, schema.Errorf(schema.Invalid, "CBOR: %s", clean(err))
	}
	return Reader{p: data}, nil
}

// clean returns what the judge says without its own name.
func clean(err error) string {
	const own = "cbor: "
	if text := err.Error(); len(text) > len(own) && text[:len(own)] == own {
		return text[len(own):]
	}
	return "the payload ends too early" // io.EOF and io.ErrUnexpectedEOF
}

// Offset returns how many bytes have been read.
func (r *Reader) Offset() int { return r.i }

// Next reads the head of the next item. The contents of a text or of bytes follow it, the elements of an array, the keys
// and values of a map, the item that a tag is for.
func (r *Reader) Next() Head {
	if r.i >= len(r.p) {
		return Head{Kind: Simple, info: infoFalse}
	}
	first := r.p[r.i]
	r.i++
	h := Head{Kind: Kind(first >> 5), info: first & 0x1f}
	rest := r.p[r.i:]
	switch {
	case h.info < 24:
		h.N = uint64(h.info)
		return h
	case h.info == 24 && len(rest) >= 1:
		h.N = uint64(rest[0])
		r.i++
	case h.info == infoHalf && len(rest) >= 2:
		h.N = uint64(binary.BigEndian.Uint16(rest))
		r.i += 2
	case h.info == infoSingle && len(rest) >= 4:
		h.N = uint64(binary.BigEndian.Uint32(rest))
		r.i += 4
	case h.info == infoDouble && len(rest) >= 8:
		h.N = binary.BigEndian.Uint64(rest)
		r.i += 8
	}
	return h
}

// Break reads the end of an array or a map that came without its length, if it is there.
func (r *Reader) Break() bool {
	if r.i < len(r.p) && r.p[r.i] != stop {
		return false
	}
	r.i++
	return true
}

// Content reads what the text or the bytes are whose head was read; nil for those that come without their length.
func (r *Reader) Content(h Head) []byte {
	if h.Indefinite() {
		r.SkipRest(h)
		return nil
	}
	start := min(r.i, len(r.p))
	r.i = start + int(min(h.N, uint64(len(r.p)-start)))
	return r.p[start:r.i:r.i]
}

// Skip reads the next item and forgets it.
func (r *Reader) Skip() { r.SkipRest(r.Next()) }

// SkipRest forgets the rest of the item whose head was read.
func (r *Reader) SkipRest(h Head) {
	switch {
	case h.Kind == Tag:
		r.Skip()
	case h.Kind < Bytes || h.Kind == Simple:
	case h.Indefinite():
		for !r.Break() {
			r.Skip()
		}
	case h.Kind == Bytes || h.Kind == Text:
		r.Content(h)
	default:
		n := h.N
		if h.Kind == Map {
			n *= 2
		}
		for ; n > 0 && r.i < len(r.p); n-- {
			r.Skip()
		}
	}
}

// AppendHead appends the head of an item as short as it can be (RFC 8949 §4.2.1).
func AppendHead(dst []byte, kind Kind, n uint64) []byte {
	first := byte(kind) << 5
	switch {
	case n < 24:
		return append(dst, first|byte(n))
	case n <= math.MaxUint8:
		return append(dst, first|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, first|infoHalf), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, first|infoSingle), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first|infoDouble), n)
	}
}
