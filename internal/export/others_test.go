package export

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/schema"
)

var (
	office = flag.Bool("office", false, "have LibreOffice and pyarrow read exports, too")
	other  = flag.String("python", "/usr/bin/python3", "the Python that reads exports, with openpyxl, and with pyarrow for -office")
)

// awkwardReadings are readings that other programs might take for something else.
func awkwardReadings(t *testing.T, zone *time.Location) (all []reading) {
	t.Helper()
	texts := []string{"=1+1", "+x", "-2+3", "@a", "'", "'=", "a\nb", "_x0041_", "NaN", "true", "1.5", "2026-03-08", "  ", `say "hi"`, "温度,升", "\t=x", "\u00a0"}
	values := make([]schema.Value, 0, 2*len(texts))
	for _, text := range texts {
		values = append(values, schema.TextValue(text))
	}
	for _, f := range []float64{0.1, -1.5, 1e300, math.MaxFloat64, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 21, 1.0 / 3} {
		values = append(values, schema.FloatValue(f))
	}
	for _, n := range []int64{0, -5, 1 << 53, 1<<53 + 1, math.MaxInt64, math.MinInt64} {
		values = append(values, schema.IntValue(n))
	}
	values = append(values, schema.BoolValue(true), schema.BoolValue(false))
	names := []string{"gw1", "=cmd()", "温度", `a,b"c`, "-boiler", "'x"}
	at := time.Date(2026, 10, 31, 23, 59, 59, 123456789, zone) // clocks go back the next night
	for i, v := range values {
		all = append(all, reading{names[i%len(names)], names[(i/2)%len(names)], at.Add(time.Duration(i) * 7 * time.Minute).UnixNano(), v})
	}
	return all
}

// written writes readings in a format into a file, with sheets of so few rows that they go on in others.
func written(t *testing.T, name string, zone *time.Location, all []reading) string {
	t.Helper()
	f, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := f.New(&out, Options{Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	if book, ok := w.(*bookWriter); ok {
		book.out.Limit(10)
	}
	for _, r := range all {
		if err := w.Reading(r.gateway, r.sensor, r.time, r.value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out."+name)
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// python returns a Python that has a module; the test is skipped without one.
func python(t *testing.T, module string) string {
	t.Helper()
	if err := exec.CommandContext(t.Context(), *other, "-c", "import "+module).Run(); err != nil {
		t.Skipf("%s has no %s (for openpyxl install python3-openpyxl): %v", *other, module, err)
	}
	return *other
}

// sameReadings holds what another program read of a file against what was written into it. What LibreOffice has saved has
// numbers of 15 digits, no negative zero, and does not escape what looks like an escaped character.
func sameReadings(t *testing.T, format, module, path string, want []reading, saved bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python(t, module), "testdata/readback.py", format, path)
	var why bytes.Buffer
	cmd.Stderr = &why
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, why.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d readings were read, of %d", len(lines), len(want))
	}
	for i, w := range want {
		var got struct {
			Gateway, Sensor, Kind, Value string
			Time                         string `json:"time_ns"`
		}
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatal(err)
		}
		value := w.value.String()
		switch {
		case w.value.Kind() == schema.Text:
			value = w.value.Text()
		case w.value.Kind() == schema.Float && math.IsNaN(w.value.Float()):
			value = got.Value // a NaN has many patterns of bits
			if !strings.HasPrefix(value, "7ff8") {
				t.Errorf("NaN was read as %s", value)
			}
		case w.value.Kind() == schema.Float:
			value = fmt.Sprintf("%016x", math.Float64bits(w.value.Float()))
		}
		if saved {
			value = asSaved(&w, got.Value, value)
		}
		if got.Gateway != w.gateway || got.Sensor != w.sensor || got.Time != fmt.Sprint(w.time) || got.Kind != w.value.Kind().String() || got.Value != value {
			t.Errorf("%#v was read as %+v", w, got)
		}
	}
}

// asSaved returns what a value may be when LibreOffice has saved it: got, where that is near enough to want.
func asSaved(w *reading, got, want string) string {
	if w.value.Kind() == schema.Text && strings.Contains(want, "_x0041_") {
		return strings.ReplaceAll(want, "_x0041_", "A")
	}
	var bits uint64
	if _, err := fmt.Sscanf(got, "%x", &bits); err == nil && w.value.Kind() == schema.Float {
		if f := math.Float64frombits(bits); math.Abs(f-w.value.Float()) <= math.Abs(f)*1e-14 {
			return got
		}
	}
	return want
}

// TestOtherProgramsReadExports: Python's csv and openpyxl, and with -office pyarrow, read what was written, of every kind, and no
// cell is a formula.
func TestOtherProgramsReadExports(t *testing.T) {
	zone, err := time.LoadLocation("America/St_Johns")
	if err != nil {
		t.Fatal(err)
	}
	all := awkwardReadings(t, zone)
	for format, module := range map[string]string{"csv": "csv", "xlsx": "openpyxl", "parquet": "pyarrow"} {
		t.Run(format, func(t *testing.T) {
			if module == "pyarrow" && !*office {
				t.Skip("with -office alone")
			}
			sameReadings(t, format, module, written(t, format, zone, all), all, false)
		})
	}
}

// TestOfficeReadsExports has LibreOffice open exports and save them as workbooks of its own, in which nothing has become a
// formula and no number or date another.
func TestOfficeReadsExports(t *testing.T) {
	if !*office {
		t.Skip("with -office alone")
	}
	zone, err := time.LoadLocation("America/St_Johns")
	if err != nil {
		t.Fatal(err)
	}
	all := awkwardReadings(t, zone)
	dir := t.TempDir()
	open := func(path, as string) string {
		out, err := exec.CommandContext(t.Context(), "soffice", "-env:UserInstallation=file://"+dir+"/home", "--headless", "--convert-to", as, "--outdir", dir, path).CombinedOutput()
		if err != nil {
			t.Fatalf("soffice: %v: %s", err, out)
		}
		return filepath.Join(dir, strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))+".xlsx")
	}
	sameReadings(t, "xlsx", "openpyxl", open(written(t, "xlsx", zone, all), "xlsx"), all, true)

	// A table of text: only that nothing is a formula can be asked of it, since it has no kinds.
	saved := open(written(t, "csv", zone, all), "xlsx")
	out, err := exec.CommandContext(t.Context(), python(t, "openpyxl"), "-c", `
import openpyxl, sys
cells = [c for s in openpyxl.load_workbook(sys.argv[1]) for r in s.iter_rows() for c in r]
assert len(cells) > 100, len(cells)
assert not [c.value for c in cells if c.data_type == "f"], [c.value for c in cells if c.data_type == "f"]`, saved).CombinedOutput()
	if err != nil {
		t.Errorf("of CSV: %v: %s", err, out)
	}
}
