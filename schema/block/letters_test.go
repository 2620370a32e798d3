package block

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"berth/schema/internal/wire"
)

func TestLettersAreAPrefixCode(t *testing.T) {
	sum := 0.0
	for _, c := range letters().codes {
		if c.length > 0 {
			sum += 1 / float64(int(1)<<c.length)
		}
	}
	if sum > 1 {
		t.Fatalf("the codes overlap: their lengths sum up to %g", sum)
	}
}

func TestPackedBytesAreReadBackInEveryForm(t *testing.T) {
	forms := make(map[byte]bool)
	for _, want := range [][]byte{{0x80, 0xff, 0}, bytes.Repeat([]byte{0x80, 0xff, 0, 7}, 100), []byte("boiler.temperature")} {
		forms[checkPacked(t, want)] = true
	}
	for form := byte(packedRaw); form <= packedLetters; form++ {
		if !forms[form] {
			t.Errorf("nothing was packed in form %d", form)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		switch pick(t, "kind", 3) {
		case 0:
			want = []byte(rapid.StringMatching(`([a-z_.]{1,8}[0-9A-Z]?){0,20}`).Draw(t, "name"))
		case 1:
			want = bytes.Repeat(want, 20)
		}
		checkPacked(t, want)
	})
}

// checkPacked packs bytes, reads them back, and returns the form that they were packed in.
func checkPacked(t rapid.TB, want []byte) byte {
	t.Helper()
	data := appendPackedBytes([]byte("before"), want)[len("before"):]
	c := wire.NewCursor(data)
	if got := readPackedBytes(c, uint64(len(want))); !bytes.Equal(want, got) || !c.Done() {
		t.Fatalf("%q read back as %q", want, got)
	}
	if len(want) > 0 && readPackedBytes(wire.NewCursor(data), uint64(len(want)-1)) != nil {
		t.Fatal("more bytes than allowed were read")
	}
	return data[0] & (1<<packedForms - 1)
}
