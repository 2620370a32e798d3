package sheet

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The parts of a workbook that are the same in all. Every part is a sheet unless it is named otherwise, so that the first
// part need not know how many will come.
const (
	xmlHead      = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	main         = `http://schemas.openxmlformats.org/spreadsheetml/2006/main`
	office       = `http://schemas.openxmlformats.org/officeDocument/2006/relationships`
	mediaPrefix  = `application/vnd.openxmlformats-officedocument.spreadsheetml.`
	contentTypes = xmlHead + `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">` +
		`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
		`<Default Extension="xml" ContentType="` + mediaPrefix + `worksheet+xml"/>` +
		`<Override PartName="/xl/workbook.xml" ContentType="` + mediaPrefix + `sheet.main+xml"/>` +
		`<Override PartName="/xl/styles.xml" ContentType="` + mediaPrefix + `styles+xml"/></Types>`
	rootRelations = xmlHead + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` +
		`<Relationship Id="rId1" Type="` + office + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`
	sheetHead    = xmlHead + `<worksheet xmlns="` + main + `">`
	frozenTitles = `<sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>`
)

// timeFormat is how a time is shown where its column does not say.
const timeFormat = "yyyy-mm-dd hh:mm:ss.000"

func orTime(format string) string {
	if format == "" {
		return timeFormat
	}
	return format
}

func (b *Book) writeColumns() {
	wide := slices.ContainsFunc(b.columns, func(c Column) bool { return c.Width > 0 })
	if !wide {
		return
	}
	b.write("<cols>")
	for i, c := range b.columns {
		if c.Width > 0 {
			b.write(fmt.Sprintf(`<col min="%d" max="%d" width="%g" customWidth="1"/>`, i+1, i+1, c.Width))
		}
	}
	b.write("</cols>")
}

// styles are the ways in which cells are shown: the first is that of cells that say nothing.
type styles struct {
	all []style
}

type style struct {
	format string
	bold   bool
}

// of returns the number of a style.
func (s *styles) of(format string, bold bool) int {
	if len(s.all) == 0 {
		s.all = []style{{}}
	}
	want := style{format, bold}
	at := slices.Index(s.all, want)
	if at < 0 {
		at = len(s.all)
		s.all = append(s.all, want)
	}
	return at
}

// xml returns the part that says what the styles are (ECMA-376 part 1, §18.8). Formats of one's own begin at 164.
func (s *styles) xml() string {
	s.of("", false)
	var formats, cells strings.Builder
	count := 0
	for _, st := range s.all {
		id, font := 0, 0
		if st.format != "" {
			id = 164 + count
			count++
			fmt.Fprintf(&formats, `<numFmt numFmtId="%d" formatCode="%s"/>`, id, escape(st.format))
		}
		if st.bold {
			font = 1
		}
		fmt.Fprintf(&cells, `<xf numFmtId="%d" fontId="%d" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyFont="1"/>`, id, font)
	}
	numbers := ""
	if count > 0 {
		numbers = fmt.Sprintf(`<numFmts count="%d">%s</numFmts>`, count, formats.String())
	}
	const font = `<sz val="11"/><name val="Calibri"/><family val="2"/>`
	return xmlHead + `<styleSheet xmlns="` + main + `">` + numbers +
		`<fonts count="2"><font>` + font + `</font><font><b/>` + font + `</font></fonts>` +
		`<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>` +
		`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>` +
		`<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
		fmt.Sprintf(`<cellXfs count="%d">%s</cellXfs>`, len(s.all), cells.String()) +
		`<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>`
}

// workbook returns the part that names the sheets.
func workbook(names []string) string {
	var sheets strings.Builder
	for i, name := range names {
		fmt.Fprintf(&sheets, `<sheet name="%s" sheetId="%d" r:id="rId%d"/>`, escape(name), i+1, i+1)
	}
	return xmlHead + `<workbook xmlns="` + main + `" xmlns:r="` + office + `"><sheets>` + sheets.String() + `</sheets></workbook>`
}

// relations returns the part that says where the sheets are.
func relations(sheets int) string {
	var all strings.Builder
	for i := range sheets {
		fmt.Fprintf(&all, `<Relationship Id="rId%d" Type="%s/worksheet" Target="worksheets/sheet%d.xml"/>`, i+1, office, i+1)
	}
	return xmlHead + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` + all.String() +
		fmt.Sprintf(`<Relationship Id="rId%d" Type="%s/styles" Target="styles.xml"/></Relationships>`, sheets+1, office)
}

// mostName is the longest name of a sheet, in UTF-16 units.
const mostName = 31

// uniqueName returns a sheet's name that programs take and that is not among those taken, in any case.
func uniqueName(name string, taken []string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`[]:*?/\`, r) || r < ' ' || r == utf8.RuneError || r == 0xFFFE || r == 0xFFFF {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	name = strings.Trim(strings.TrimSpace(name), "'")
	if name == "" || strings.EqualFold(name, "history") { // Excel keeps that name for itself
		name = strings.TrimSpace(name + " Sheet")
	}
	for n := 1; ; n++ {
		suffix := ""
		if n > 1 {
			suffix = fmt.Sprintf(" (%d)", n)
		}
		try := cutUnits(name, mostName-len(suffix)) + suffix
		if !slices.ContainsFunc(taken, func(t string) bool { return strings.EqualFold(t, try) }) {
			return try
		}
	}
}

// cutUnits cuts a text to a number of UTF-16 units.
func cutUnits(s string, most int) string {
	units := 0
	for i, r := range s {
		if units += utf16.RuneLen(r); units > most {
			return strings.TrimRight(s[:i], " '")
		}
	}
	return s
}

// escape returns a text as XML holds it.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

// appendColumn appends a column's letters: A, B, ..., Z, AA, ...
func appendColumn(buf []byte, n int) []byte {
	if n >= 26 {
		buf = appendColumn(buf, n/26-1)
	}
	return append(buf, byte('A'+n%26))
}

// appendText appends a text as an inline string holds it. What XML cannot hold is written as _xHHHH_, and so is the
// beginning of what looks like that (ECMA-376 part 1, §22.9.2.19). What is not UTF-8 becomes U+FFFD.
func appendText(buf []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '&':
			buf = append(buf, "&amp;"...)
		case r == '<':
			buf = append(buf, "&lt;"...)
		case r == '>':
			buf = append(buf, "&gt;"...)
		case r == '_' && looksEscaped(s[i:]):
			buf = append(buf, "_x005F_"...)
		case r < ' ' && r != '\t' && r != '\n' || r == 0xFFFE || r == 0xFFFF: // a bare CR would be read as LF
			buf = fmt.Appendf(buf, "_x%04X_", r)
		default:
			buf = utf8.AppendRune(buf, r)
		}
		i += size
	}
	return buf
}

// looksEscaped reports whether a text begins like _xHHHH_.
func looksEscaped(s string) bool {
	if len(s) < 7 || s[1] != 'x' || s[6] != '_' {
		return false
	}
	for _, c := range []byte(s[2:6]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}
