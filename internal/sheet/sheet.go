// Package sheet writes tables that spreadsheets open: workbooks (XLSX, ECMA-376) and CSV (RFC 4180), row by row, straight
// into the writer. It keeps no row and needs no disk, so that a workbook of any size begins at once and takes no more
// memory than a small one; libraries that write workbooks gather them first.
//
//	book := sheet.NewBook(w)
//	book.Sheet("Readings", sheet.Column{Title: "sensor", Width: 30}, sheet.Column{Title: "value", Format: "0.00"})
//	book.Row(sheet.Text("boiler.temperature"), sheet.Float(21.5))   // as many as wanted; a full sheet goes on in the next
//	err := book.Close()
//
// Its one invariant: a cell holds what it was given and nothing of it is ever a formula. In a workbook a text is of type
// text, so none is; in CSV what could be one is quoted, by the rule of [Quote].
package sheet

import (
	"math"
	"strconv"
	"time"

	"berth/schema"
)

// Cell is one cell of a row. The zero Cell is empty.
type Cell struct {
	kind kind
	bold bool
	text string
	bits uint64
	at   time.Time
}

type kind uint8

const (
	empty kind = iota
	text
	float
	integer
	boolean
	moment
)

// Text returns a cell that holds a text.
func Text(s string) Cell { return Cell{kind: text, text: s} }

// Float returns a cell that holds a number; NaN and the infinities, which spreadsheets lack, are texts.
func Float(f float64) Cell { return Cell{kind: float, bits: math.Float64bits(f)} }

// Int returns a cell that holds a whole number; one of more than 15 digits, which a spreadsheet would round, is a text.
func Int(n int64) Cell { return Cell{kind: integer, bits: uint64(n)} }

// Bool returns a cell that holds true or false.
func Bool(b bool) Cell {
	c := Cell{kind: boolean}
	if b {
		c.bits = 1
	}
	return c
}

// Time returns a cell that holds a date and time: in a workbook as the clock shows it in the time's zone, which workbooks
// do not know, to the millisecond; in CSV as RFC 3339 with offset, exactly.
func Time(t time.Time) Cell { return Cell{kind: moment, at: t} }

// Value returns a cell that holds a reading's value.
func Value(v schema.Value) Cell {
	switch v.Kind() {
	case schema.Float:
		return Float(v.Float())
	case schema.Int:
		return Int(v.Int())
	case schema.Bool:
		return Bool(v.Bool())
	case schema.Text:
		return Text(v.Text())
	default:
		return Cell{}
	}
}

// Bold returns the cell in bold, for headings and totals. CSV has none.
func (c Cell) Bold() Cell {
	c.bold = true
	return c
}

// mostInt is the largest whole number that a spreadsheet shows with all its digits.
const mostInt = 999_999_999_999_999

// plain returns the cell as text without quoting: what CSV holds, and a workbook where it cannot hold it otherwise.
func (c Cell) plain() string {
	switch c.kind {
	case text:
		return c.text
	case float:
		return strconv.FormatFloat(math.Float64frombits(c.bits), 'g', -1, 64)
	case integer:
		return strconv.FormatInt(int64(c.bits), 10)
	case boolean:
		return strconv.FormatBool(c.bits != 0)
	case moment:
		return c.at.Format(time.RFC3339Nano)
	default:
		return ""
	}
}
