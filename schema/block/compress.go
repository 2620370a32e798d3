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

// appendPackedBytes appends data, compressed where that is shorter:
//
//	uvarint   length of data << 1 | 1 if compressed
//	[uvarint] length of the zstd frame
//	bytes     data or the frame
func appendPackedBytes(dst, data []byte) []byte {
	if e := compressor(); len(data) >= worthZstd && e != nil {
		start := len(dst)
		dst = binary.AppendUvarint(dst, uint64(len(data))<<1|1)
		dst = appendSized(dst, func(dst []byte) []byte { return e.EncodeAll(data, dst) })
		if len(dst)-start < len(data) {
			return dst
		}
		dst = dst[:start]
	}
	return append(binary.AppendUvarint(dst, uint64(len(data))<<1), data...)
}

// readPackedBytes reads what appendPackedBytes wrote, at most limit bytes.
func readPackedBytes(c *wire.Cursor, limit uint64) []byte {
	head := c.Uvarint()
	size := head >> 1
	if size > limit {
		c.Fail()
	}
	if head&1 == 0 {
		return c.Bytes(size)
	}
	frame := c.Bytes(c.Uvarint())
	d := decompressor()
	if !c.OK() || d == nil {
		c.Fail()
		return nil
	}
	var h zstd.Header
	if h.Decode(frame) != nil || h.HasFCS && h.FrameContentSize != size {
		c.Fail()
		return nil
	}
	data, err := d.DecodeAll(frame, make([]byte, 0, size))
	if err != nil || uint64(len(data)) != size {
		c.Fail()
		return nil
	}
	return data
}
