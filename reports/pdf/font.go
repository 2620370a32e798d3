package pdf

import (
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"berth/schema"
)

// names are files of fonts that have Latin and Chinese, the preferred first. A collection (.ttc) cannot be used, nor a font
// whose outlines are PostScript's (.otf).
var names = []string{
	"LXGWWenKai-Regular.ttf", "LXGWWenKaiGB-Regular.ttf", "LXGWWenKaiLite-Regular.ttf", "LXGWNeoXiHei.ttf",
	"NotoSansSC-Regular.ttf", "NotoSansCJKsc-Regular.ttf", "SourceHanSansSC-Regular.ttf", "NotoSerifSC-Regular.ttf", "simhei.ttf", "msyh.ttf",
}

// folders are where fonts are installed; those below a home are added to them.
var folders = []string{"/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts"}

// mostFont is the largest file that is read as a font.
const mostFont = 64 << 20

// mostLooked bounds how many files are looked at for a font.
const mostLooked = 20_000

// Find returns the file of a font with Latin and Chinese: the given one, else one of well-known names in the folders in which
// systems keep fonts; "" where there is none.
func Find(given string) string {
	if given != "" {
		return given
	}
	in := slices.Clone(folders)
	if home, err := os.UserHomeDir(); err == nil {
		in = append(in, filepath.Join(home, ".local/share/fonts"), filepath.Join(home, ".fonts"), filepath.Join(home, "Library/Fonts"))
	}
	return find(in)
}

func find(folders []string) string {
	best, rank, looked := "", len(names), 0
	for _, folder := range folders {
		_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if looked++; looked > mostLooked {
				return filepath.SkipAll
			}
			if err != nil {
				return nil //nolint:nilerr // what cannot be read has no font for us
			}
			if at := slices.Index(names, d.Name()); at >= 0 && at < rank {
				best, rank = path, at
			}
			return nil
		})
	}
	return best
}

// font is a TrueType font and which characters it has.
type font struct {
	data []byte
	has  [1 << 16 / 64]uint64
}

// readFont reads a font's file. Invalid says that it cannot be used, and why.
func readFont(path string) (*font, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > mostFont {
		return nil, schema.Errorf(schema.Invalid, "the font %s has %d bytes, more than %d", path, info.Size(), mostFont)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "the font %s cannot be read", path).WithCause(err)
	}
	f, ok := parseFont(data)
	if !ok {
		return nil, schema.Errorf(schema.Invalid, "%s is no TrueType font that can be used: a .ttf with a Unicode cmap is needed", path)
	}
	for _, c := range "Az09.,中文报表网关" {
		if !f.covers(c) {
			return nil, schema.Errorf(schema.Invalid, "the font %s has no %q", path, c).WithNext("give one with Latin and Chinese, such as LXGW WenKai")
		}
	}
	return f, nil
}

// covers reports whether the font has a character.
func (f *font) covers(c rune) bool { return c > 0 && c < 1<<16 && f.has[c/64]&(1<<(c%64)) != 0 }

// table is bytes that are read by offset; beyond their end all is 0.
type table []byte

func (t table) short(at int) int {
	if at < 0 || at+2 > len(t) {
		return 0
	}
	return int(binary.BigEndian.Uint16(t[at:]))
}

func (t table) long(at int) int { return t.short(at)<<16 | t.short(at+2) }

// from returns what begins at an offset.
func (t table) from(at int) table {
	if at < 0 || at > len(t) {
		return nil
	}
	return t[at:]
}

// parseFont finds out which characters of the basic plane a TrueType font has: those of the first segment mapping to delta
// values (format 4 of cmap, OpenType 1.9) for Unicode, which is the one that is used.
func parseFont(data []byte) (*font, bool) {
	t := table(data)
	if kind := t.long(0); kind != 0x00010000 && kind != 0x74727565 || t.short(4) > 256 {
		return nil, false
	}
	var cmap, glyphs table
	for i := range t.short(4) {
		switch entry := t.from(12 + 16*i); string(entry[:min(4, len(entry))]) {
		case "cmap":
			cmap = t.from(entry.long(8))
		case "glyf":
			glyphs = t.from(entry.long(8))
		}
	}
	for i := range min(cmap.short(2), 64) {
		system, coded := cmap.short(4+8*i), cmap.short(6+8*i)
		mapping := cmap.from(cmap.long(8 + 8*i))
		if (system == 3 && coded == 1 || system == 0) && mapping.short(0) == 4 && len(glyphs) > 0 {
			f := &font{data: data}
			f.mark(mapping)
			return f, true
		}
	}
	return nil, false
}

// mark notes the characters of a mapping of format 4.
func (f *font) mark(m table) {
	segments := m.short(6) / 2
	for i := range segments {
		end, start := m.short(14+2*i), m.short(16+2*segments+2*i)
		delta, at := m.short(16+4*segments+2*i), 16+6*segments+2*i
		offset := m.short(at)
		for c := start; c <= end && c < 1<<16-1; c++ {
			glyph := c + delta
			if offset != 0 {
				if glyph = m.short(at + offset + 2*(c-start)); glyph != 0 {
					glyph += delta
				}
			}
			if glyph&0xffff != 0 {
				f.has[c/64] |= 1 << (c % 64)
			}
		}
	}
}
