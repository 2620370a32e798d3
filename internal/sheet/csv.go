package sheet

import (
	"encoding/csv"
	"io"
	"math"
	"strings"
)

// CSVType is the media type of what [CSV] writes (RFC 4180 §3).
const CSVType = "text/csv; charset=utf-8; header=present"

// Quote makes of a text one that no spreadsheet takes for a formula: a text that begins with = + - @, a tab or a line's
// end gets an apostrophe before it, and so does one that begins with an apostrophe, so that [Unquote] is exact.
func Quote(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r\n'", s[0]) >= 0 {
		return "'" + s
	}
	return s
}

// Unquote returns the text that Quote was given: it takes one apostrophe away where the text begins with one.
func Unquote(s string) string { return strings.TrimPrefix(s, "'") }

// CSV writes rows of comma-separated values (RFC 4180, UTF-8). Texts are quoted by [Quote]; numbers are not, but for the
// infinities. It is for one goroutine.
type CSV struct {
	w   *csv.Writer
	row []string
}

// NewCSV begins a table with its columns' titles.
func NewCSV(w io.Writer, titles ...string) (*CSV, error) {
	c := ContinueCSV(w)
	return c, c.w.Write(titles)
}

// ContinueCSV goes on with a table whose titles were written before.
func ContinueCSV(w io.Writer) *CSV { return &CSV{w: csv.NewWriter(w)} }

// Row writes a row.
func (c *CSV) Row(cells ...Cell) error {
	c.row = c.row[:0]
	for i := range cells {
		s := cells[i].plain()
		if k := cells[i].kind; k == text || k == float && math.IsInf(math.Float64frombits(cells[i].bits), 0) {
			s = Quote(s)
		}
		c.row = append(c.row, s)
	}
	return c.w.Write(c.row)
}

// Flush hands on all rows so far.
func (c *CSV) Flush() error {
	c.w.Flush()
	return c.w.Error()
}
