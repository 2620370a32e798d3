package export

import (
	"io"
	"maps"
	"slices"
	"time"

	"berth/internal/sheet"
	"berth/schema"
)

// bookWriter writes a workbook: a sheet of readings, which goes on in further ones when it is full, and one that says what
// the file holds.
type bookWriter struct {
	clock
	out   *sheet.Book
	info  map[string]string
	cells []sheet.Cell
}

func newBook(w io.Writer, o Options) (Writer, error) { //nolint:iface // what the table of formats holds
	b := &bookWriter{clock: clockOf(o), out: sheet.NewBook(w), info: o.Info}
	return b, b.out.Sheet("Readings",
		sheet.Column{Title: "gateway", Width: 24}, sheet.Column{Title: "sensor", Width: 32},
		sheet.Column{Title: "time", Width: 36}, sheet.Column{Title: "date (" + b.zone.String() + ")", Width: 24},
		sheet.Column{Title: "kind", Width: 8}, sheet.Column{Title: "value", Width: 18})
}

// Reading writes a row. The time is there twice: exactly, with its offset, as text, and as a date to reckon with.
func (b *bookWriter) Reading(gateway, sensor string, t int64, v schema.Value) error {
	at := b.time(t)
	b.cells = append(b.cells[:0], sheet.Text(gateway), sheet.Text(sensor), sheet.Text(at.Format(time.RFC3339Nano)), sheet.Time(at),
		sheet.Text(v.Kind().String()), sheet.Value(v))
	return b.out.Row(b.cells...)
}

// Flush hands on what is compressed.
func (b *bookWriter) Flush() error { return b.out.Flush() }

// Close adds the sheet that says what the file holds.
func (b *bookWriter) Close(info map[string]string) error {
	if err := b.out.Sheet("Export", sheet.Column{Width: 24}, sheet.Column{Width: 60}); err != nil {
		return err
	}
	for _, said := range []map[string]string{b.info, info} {
		for _, key := range slices.Sorted(maps.Keys(said)) {
			if err := b.out.Row(sheet.Text(key).Bold(), sheet.Text(said[key])); err != nil {
				return err
			}
		}
	}
	return b.out.Close()
}
