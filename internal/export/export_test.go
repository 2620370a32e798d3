package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"

	"berth/internal/sheet"
	"berth/schema"
)

// reading is what is written and must be read back.
type reading struct {
	gateway, sensor string
	time            int64
	value           schema.Value
}

// same reports whether two values are the same, bit for bit but for the payload of a NaN.
func same(a, b schema.Value) bool {
	if a.Kind() == schema.Float && b.Kind() == schema.Float && math.IsNaN(a.Float()) && math.IsNaN(b.Float()) {
		return true
	}
	return a == b
}

// anyReadings draws readings whose values are the awkward ones as often as not.
func anyReadings(t *rapid.T) []reading {
	text := rapid.OneOf(rapid.StringN(0, 20, -1), rapid.SampledFrom([]string{"=1+1", "+x", "-", "@a", "'", "'=", "a\nb", "_x0041_", "NaN", "\r", "true"}))
	name := rapid.SampledFrom([]string{"gw1", "boiler/1 Süd", "=cmd()", "温度", "a,b\"c"})
	n := rapid.IntRange(0, 20).Draw(t, "count")
	all := make([]reading, 0, n)
	for i := range n {
		r := reading{
			gateway: name.Draw(t, "gateway"), sensor: name.Draw(t, "sensor"),
			time: rapid.Int64Range(-9e17, 7e18).Draw(t, "time") + int64(i),
		}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			r.value = schema.FloatValue(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{
				math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1,
			})).Draw(t, "float"))
		case 1:
			r.value = schema.IntValue(rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, 1 << 53, -5})).Draw(t, "int"))
		case 2:
			r.value = schema.BoolValue(rapid.Bool().Draw(t, "bool"))
		default:
			r.value = schema.TextValue(text.Draw(t, "text"))
		}
		all = append(all, r)
	}
	return all
}

// write writes readings in a format.
func write(t *rapid.T, name string, zone *time.Location, readings []reading) []byte {
	f, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := f.New(&out, Options{Zone: zone, Info: map[string]string{"provider": "provider1"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range readings {
		if err := w.Reading(r.gateway, r.sensor, r.time, r.value); err != nil {
			t.Fatal(err)
		}
		if i%7 == 6 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(map[string]string{"complete": "true"}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readers read back what the formats hold, by readers of others.
var readers = map[string]func(data []byte) ([]reading, error){
	"csv": readCSV, "jsonl": readLines, "xlsx": readBook, "parquet": readParquet,
}

func TestFormatsAreReadBackExactly(t *testing.T) {
	zone, err := time.LoadLocation("America/St_Johns")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := anyReadings(t)
				got, err := readers[name](write(t, name, zone, want))
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != len(want) {
					t.Fatalf("%d readings were read back, of %d", len(got), len(want))
				}
				for i := range want {
					w := want[i]
					if name == "csv" && w.value.Kind() == schema.Text { // encoding/csv's reader takes CR LF for LF
						w.value = schema.TextValue(strings.ReplaceAll(w.value.Text(), "\r\n", "\n"))
					}
					if g := got[i]; g.gateway != w.gateway || g.sensor != w.sensor || g.time != w.time || !same(g.value, w.value) {
						t.Errorf("%#v was read back as %#v", w, g)
					}
				}
			})
		})
	}
}

// valueOf reads a value as text of its kind.
func valueOf(kind, text string) (schema.Value, error) {
	switch kind {
	case "float":
		f, err := strconv.ParseFloat(text, 64)
		return schema.FloatValue(f), err
	case "int":
		n, err := strconv.ParseInt(text, 10, 64)
		return schema.IntValue(n), err
	case "bool":
		b, err := strconv.ParseBool(text)
		return schema.BoolValue(b), err
	default:
		return schema.TextValue(text), nil
	}
}

func readCSV(data []byte) ([]reading, error) {
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		return nil, err
	}
	var all []reading
	for _, row := range rows[1:] {
		ns, err := strconv.ParseInt(row[4], 10, 64)
		if err != nil {
			return nil, err
		}
		if at, err := time.Parse(time.RFC3339Nano, row[2]); err != nil || at.UnixNano() != ns {
			return nil, fmt.Errorf("the time %s is not %d: %w", row[2], ns, err)
		}
		v, err := valueOf(row[5], sheet.Unquote(row[6]))
		if err != nil {
			return nil, err
		}
		all = append(all, reading{sheet.Unquote(row[0]), sheet.Unquote(row[1]), ns, v})
	}
	return all, nil
}

func readLines(data []byte) ([]reading, error) {
	var all []reading
	for line := range bytes.Lines(data) {
		gateway, sensor, t, v, err := ParseLine(line)
		if err != nil {
			return nil, err
		}
		var raw struct {
			Time   time.Time
			Millis int64 `json:"time_ms"`
		}
		if err := json.Unmarshal(line, &raw); err != nil || raw.Time.UnixNano() != t || raw.Millis != raw.Time.UnixMilli() {
			return nil, fmt.Errorf("the times of %s differ (%w)", line, err)
		}
		all = append(all, reading{gateway, sensor, t, v})
	}
	return all, nil
}

func readBook(data []byte) ([]reading, error) {
	f, err := excelize.OpenReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []reading
	rows, err := f.GetRows("Readings", excelize.Options{RawCellValue: true})
	if err != nil {
		return nil, err
	}
	for _, row := range rows[1:] {
		for len(row) < 6 {
			row = append(row, "") // empty texts at the end are left out
		}
		at, err := time.Parse(time.RFC3339Nano, row[2])
		if err != nil {
			return nil, err
		}
		v, err := valueOf(row[4], row[5])
		if err != nil {
			return nil, err
		}
		all = append(all, reading{row[0], row[1], at.UnixNano(), v})
	}
	said, err := f.GetRows("Export")
	if err == nil && (len(said) != 2 || said[0][1] != "provider1" || said[1][1] != "true") {
		err = fmt.Errorf("the workbook says of itself %q", said)
	}
	return all, err
}

func readParquet(data []byte) ([]reading, error) {
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	if zone, _ := f.Lookup("berth.timezone"); zone != "America/St_Johns" {
		return nil, fmt.Errorf("the file's zone is %q", zone)
	}
	if complete, _ := f.Lookup("berth.complete"); complete != "true" {
		return nil, fmt.Errorf("the file does not say that it is complete")
	}
	rows, err := parquet.Read[parquetRow](bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	var all []reading
	for _, r := range rows {
		g := reading{gateway: r.Gateway, sensor: r.Sensor, time: r.Time}
		switch {
		case r.Float != nil && r.Kind == "float":
			g.value = schema.FloatValue(*r.Float)
		case r.Int != nil && r.Kind == "int":
			g.value = schema.IntValue(*r.Int)
		case r.Bool != nil && r.Kind == "bool":
			g.value = schema.BoolValue(*r.Bool)
		case r.Text != nil && r.Kind == "text":
			g.value = schema.TextValue(*r.Text)
		}
		all = append(all, g)
	}
	return all, nil
}

func TestAFileOfCSVGoesOn(t *testing.T) {
	f, err := Find("csv")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for n := range 2 {
		w, err := f.New(&out, Options{Continue: n > 0})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Reading("gw1", "a", int64(n), schema.IntValue(int64(n))); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readCSV(out.Bytes())
	if err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

// BenchmarkReading shows what a reading costs, and that none is kept.
func BenchmarkReading(b *testing.B) {
	for _, name := range Names() {
		b.Run(name, func(b *testing.B) {
			f, err := Find(name)
			if err != nil {
				b.Fatal(err)
			}
			w, err := f.New(io.Discard, Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if err := w.Reading("gw1", "boiler.temperature", int64(n)*1e9, schema.FloatValue(20+float64(n%100)/10)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzParseLine: a line is refused, or read and written again as the same reading.
func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{
		`{"gateway":"gw1","sensor":"a","time_ns":"1","kind":"float","value":-0}`,
		`{"gateway":"gw1","sensor":"a","time_ns":"-1","kind":"float","value":"NaN"}`,
		`{"gateway":"gw1","sensor":"a","time_ns":"9223372036854775807","kind":"int","value":9223372036854775807}`,
		`{"gateway":"gw1","sensor":"a","time_ns":"0","kind":"text","value":"<\u0001>"}`, `{"kind":"bool","time_ns":"1","value":true}`, `{"kind":"int","value":1.5}`, "null",
	} {
		f.Add([]byte(seed))
	}
	lines, err := Find("jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		gateway, sensor, at, v, err := ParseLine(data)
		if err != nil {
			return
		}
		var out bytes.Buffer
		w, err := lines.New(&out, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Reading(gateway, sensor, at, v); err != nil {
			return // a year that RFC 3339 does not know
		}
		gateway2, sensor2, at2, v2, err := ParseLine(out.Bytes())
		if err != nil || gateway != gateway2 || sensor != sensor2 || at != at2 || !same(v, v2) {
			t.Fatalf("%s became %s: %v", data, out.Bytes(), err)
		}
	})
}
