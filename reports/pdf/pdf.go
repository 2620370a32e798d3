// Package pdf writes reports as PDF files, by go-pdf/fpdf, which only this package knows: text that can be searched, charts as
// lines and areas, A4 across. For Chinese a TrueType font is needed that has both Latin and Chinese; of it only the characters
// that are used go into the file.
//
// Its one invariant: no character is ever an empty box. What the font has not is a question mark, and the file says so.
package pdf

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"codeberg.org/go-pdf/fpdf"

	"berth/internal/reportview"
	"berth/schema"
)

// Measures of a page, in millimetres, and of text, in points.
const (
	pageWidth, pageHeight = 297.0, 210.0
	margin                = 12.0
	width                 = pageWidth - 2*margin
	floor                 = pageHeight - 16.0 // below it stands only the page's number

	titleSize, headSize, textSize, smallSize = 17.0, 12.5, 9.0, 8.0
	textHeight, rowHeight                    = 4.6, 5.0
)

// ink is a color.
type ink [3]int

var (
	black  = ink{22, 36, 43}
	muted  = ink{82, 101, 111}
	faint  = ink{205, 214, 219}
	accent = ink{11, 102, 128}
	amber  = ink{180, 83, 9}
)

// document is a report that is being written.
type document struct {
	*fpdf.Fpdf

	v      *reportview.View
	font   *font // nil: Latin alone
	latin  func(string) string
	family string
	missed bool // a character was a question mark
}

// Write writes a report. The font is a file's path, as Find returns it; without one, or where it cannot be used, the report is
// written in English and says why.
func Write(w io.Writer, v *reportview.View, fontFile string) (err error) {
	defer func() {
		if p := recover(); p != nil { // the library reads a font without looking where it ends
			err = schema.Errorf(schema.Invalid, "the PDF cannot be written with the font %s", fontFile).WithNext("give another font").WithCause(fmt.Errorf("panic: %v", p))
		}
	}()
	d, why, err := begin(v, fontFile)
	if err != nil {
		return err
	}
	d.head()
	d.limits(why)
	for i := range v.Report.Gateways {
		d.gateway(&v.Report.Gateways[i])
	}
	d.methods()
	if d.missed && why == "" {
		d.paragraph(d.v.T("pdf.missed"), muted)
	}
	return d.Output(w)
}

// begin makes the document. Why says why there is no font for Chinese.
func begin(v *reportview.View, fontFile string) (d *document, why string, err error) {
	d = &document{Fpdf: fpdf.New("L", "mm", "A4", ""), v: v, family: "Helvetica"}
	if fontFile != "" {
		if d.font, err = readFont(fontFile); err != nil {
			why = err.Error()
		}
	} else {
		why = "no font was found"
	}
	if d.font != nil {
		d.family = "report"
		d.AddUTF8FontFromBytes(d.family, "", d.font.data)
	} else {
		if d.v, err = reportview.New(v.Report, "en"); err != nil {
			return nil, "", err
		}
		d.latin = d.UnicodeTranslatorFromDescriptor("") // Windows-1252
		why = d.v.T("pdf.no_font", "why", why)
	}
	d.SetMargins(margin, margin, margin)
	d.SetAutoPageBreak(false, 0)
	d.SetCellMargin(0.8)
	d.AliasNbPages("")
	d.SetTitle(d.v.T("of", "provider", v.Report.Provider), true)
	d.SetCreator("Berth", true)
	d.SetCreationDate(v.Report.Made)
	d.SetModificationDate(v.Report.Made)
	d.SetLang(d.v.Language.Tag)
	d.SetFooterFunc(d.footer)
	d.AddPage()
	return d, why, d.Error()
}

// footer says what the page is of.
func (d *document) footer() {
	d.use(smallSize, muted)
	d.SetXY(margin, pageHeight-11)
	r := d.v.Report
	d.CellFormat(width/2, 5, d.text(r.Provider+" · "+d.v.Span(r.From, r.To)+" · "+r.Zone), "", 0, "L", false, 0, "")
	d.CellFormat(width/2, 5, d.text(d.v.T("page", "n", d.PageNo(), "all", "{nb}")), "", 0, "R", false, 0, "")
}

// use sets size and color of what is written next.
func (d *document) use(size float64, c ink) {
	d.SetFont(d.family, "", size)
	d.SetTextColor(c[0], c[1], c[2])
}

// text returns a text as the font can write it.
func (d *document) text(s string) string {
	out := make([]rune, 0, len(s))
	for _, c := range s {
		if !d.covers(c) {
			c, d.missed = '?', true
		}
		out = append(out, c)
	}
	if d.latin != nil {
		return d.latin(string(out))
	}
	return string(out)
}

// more are the characters of Windows-1252 that are not of Latin-1.
const more = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"

// covers reports whether the font has a character.
func (d *document) covers(c rune) bool {
	if d.font != nil {
		return d.font.covers(c)
	}
	if c >= ' ' && c < 0x7f || c >= 0xa0 && c <= 0xff {
		return true
	}
	for _, m := range more {
		if c == m {
			return true
		}
	}
	return false
}

// room begins a new page where less than so much is left of this one.
func (d *document) room(height float64) {
	if d.GetY()+height > floor {
		d.AddPage()
		d.SetY(margin)
	}
}

// line writes one line.
func (d *document) line(s string, size float64, c ink) {
	height := size * 0.55
	d.room(height)
	d.use(size, c)
	d.SetX(margin)
	d.CellFormat(width, height, d.fit(s, width), "", 1, "L", false, 0, "")
}

// heading writes a heading, over as many lines as it needs, with room below it for so much.
func (d *document) heading(s string, below float64) {
	d.use(headSize, black)
	lines := d.lines(s, width)
	d.room(headSize*0.55*float64(len(lines)) + 4 + below)
	d.Ln(3)
	d.use(headSize, black)
	for _, l := range lines {
		d.SetX(margin)
		d.CellFormat(width, headSize*0.55, l, "", 1, "L", false, 0, "")
	}
	d.Ln(1)
}

// lines breaks a text into at most mostLines lines of a width; the last says by a … that it was cut.
func (d *document) lines(s string, width float64) []string {
	all := d.split(s, width)
	if len(all) == 0 {
		return []string{""}
	}
	if len(all) > mostLines {
		all = all[:mostLines]
		cut := []rune(all[mostLines-1])
		all[mostLines-1] = string(cut[:max(len(cut)-2, 0)]) + d.text("…")
	}
	return all
}

// paragraph writes a text over as many lines as it needs.
func (d *document) paragraph(s string, c ink) {
	d.use(textSize, c)
	for _, l := range d.split(s, width) {
		d.room(textHeight)
		d.use(textSize, c) // a new page's footer has its own
		d.SetX(margin)
		d.CellFormat(width, textHeight, l, "", 1, "L", false, 0, "")
	}
}

// split breaks a text into lines of a width.
func (d *document) split(s string, width float64) []string {
	s = d.text(s)
	if d.font != nil {
		return hang(d.SplitText(s, width))
	}
	var lines []string
	for _, l := range d.SplitLines([]byte(s), width) {
		lines = append(lines, string(l))
	}
	return lines
}

// closing are characters that begin no line: at most two of them hang over the end of the one before.
const closing = "）、，。；：！？」』》】”’…)],.;:!?"

// hang moves what begins no line to the end of the line before.
func hang(lines []string) []string {
	for i := 1; i < len(lines); i++ {
		for range 2 {
			c, size := utf8.DecodeRuneInString(lines[i])
			if size == 0 || !strings.ContainsRune(closing, c) || lines[i-1] == "" {
				break
			}
			lines[i-1], lines[i] = lines[i-1]+lines[i][:size], lines[i][size:]
		}
	}
	return slices.DeleteFunc(lines, func(l string) bool { return l == "" })
}

// fit returns a text as the font can write it, cut to a width.
func (d *document) fit(s string, width float64) string {
	const most = 500
	if cut := []rune(s); len(cut) > most {
		s = string(cut[:most])
	}
	width -= 2 * d.GetCellMargin()
	text := d.text(s)
	if d.GetStringWidth(text) <= width {
		return text
	}
	runes := []rune(s)
	low, high := 0, len(runes)
	for low < high {
		middle := (low + high + 1) / 2
		if d.GetStringWidth(d.text(string(runes[:middle])+"…")) <= width {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return d.text(string(runes[:low]) + "…")
}
