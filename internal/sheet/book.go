package sheet

import (
	"archive/zip"
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/klauspost/compress/flate"
)

// BookType is the media type of a workbook.
const BookType = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

// MostRows is how many rows a sheet has at most, its titles included (Excel's limit, and LibreOffice's).
const MostRows = 1 << 20

// Column is a column of a sheet.
type Column struct {
	Title  string
	Width  float64 // in characters; 0: as wide as the program makes it
	Format string  // how numbers and times are shown, such as "0.00" or "yyyy-mm-dd"; empty: as they are
}

// Book writes a workbook. Its methods return the first error of the writer. It is for one goroutine.
type Book struct {
	zip    *zip.Writer
	out    *bufio.Writer // of the sheet that is written; nil before the first
	sheets []string      // their names, in order
	styles styles

	title   string // as Sheet was given it
	columns []Column
	shown   []int // the styles of the columns: for numbers, then for times
	rows    int   // of the sheet that is written
	most    int   // rows in a sheet
	scratch []byte
	err     error
}

// NewBook begins a workbook.
func NewBook(w io.Writer) *Book {
	b := &Book{zip: zip.NewWriter(w), most: MostRows}
	// Readings compress so well that more effort than the least gains little and costs a lot.
	b.zip.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	b.part("[Content_Types].xml", contentTypes)
	b.part("_rels/.rels", rootRelations)
	return b
}

// Limit makes sheets go on in others after so many rows, fewer than MostRows.
func (b *Book) Limit(rows int) { b.most = rows }

// Sheet begins a sheet of the given columns and ends the one before. Names are made what programs take: cut, without
// signs that they refuse, and different from each other. A sheet whose columns have no titles at all has no row of them.
func (b *Book) Sheet(name string, columns ...Column) error {
	b.title, b.columns = name, columns
	b.shown = b.shown[:0]
	for _, c := range columns {
		b.shown = append(b.shown, b.styles.of(c.Format, false), b.styles.of(orTime(c.Format), false))
	}
	return b.begin()
}

// begin ends the sheet that is written and begins the next one of the same columns.
func (b *Book) begin() error {
	b.end()
	name := uniqueName(b.title, b.sheets)
	b.sheets = append(b.sheets, name)
	b.rows = 0
	b.open(fmt.Sprintf("xl/worksheets/sheet%d.xml", len(b.sheets)))
	titled := false
	for _, c := range b.columns {
		titled = titled || c.Title != ""
	}
	b.write(sheetHead)
	if titled {
		b.write(frozenTitles)
	}
	b.writeColumns()
	b.write("<sheetData>")
	if titled {
		titles := make([]Cell, len(b.columns))
		for i, c := range b.columns {
			titles[i] = Text(c.Title).Bold()
		}
		b.row(titles)
	}
	return b.err
}

// Row writes a row of the sheet that was begun last. A sheet that is full goes on in a new one with the same titles.
func (b *Book) Row(cells ...Cell) error {
	if b.out == nil {
		return fmt.Errorf("write a row: no sheet was begun")
	}
	if b.rows >= b.most {
		if err := b.begin(); err != nil {
			return err
		}
	}
	b.row(cells)
	return b.err
}

func (b *Book) row(cells []Cell) {
	b.rows++
	buf := append(b.scratch[:0], `<row r="`...)
	buf = strconv.AppendInt(buf, int64(b.rows), 10)
	buf = append(buf, `">`...)
	for i := range cells {
		if cells[i].kind != empty {
			buf = b.cell(buf, i, &cells[i])
		}
	}
	buf = append(buf, "</row>"...)
	b.scratch = buf
	if b.err == nil {
		_, b.err = b.out.Write(buf)
	}
}

// cell appends a cell (ECMA-376 part 1, §18.3.1.4).
func (b *Book) cell(buf []byte, column int, c *Cell) []byte {
	buf = append(buf, `<c r="`...)
	buf = appendColumn(buf, column)
	buf = strconv.AppendInt(buf, int64(b.rows), 10)
	buf = append(buf, '"')
	if style := b.style(column, c); style != 0 {
		buf = append(buf, ` s="`...)
		buf = strconv.AppendInt(buf, int64(style), 10)
		buf = append(buf, '"')
	}
	switch {
	case c.kind == boolean:
		buf = append(buf, ` t="b"><v>`...)
		buf = append(buf, byte('0'+c.bits))
	case c.kind == moment && serialKnown(c.at):
		buf = append(buf, `><v>`...)
		buf = strconv.AppendFloat(buf, serial(c.at), 'f', -1, 64)
	case c.isNumber():
		buf = append(buf, `><v>`...)
		buf = appendNumber(buf, c)
	default:
		buf = append(buf, ` t="inlineStr"><is><t xml:space="preserve">`...)
		buf = appendText(buf, c.plain())
		return append(buf, `</t></is></c>`...)
	}
	return append(buf, `</v></c>`...)
}

// style returns the style of a cell in a column.
func (b *Book) style(column int, c *Cell) int {
	format, shown := "", 0
	if column < len(b.columns) {
		format = b.columns[column].Format
	}
	switch c.kind {
	case moment:
		if column < len(b.columns) {
			shown = b.shown[2*column+1]
		} else {
			shown = b.styles.of(timeFormat, false)
		}
		format = orTime(format)
	case float, integer:
		if column < len(b.columns) {
			shown = b.shown[2*column]
		}
	default:
		format = ""
	}
	if c.bold {
		return b.styles.of(format, true)
	}
	return shown
}

// isNumber reports whether a workbook can hold the cell as a number, exactly.
func (c Cell) isNumber() bool {
	switch c.kind {
	case float:
		f := math.Float64frombits(c.bits)
		return !math.IsNaN(f) && !math.IsInf(f, 0)
	case integer:
		n := int64(c.bits)
		return n >= -mostInt && n <= mostInt
	default:
		return false
	}
}

func appendNumber(buf []byte, c *Cell) []byte {
	if c.kind == integer {
		return strconv.AppendInt(buf, int64(c.bits), 10)
	}
	f := math.Float64frombits(c.bits)
	if f == 0 && math.Signbit(f) {
		return append(buf, "-0.0"...) // "-0" is read as a whole number, which has no sign
	}
	return strconv.AppendFloat(buf, f, 'g', -1, 64)
}

// Workbooks count days from the end of 1899; the 29th of February 1900, which they believe in, is left out of their range
// by beginning after it.
var (
	serialFirst = time.Date(1900, 3, 1, 0, 0, 0, 0, time.UTC)
	serialEpoch = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
)

func serialKnown(t time.Time) bool { return clock(t).After(serialFirst) && t.Year() < 9999 }

// serial returns the days from the epoch to what the clock shows in the time's zone, to the millisecond.
func serial(t time.Time) float64 {
	millis := clock(t).Round(time.Millisecond).Sub(serialEpoch).Milliseconds()
	return float64(millis) / (24 * 60 * 60 * 1000)
}

// clock returns what the clock shows in the time's zone, as if it were UTC.
func clock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// end ends the sheet that is written.
func (b *Book) end() {
	if b.out == nil {
		return
	}
	b.write("</sheetData></worksheet>")
	b.flush()
}

// Close ends the workbook, which has a sheet at least. It does not close the writer.
func (b *Book) Close() error {
	if len(b.sheets) == 0 {
		if err := b.Sheet(""); err != nil {
			return err
		}
	}
	b.end()
	b.part("xl/styles.xml", b.styles.xml())
	b.part("xl/workbook.xml", workbook(b.sheets))
	b.part("xl/_rels/workbook.xml.rels", relations(len(b.sheets)))
	if b.err != nil {
		return b.err
	}
	return b.zip.Close()
}

// part writes a whole file of the workbook.
func (b *Book) part(name, content string) {
	b.open(name)
	b.write(content)
	b.flush()
}

func (b *Book) open(name string) {
	if b.err != nil {
		return
	}
	w, err := b.zip.Create(name)
	if err != nil {
		b.err = err
		return
	}
	b.out = bufio.NewWriterSize(w, 16<<10)
}

func (b *Book) write(s string) {
	if b.err == nil {
		_, b.err = b.out.WriteString(s)
	}
}

func (b *Book) flush() {
	if b.err == nil {
		b.err = b.out.Flush()
	}
	b.out = nil
}

// Flush hands on what was written so far, as far as it is compressed.
func (b *Book) Flush() error {
	if b.err == nil && b.out != nil {
		b.err = b.out.Flush()
	}
	if b.err == nil {
		b.err = b.zip.Flush()
	}
	return b.err
}
