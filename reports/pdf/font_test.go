package pdf

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"berth/schema"
)

// ttf returns a font's tables with characters: those of the ranges, two numbers each.
func ttf(ranges ...uint16) []byte {
	segments := len(ranges)/2 + 1
	var ends, starts, deltas, offsets []uint16
	for i := 0; i < len(ranges); i += 2 {
		starts, ends = append(starts, ranges[i]), append(ends, ranges[i+1])
		deltas, offsets = append(deltas, 1), append(offsets, 0)
	}
	starts, ends, deltas, offsets = append(starts, 0xffff), append(ends, 0xffff), append(deltas, 1), append(offsets, 0)
	data := []byte{0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0}
	short := func(values ...uint16) {
		for _, v := range values {
			data = binary.BigEndian.AppendUint16(data, v)
		}
	}
	data = append(data, "cmap"...)
	short(0, 0, 0, 44, 0, 0)
	data = append(data, "glyf"...)
	short(0, 0, 0, 44, 0, 0)
	short(0, 1, 3, 1, 0, 12)                    // one mapping, for Unicode
	short(4, 0, 0, uint16(2*segments), 0, 0, 0) // format 4
	short(append(append(append(append(ends, 0), starts...), deltas...), offsets...)...)
	return data
}

func TestAFontKnowsItsCharacters(t *testing.T) {
	f, ok := parseFont(ttf(' ', '~', 0x4e00, 0x9fff))
	if !ok {
		t.Fatal("it is no font")
	}
	for c, want := range map[rune]bool{'A': true, '~': true, '中': true, 0x9fff: true, 'é': false, 0xffff: false, 0x1f600: false, 0: false} {
		if f.covers(c) != want {
			t.Errorf("it has %q: %v", c, !want)
		}
	}
}

func TestAFontThatLacksSomethingIsRefused(t *testing.T) {
	for name, data := range map[string][]byte{
		"no Latin": ttf(0x4e00, 0x9fff), "no Chinese": ttf(' ', '~'), "a collection": append([]byte("ttcf"), ttf(' ', 0x9fff)[4:]...), "empty": nil,
	} {
		path := filepath.Join(t.TempDir(), "font.ttf")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readFont(path); !schema.Is(err, schema.Invalid) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
}

func TestFindPrefersTheFirstName(t *testing.T) {
	dir := t.TempDir()
	if got := find([]string{dir, "/nowhere"}); got != "" {
		t.Errorf("found %q in an empty folder", got)
	}
	for _, name := range []string{"a/simhei.ttf", "b/c/" + names[0], "b/other.ttf"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := find([]string{dir}); got != filepath.Join(dir, "b/c", names[0]) {
		t.Errorf("found %q", got)
	}
	if got := Find("given.ttf"); got != "given.ttf" {
		t.Errorf("the given font became %q", got)
	}
}

// FuzzParseFont: whatever a file holds, it is a font or it is none.
func FuzzParseFont(f *testing.F) {
	f.Add(ttf(' ', '~'))
	f.Add([]byte("\x00\x01\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if font, ok := parseFont(data); ok {
			font.covers('A')
		}
	})
}
