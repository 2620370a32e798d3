package block

import (
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/zstd"

	"berth/schema/internal/wire"
)

// worthZstd is the length from which bytes are tried with zstd: its frame alone takes a dozen.
const worthZstd = 96

// An encoder and a decoder serve all goroutines: EncodeAll and DecodeAll are safe for concurrent use. They cannot fail
// with these options, which the tests see to.
var (
	compressor = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil
		}
		return e
	})
	decompressor = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(2*MaxTextBytes), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil
		}
		return d
	})
)

// The forms of packed bytes. The numbers are stored; they never change.
const (
	packedRaw     = 0
	packedZstd    = 1
	packedLetters = 2
	packedForms   = 2 // bits of the form
)

// appendPackedBytes appends data in the form that is shortest:
//
//	uvarint   length of data << 2 | form
//	[uvarint] length of what follows, unless the form is raw
//	bytes     data, a zstd frame, or the codes of letters
func appendPackedBytes(dst, data []byte) []byte {
	start := len(dst)
	dst = appendPacked(dst, data, packedRaw, func(dst []byte) []byte { return append(dst, data...) })
	if lettersSize := letterBits(data)/8 + 2; lettersSize < uint64(len(data)) {
		dst = shorter(dst, start, appendPacked(dst, data, packedLetters, func(dst []byte) []byte { return appendLetters(dst, data) }))
	}
	if e := compressor(); len(data) >= worthZstd && e != nil {
		dst = shorter(dst, start, appendPacked(dst, data, packedZstd, func(dst []byte) []byte { return e.EncodeAll(data, dst) }))
	}
	return dst
}

func appendPacked(dst, data []byte, form uint64, write func([]byte) []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(data))<<packedForms|form)
	if form == packedRaw {
		return write(dst)
	}
	return wire.AppendSized(dst, write)
}

// shorter keeps of two that were appended from start on the shorter one; both begins with one.
func shorter(one []byte, start int, both []byte) []byte {
	if len(both)-len(one) < len(one)-start {
		return append(both[:start], both[len(one):]...)
	}
	return both[:len(one)]
}

// readPackedBytes reads what appendPackedBytes wrote, at most limit bytes.
func readPackedBytes(c *wire.Cursor, limit uint64) []byte {
	head := c.Uvarint()
	size, form := head>>packedForms, head&(1<<packedForms-1)
	if size > limit {
		c.Fail()
	}
	if form == packedRaw {
		return c.Bytes(size)
	}
	packed := c.Bytes(c.Uvarint())
	if !c.OK() {
		return nil
	}
	var data []byte
	ok := false
	switch form {
	case packedZstd:
		data, ok = readZstd(packed, size)
	case packedLetters:
		data, ok = readLetters(packed, size)
	}
	if !ok {
		c.Fail()
	}
	return data
}

func readZstd(frame []byte, size uint64) ([]byte, bool) {
	var h zstd.Header
	d := decompressor()
	if d == nil || h.Decode(frame) != nil || h.HasFCS && h.FrameContentSize != size {
		return nil, false
	}
	data, err := d.DecodeAll(frame, make([]byte, 0, size))
	return data, err == nil && uint64(len(data)) == size
}
