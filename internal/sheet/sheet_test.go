package sheet

import (
	"bytes"
	"encoding/csv"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"
)

// open reads a workbook by another program's reader.
func open(t testing.TB, data []byte) *excelize.File {
	t.Helper()
	f, err := excelize.OpenReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestBookIsReadBack(t *testing.T) {
	var out bytes.Buffer
	b := NewBook(&out)
	zone := time.FixedZone("", 5*3600+30*60)
	at := time.Date(2026, 3, 29, 1, 30, 0, 250e6, zone)
	steps := []error{
		b.Sheet("Übersicht / 概要", Column{Title: "what", Width: 30}, Column{Title: "number", Format: "0.00"}, Column{Title: "when"}),
		b.Row(Text("=1+1"), Float(21.456), Time(at)),
		b.Row(Text("温度 _x0041_ \x01 <&>"), Int(-5), Cell{}),
		b.Row(Text("").Bold(), Int(math.MaxInt64), Bool(true)),
		b.Row(Float(math.NaN()), Float(math.Copysign(0, -1)), Float(math.Inf(1))),
		b.Sheet("übersicht _ 概要"),
		b.Row(Text("no titles")),
		b.Close(),
	}
	for i, err := range steps {
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	f := open(t, out.Bytes())
	if diff := cmp.Diff([]string{"Übersicht _ 概要", "übersicht _ 概要 (2)"}, f.GetSheetList()); diff != "" {
		t.Errorf("sheets (-want +got):\n%s", diff)
	}
	name := f.GetSheetList()[0]
	raw, err := f.GetRows(name, excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"what", "number", "when"},
		{"=1+1", "21.456", "46110.06250289352"},
		{"温度 _x0041_ \x01 <&>", "-5"},
		{"", "9223372036854775807", "1"},
		{"NaN", "-0.0", "+Inf"},
	}
	if diff := cmp.Diff(want, raw); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	for _, c := range []struct{ cell, want string }{{"B2", "21.46"}, {"A1", "what"}} {
		if got, err := f.GetCellValue(name, c.cell); err != nil || got != c.want {
			t.Errorf("%s shows %q (%v), not %q", c.cell, got, err, c.want)
		}
	}
	for _, c := range []struct {
		cell string
		want excelize.CellType
	}{
		{"A2", excelize.CellTypeInlineString}, {"B2", excelize.CellTypeUnset}, {"B4", excelize.CellTypeInlineString}, {"C4", excelize.CellTypeBool},
	} {
		if got, err := f.GetCellType(name, c.cell); err != nil || got != c.want {
			t.Errorf("%s is of type %v (%v), not %v", c.cell, got, err, c.want)
		}
	}
	if formula, err := f.GetCellFormula(name, "A2"); err != nil || formula != "" {
		t.Errorf("A2 is the formula %q (%v)", formula, err)
	}
}

func TestFullSheetGoesOnInTheNext(t *testing.T) {
	var out bytes.Buffer
	b := NewBook(&out)
	b.most = 4
	if err := b.Sheet("Readings", Column{Title: "n"}); err != nil {
		t.Fatal(err)
	}
	for n := range 8 {
		if err := b.Row(Int(int64(n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	f := open(t, out.Bytes())
	var got [][]string
	for _, name := range f.GetSheetList() {
		rows, err := f.GetCols(name)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, append([]string{name}, rows[0]...))
	}
	want := [][]string{{"Readings", "n", "0", "1", "2"}, {"Readings (2)", "n", "3", "4", "5"}, {"Readings (3)", "n", "6", "7"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sheets (-want +got):\n%s", diff)
	}
}

func TestEmptyBookOpens(t *testing.T) {
	var out bytes.Buffer
	if err := NewBook(&out).Close(); err != nil {
		t.Fatal(err)
	}
	if names := open(t, out.Bytes()).GetSheetList(); len(names) != 1 {
		t.Errorf("sheets %q", names)
	}
}

func TestSheetNames(t *testing.T) {
	long := strings.Repeat("温", 40)
	var taken []string
	for _, name := range []string{"", "history", "a/b", "A_B", "'quoted'", long, long, strings.Repeat("😀", 20), "\x00\xff"} {
		got := uniqueName(name, taken)
		if units := len([]rune(got)); got == "" || units > mostName || !utf8.ValidString(got) || strings.ContainsAny(got, `[]:*?/\`) {
			t.Errorf("%q became %q", name, got)
		}
		if slices.Contains(taken, got) {
			t.Errorf("%q became %q, which is taken", name, got)
		}
		taken = append(taken, got)
	}
	if taken[3] != "A_B (2)" {
		t.Errorf("a name that differs in case alone became %q", taken[3])
	}
}

// anyText are texts that readings may hold, and the gravest of them often.
var anyText = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
	"=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'", "''=", "'=1", "a,b", "\"", "line\nline", " ", "_x0041_", "_x005F_", "é",
}))

func TestCSVIsReadBackExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(anyText, 1, 5).Draw(t, "texts")
		number := rapid.Float64().Draw(t, "number")
		var out bytes.Buffer
		c, err := NewCSV(&out, "a")
		if err != nil {
			t.Fatal(err)
		}
		var cells []Cell
		for _, s := range texts {
			cells = append(cells, Text(s))
		}
		if err := c.Row(append(cells, Float(number))...); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(&out)
		r.FieldsPerRecord = -1
		if _, err := r.Read(); err != nil {
			t.Fatal(err)
		}
		got, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range texts {
			s = strings.ReplaceAll(s, "\r\n", "\n") // encoding/csv's reader takes them for one
			if strings.IndexByte("=+-@\t\r", (got[i] + " ")[0]) >= 0 {
				t.Errorf("%q begins like a formula", got[i])
			}
			if Unquote(got[i]) != s {
				t.Errorf("%q was read back as %q", s, Unquote(got[i]))
			}
		}
		if f, err := strconv.ParseFloat(Unquote(got[len(texts)]), 64); err != nil || math.Float64bits(f) != math.Float64bits(number) && f == f {
			t.Errorf("%v was read back as %q", number, got[len(texts)])
		}
	})
}

func TestBookTextsAreReadBackExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(anyText, 1, 5).Draw(t, "texts")
		number := rapid.Float64().Draw(t, "number")
		var out bytes.Buffer
		b := NewBook(&out)
		var cells []Cell
		for _, s := range texts {
			cells = append(cells, Text(s))
		}
		if err := b.Sheet("s"); err != nil {
			t.Fatal(err)
		}
		if err := b.Row(append(cells, Float(number))...); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := excelize.OpenReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for i, s := range texts {
			cell, err := excelize.CoordinatesToCellName(i+1, 1)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := f.GetCellValue("s", cell, excelize.Options{RawCellValue: true}); err != nil || got != s {
				t.Errorf("%q was read back as %q (%v)", s, got, err)
			}
		}
		cell, _ := excelize.CoordinatesToCellName(len(texts)+1, 1)
		got, err := f.GetCellValue("s", cell, excelize.Options{RawCellValue: true})
		if back, parseErr := strconv.ParseFloat(got, 64); err != nil || parseErr != nil || math.Float64bits(back) != math.Float64bits(number) && back == back {
			t.Errorf("%v was read back as %q (%v)", number, got, err)
		}
	})
}

func TestColumnLetters(t *testing.T) {
	for n, want := range map[int]string{0: "A", 25: "Z", 26: "AA", 701: "ZZ", 702: "AAA", 16383: "XFD"} {
		if got := string(appendColumn(nil, n)); got != want {
			t.Errorf("column %d is %s, not %s", n, got, want)
		}
	}
}

func BenchmarkBookRow(b *testing.B) {
	book := NewBook(io.Discard)
	if err := book.Sheet("Readings", Column{Title: "sensor"}, Column{Title: "time"}, Column{Title: "value"}); err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := book.Row(Text("boiler.temperature"), Time(at.Add(time.Duration(n)*time.Second)), Float(20+float64(n%100)/10)); err != nil {
			b.Fatal(err)
		}
	}
}
