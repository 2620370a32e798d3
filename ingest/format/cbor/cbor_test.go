package cbor_test

import (
	"bytes"
	"math"
	"testing"

	judge "github.com/fxamacker/cbor/v2"

	"berth/ingest/format/cbor"
	"berth/schema"
)

// examples are of RFC 8949 appendix A, with what they are.
var examples = []struct {
	data string
	kind cbor.Kind
	n    uint64
}{
	{"\x00", cbor.Uint, 0},
	{"\x17", cbor.Uint, 23},
	{"\x18\x18", cbor.Uint, 24},
	{"\x19\x03\xe8", cbor.Uint, 1000},
	{"\x1a\x00\x0f\x42\x40", cbor.Uint, 1000000},
	{"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", cbor.Uint, math.MaxUint64},
	{"\x20", cbor.Negative, 0},
	{"\x38\x63", cbor.Negative, 99},
	{"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", cbor.Negative, math.MaxUint64},
	{"\x40", cbor.Bytes, 0},
	{"\x44\x01\x02\x03\x04", cbor.Bytes, 4},
	{"\x64IETF", cbor.Text, 4},
	{"\x80", cbor.Array, 0},
	{"\x83\x01\x02\x03", cbor.Array, 3},
	{"\xa2\x61a\x01\x61b\x82\x02\x03", cbor.Map, 2},
	{"\xc1\x1a\x51\x4b\x67\xb0", cbor.Tag, 1},
	{"\xf4", cbor.Simple, 20},
	{"\xf0", cbor.Simple, 16},
	{"\xf8\xff", cbor.Simple, 255},
}

func TestHeads(t *testing.T) {
	for _, e := range examples {
		r, err := cbor.Open([]byte(e.data))
		if err != nil {
			t.Fatalf("% x: %v", e.data, err)
		}
		if h := r.Next(); h.Kind != e.kind || h.N != e.n || h.Indefinite() {
			t.Errorf("% x is %+v, want kind %d of %d", e.data, h, e.kind, e.n)
		}
		if e.kind != cbor.Simple {
			if got := cbor.AppendHead(nil, e.kind, e.n); !bytes.HasPrefix([]byte(e.data), got) {
				t.Errorf("the head of % x is written % x", e.data, got)
			}
		}
	}
}

// TestFloats: of RFC 8949 appendix A.
func TestFloats(t *testing.T) {
	for data, want := range map[string]float64{
		"\xf9\x00\x00": 0, "\xf9\x80\x00": math.Copysign(0, -1), "\xf9\x3c\x00": 1, "\xf9\x3e\x00": 1.5, "\xf9\x7b\xff": 65504,
		"\xf9\x00\x01": 5.960464477539063e-8, "\xf9\x04\x00": 0.00006103515625, "\xf9\xc4\x00": -4, "\xf9\x7c\x00": math.Inf(1), "\xf9\xfc\x00": math.Inf(-1),
		"\xfa\x47\xc3\x50\x00": 100000, "\xfa\x7f\x7f\xff\xff": 3.4028234663852886e+38, "\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a": 1.1, "\xf9\x7e\x00": math.NaN(),
	} {
		r, err := cbor.Open([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := r.Next().Float(); !ok || math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("% x is %v, want %v", data, got, want)
		}
	}
	for _, none := range []string{"\x00", "\xf4", "\xf6", "\x80"} {
		r, err := cbor.Open([]byte(none))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := r.Next().Float(); ok {
			t.Errorf("% x is taken for a float", none)
		}
	}
}

func TestNotWellFormed(t *testing.T) {
	for _, data := range []string{"", "\x18", "\x1c", "\x61", "\x81", "\xa1\x00", "\xff", "\x9f", "\x00\x00", "\x5f\x61x\xff", "\xbf\x00\xff", "\xc4", "\xf8\x00"} {
		if _, err := cbor.Open([]byte(data)); !schema.Is(err, schema.Invalid) {
			t.Errorf("% x: %v, want it refused", data, err)
		}
	}
}

// FuzzOpen: what the judge lets pass is read to its end, within the data, and every text and every float as the judge's
// own decoder has it; walking and skipping come to the same place.
func FuzzOpen(f *testing.F) {
	for _, e := range examples {
		f.Add([]byte(e.data))
	}
	for _, seed := range []string{"\x9f\x01\x82\x02\x03\x9f\x04\xff\xff", "\xbf\x61a\x01\xff", "\x5f\x41x\x40\xff", "\x7f\x61x\xff", "\xc4\x82\x21\x19\x6a\xb3", "\xf9\x7e\x01", "\xd8\x40\x41x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := cbor.Open(data)
		if err != nil {
			return
		}
		skipped := r
		skipped.Skip()
		if skipped.Offset() != len(data) {
			t.Fatalf("% x: skipped to %d of %d", data, skipped.Offset(), len(data))
		}
		walk(t, &r, data)
		if r.Offset() != len(data) {
			t.Fatalf("% x: walked to %d of %d", data, r.Offset(), len(data))
		}
	})
}

// walk reads an item with all that is in it.
func walk(t *testing.T, r *cbor.Reader, data []byte) {
	t.Helper()
	start := r.Offset()
	h := r.Next()
	n := h.N
	switch h.Kind {
	case cbor.Uint, cbor.Negative:
	case cbor.Bytes, cbor.Text:
		content := r.Content(h)
		var want []byte
		if h.Kind == cbor.Text {
			var text string
			if judge.Unmarshal(data[start:r.Offset()], &text) != nil {
				return // not UTF-8
			}
			want = []byte(text)
		} else if err := judge.Unmarshal(data[start:r.Offset()], &want); err != nil {
			t.Fatal(err)
		}
		if !h.Indefinite() && !bytes.Equal(content, want) {
			t.Fatalf("% x is %q, want %q", data[start:], content, want)
		}
	case cbor.Simple:
		if f, ok := h.Float(); ok {
			var want float64
			if err := judge.Unmarshal(data[start:r.Offset()], &want); err != nil || f != want && !math.IsNaN(f) {
				t.Fatalf("% x is %v, want %v, %v", data[start:], f, want, err)
			}
		}
	case cbor.Tag:
		walk(t, r, data)
	case cbor.Map:
		n *= 2
		fallthrough
	case cbor.Array:
		for i := uint64(0); h.Indefinite() && !r.Break() || !h.Indefinite() && i < n; i++ {
			walk(t, r, data)
		}
	}
}
