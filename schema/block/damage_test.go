package block

import (
	"slices"
	"strings"
	"testing"

	"berth/schema"
	"berth/schema/internal/wire"
)

func TestEveryTruncationIsAnError(t *testing.T) {
	for name, c := range goldenContents() {
		data := encoded(t, c)
		for n := range data {
			if _, err := Open(data[:n]); !schema.Is(err, schema.Invalid) {
				t.Fatalf("%s cut at %d: %v", name, n, err)
			}
		}
		if _, err := Open(append(data, 0)); !schema.Is(err, schema.Invalid) {
			t.Fatalf("%s with a byte more: %v", name, err)
		}
	}
}

func TestEveryFlippedBitIsAnErrorThatNamesTheBlock(t *testing.T) {
	for name, c := range goldenContents() {
		data := encoded(t, c)
		names := len(Magic) + 2 + len(c.Gateway)
		for i := range 8 * len(data) {
			data[i/8] ^= 1 << (i % 8)
			_, err := Open(data)
			data[i/8] ^= 1 << (i % 8)
			if !schema.Is(err, schema.Invalid) {
				t.Fatalf("%s, bit %d flipped: %v", name, i, err)
			}
			if i/8 >= names && !strings.Contains(err.Error(), c.Gateway) {
				t.Fatalf("%s, bit %d flipped: the error does not name the gateway: %v", name, i, err)
			}
		}
	}
}

// A checksum can be right by malice or by a writer's mistake; then too a reader neither panics nor returns readings that
// break what a Content promises.
func TestDamageUnderARightChecksumDoesNotPanic(t *testing.T) {
	for _, c := range goldenContents() {
		data := encoded(t, c)
		body := data[:len(data)-wire.ChecksumSize]
		for i := range 8 * len(body) {
			body[i/8] ^= 1 << (i % 8)
			readAll(t, wire.Seal(slices.Clip(body), 0))
			body[i/8] ^= 1 << (i % 8)
		}
		for n := range body {
			readAll(t, wire.Seal(body[:n:n], 0))
		}
	}
}

// readAll reads what can be read of data, and checks what a reader promises.
func readAll(t *testing.T, data []byte) {
	t.Helper()
	r, err := Open(data)
	if err != nil {
		return
	}
	content, err := r.Content()
	if err != nil {
		if !strings.Contains(err.Error(), "gateway") {
			t.Fatalf("the error does not name the block: %v", err)
		}
		return
	}
	for i := range content.Columns {
		c, info := &content.Columns[i], r.Columns()[i]
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		n := c.Len()
		if uint64(n) != info.Count || c.Times[0] < r.First() || c.Times[n-1] > r.Last() {
			t.Fatalf("column %q of %d readings, %d to %d, in a block of %d to %d", c.Sensor, n, c.Times[0], c.Times[n-1], r.First(), r.Last())
		}
	}
	if content.check() != nil {
		return // an identity under two kinds, which only a decoded pair of columns shows
	}
	again, err := Encode(nil, content)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := Open(again)
	if err != nil {
		t.Fatal(err)
	}
	got, err := reader.Content()
	if err != nil {
		t.Fatal(err)
	}
	if diff := diff(content, got); diff != "" {
		t.Fatal(diff)
	}
}

func encoded(t testing.TB, c *Content) []byte {
	t.Helper()
	data, err := Encode(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzOpen reads any bytes behind a right checksum.
func FuzzOpen(f *testing.F) {
	for _, c := range goldenContents() {
		data := encoded(f, c)
		f.Add(data[:len(data)-wire.ChecksumSize])
	}
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, body []byte) {
		readAll(t, wire.Seal(slices.Clip(body), 0))
		readAll(t, body)
	})
}

// FuzzInts reads any bytes as a stream of integers.
func FuzzInts(f *testing.F) {
	var e ints
	v := []int64{3, 4, 4, 4, 9, 900, 5, -5}
	f.Add(e.append(nil, v, boundsOf(v)), uint16(len(v)), int64(3), int64(-5), int64(-5), int64(900))
	v = []int64{0, 2, 3, 5, 7, 8, 9, 11, 900, 902, 904, 905, 907, 909, 910, 911, 913, 914, 916, 917}
	f.Add(e.append(nil, v, boundsOf(v)), uint16(len(v)), int64(0), int64(917), int64(0), int64(917)) // digits, and an exception
	v = []int64{7, 7, 7, 7, 7, 7, 7, 9, 9, 9, 9, 9, 9, 9, 9, 8, 8, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7, 7, 7, 7, 7, 9}
	f.Add(e.append(nil, v, boundsOf(v)), uint16(len(v)), int64(7), int64(9), int64(7), int64(9)) // moves
	f.Fuzz(func(t *testing.T, data []byte, n uint16, first, last, least, most int64) {
		b := bounds{first: first, last: last, min: least, max: most}
		out := make([]int64, n)
		if !readInts(out, data, b) {
			return
		}
		for _, v := range out {
			if !within(v, b) {
				t.Fatalf("%d is not in %+v", v, b)
			}
		}
	})
}
