// Package export writes readings as files: CSV, JSON lines, workbooks (XLSX) and Parquet, a reading at a time, straight
// into the writer and in memory that does not grow with them. Which readings, and in which order, is left to who calls.
//
// Its one invariant: what a file holds of a reading is exactly the reading: its time to the nanosecond with the offset of
// the provider's zone, its value in its own kind.
package export

import (
	"encoding/json"
	"io"
	"strconv"
	"time"

	"berth/internal/api"
	"berth/internal/sheet"
	"berth/schema"
)

// Options say how a file is written.
type Options struct {
	Zone     *time.Location    // of the times; nil is UTC
	Continue bool              // the file goes on where another ended: no titles come first. For formats that take it
	Info     map[string]string // what is said of the file within it, where the format has a place for it
}

// Writer writes one file. Its methods return the first error of what it writes to. It is for one goroutine.
type Writer interface {
	// Reading writes one reading.
	Reading(gateway, sensor string, t int64, v schema.Value) error
	// Flush hands on what can be handed on.
	Flush() error
	// Close ends the file, and says in it what info says where the format has a place for it. It does not close what is
	// written to.
	Close(info map[string]string) error
}

// Format is a kind of file.
type Format struct {
	Name      string // as requests name it
	Ending    string // of files
	MediaType string
	Goes      bool // a file that was cut can be gone on with: the rows so far are as they would be
	New       func(w io.Writer, o Options) (Writer, error)
}

// formats is the table of formats, in the order in which people are shown them.
var formats = []Format{
	{Name: "csv", Ending: "csv", MediaType: sheet.CSVType, Goes: true, New: newCSV},
	{Name: "jsonl", Ending: "jsonl", MediaType: "application/jsonl; charset=utf-8", Goes: true, New: newLines},
	{Name: "xlsx", Ending: "xlsx", MediaType: sheet.BookType, New: newBook},
	{Name: "parquet", Ending: "parquet", MediaType: "application/vnd.apache.parquet", New: newParquet},
}

// Names returns what formats are called.
func Names() []string {
	names := make([]string, 0, len(formats))
	for _, f := range formats {
		names = append(names, f.Name)
	}
	return names
}

// Find returns the format of a name, or Invalid.
func Find(name string) (Format, error) {
	for _, f := range formats {
		if f.Name == name {
			return f, nil
		}
	}
	return Format{}, schema.Errorf(schema.Invalid, "the format %q is unknown", name).WithNext("use csv, jsonl, xlsx or parquet")
}

// clock writes times in one zone.
type clock struct{ zone *time.Location }

func clockOf(o Options) clock {
	if o.Zone == nil {
		return clock{time.UTC}
	}
	return clock{o.Zone}
}

func (c clock) time(ns int64) time.Time { return time.Unix(0, ns).In(c.zone) }

// millis returns nanoseconds as whole milliseconds, rounded down also before 1970.
func millis(ns int64) int64 {
	return schema.Start(ns, int64(time.Millisecond)) / int64(time.Millisecond)
}

// columns are those of CSV, in order.
var columns = []string{"gateway", "sensor", "time", "time_ms", "time_ns", "kind", "value"}

// csvWriter writes a row per reading.
type csvWriter struct {
	clock
	out   *sheet.CSV
	cells []sheet.Cell
}

func newCSV(w io.Writer, o Options) (Writer, error) { //nolint:iface // what the table of formats holds
	c := &csvWriter{clock: clockOf(o), cells: make([]sheet.Cell, len(columns))}
	if o.Continue {
		c.out = sheet.ContinueCSV(w)
		return c, nil
	}
	var err error
	c.out, err = sheet.NewCSV(w, columns...)
	return c, err
}

// Reading writes a row.
func (c *csvWriter) Reading(gateway, sensor string, t int64, v schema.Value) error {
	c.cells = append(c.cells[:0], sheet.Text(gateway), sheet.Text(sensor), sheet.Time(c.time(t)), sheet.Int(millis(t)), sheet.Int(t),
		sheet.Text(v.Kind().String()), sheet.Value(v))
	return c.out.Row(c.cells...)
}

// Flush hands on all rows.
func (c *csvWriter) Flush() error { return c.out.Flush() }

// Close ends the table; CSV has no place for more.
func (c *csvWriter) Close(map[string]string) error { return c.out.Flush() }

// Line is a reading as a line of JSON.
type Line struct {
	Gateway string `json:"gateway"`
	api.Reading
}

// linesWriter writes a JSON object a line.
type linesWriter struct {
	clock
	out *json.Encoder
}

func newLines(w io.Writer, o Options) (Writer, error) { //nolint:iface // what the table of formats holds
	l := &linesWriter{clock: clockOf(o), out: json.NewEncoder(w)}
	l.out.SetEscapeHTML(false)
	return l, nil
}

// Reading writes a line.
func (l *linesWriter) Reading(gateway, sensor string, t int64, v schema.Value) error {
	return l.out.Encode(&Line{Gateway: gateway, Reading: api.Reading{
		Sensor: sensor, Time: l.time(t), Millis: millis(t), Nanos: strconv.FormatInt(t, 10), Kind: v.Kind().String(), Value: api.Value{Value: v},
	}})
}

// Flush has nothing to do: each line is handed on at once.
func (l *linesWriter) Flush() error { return nil }

// Close has nothing to do: a line is a reading and nothing else.
func (l *linesWriter) Close(map[string]string) error { return nil }

// ParseLine reads a line of JSON as it is written here.
func ParseLine(data []byte) (gateway, sensor string, t int64, v schema.Value, err error) {
	var l struct {
		Gateway string          `json:"gateway"`
		Sensor  string          `json:"sensor"`
		Nanos   string          `json:"time_ns"`
		Kind    string          `json:"kind"`
		Value   json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return "", "", 0, v, schema.Errorf(schema.Invalid, "a line is no reading").WithCause(err)
	}
	if t, err = strconv.ParseInt(l.Nanos, 10, 64); err == nil {
		v, err = parseValue(l.Kind, l.Value)
	}
	if err != nil {
		err = schema.Errorf(schema.Invalid, "a line's time or value cannot be read").WithCause(err)
	}
	return l.Gateway, l.Sensor, t, v, err
}

func parseValue(kind string, data []byte) (schema.Value, error) {
	switch kind {
	case schema.Int.String():
		n, err := strconv.ParseInt(string(data), 10, 64)
		return schema.IntValue(n), err
	case schema.Float.String():
		var n api.Number
		err := json.Unmarshal(data, &n)
		return schema.FloatValue(float64(n)), err
	default:
		var v api.Value
		err := json.Unmarshal(data, &v)
		if err == nil && v.Kind().String() != kind {
			err = schema.Errorf(schema.Invalid, "the value is no %s", kind)
		}
		return v.Value, err
	}
}
