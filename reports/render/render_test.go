package render

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"go.uber.org/goleak"

	"berth/internal/api"
	"berth/internal/sheet"
	"berth/reports/pdf"
	"berth/reports/query"
	"berth/reports/query/querytest"
	"berth/reports/report"
	"berth/schema"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type noRejects struct{}

// Rejected tells of one reading of the gateway.
func (noRejects) Rejected(context.Context, time.Time, time.Time) (map[string]uint64, time.Time, error) {
	return map[string]uint64{querytest.Gateway: 1}, time.Time{}, nil
}

// formula is a text that a spreadsheet would take for a formula, and a sensor's name too.
const formula = "=1+1"

// bench is a gateway with a day of readings: a temperature every ten minutes with a gap, a meter that began anew, a state,
// and a sensor whose name and values look like formulas.
func bench(t testing.TB, zone string) (*Renderer, report.Request) {
	t.Helper()
	w := querytest.New(t)
	w.Interval = int64(10 * time.Minute)
	settings := record.DefaultSettings()
	settings.Timezone = zone
	now := func() time.Time { return querytest.Now }
	engine := query.New(query.Options{
		Store: w.Store, Head: w.Head, Now: now, Logger: slog.New(slog.DiscardHandler),
		Settings: func() record.Settings { return settings }, Keys: func() []string { return nil },
	})
	maker := report.New(report.Options{
		Provider: "p1", Engine: engine, Rejects: noRejects{}, Now: now,
		Annotations: func(_ string, from, _ time.Time) []record.Annotation {
			return []record.Annotation{
				{ID: "1", From: from.Add(time.Hour), To: from.Add(3 * time.Hour), Text: "Pumpe getauscht 更换水泵", Who: "jane"},
				{ID: "2", From: from.Add(20 * time.Hour), To: from.Add(20 * time.Hour), Text: formula, Who: "@jane"},
			}
		},
		Sensors: func() map[string]record.Sensor {
			return map[string]record.Sensor{
				"boiler.temperature": {Label: "Vorlauf 供水温度", Unit: "°C", Decimals: new(1)},
				"meter.energy":       {Label: "@meter", Unit: "kWh", Counter: true},
			}
		},
	})
	period, err := report.ParsePeriod("yesterday", querytest.Now, maker.Zone())
	if err != nil {
		t.Fatal(err)
	}
	energy := int64(1<<53) - 70
	for i := -144; i < 200; i++ {
		at := period.From.Add(time.Duration(i) * 10 * time.Minute).UnixNano()
		if i >= 40 && i < 52 {
			continue
		}
		if energy++; i == 100 {
			energy = 3
		}
		w.Events = append(w.Events,
			querytest.Event{Sensor: "boiler.temperature", Time: at, Late: i%12 == 0, Value: schema.FloatValue(math.Round(200+100*math.Sin(float64(i)/20)) / 10)},
			querytest.Event{Sensor: "meter.energy", Time: at, Value: schema.IntValue(energy)},
			querytest.Event{Sensor: formula, Time: at, Value: schema.TextValue("-2+3")},
			querytest.Event{Sensor: "pump.on", Time: at, Value: schema.BoolValue(i%3 == 0)},
		)
	}
	w.Keep(t, 400)
	return &Renderer{Maker: maker, Font: func() string { return pdf.Find("") }}, report.Request{Period: period}
}

// write writes a report in a format.
func write(t testing.TB, r *Renderer, q report.Request, format, language string) []byte {
	t.Helper()
	f, err := FormatOf(format)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	made, err := r.Write(context.Background(), &out, q, f, language)
	if err != nil {
		t.Fatal(err)
	}
	if made.Totals.Gateways != 1 || made.Totals.Sensors != 4 || !made.Complete.Complete {
		t.Fatalf("written is a report of %+v", made.Totals)
	}
	return out.Bytes()
}

// made returns the report as JSON has it.
func made(t testing.TB, r *Renderer, q report.Request) *api.Report {
	t.Helper()
	var got api.Report
	if err := json.Unmarshal(write(t, r, q, "json", "en"), &got); err != nil {
		t.Fatal(err)
	}
	return &got
}

func TestJSONHasTheMethods(t *testing.T) {
	r, q := bench(t, "Europe/Berlin")
	for language, want := range map[string]string{"en": "nearest rank", "zh": "最近序位法"} {
		if got := string(write(t, r, q, "json", language)); !strings.Contains(got, want) {
			t.Errorf("in %s %q is not said", language, want)
		}
	}
	got := made(t, r, q)
	energy := got.Gateways[0].Sensors[2]
	if textOf(energy.Increase) != fmt.Sprint(100-12+3+43) || energy.Resets != 1 || textOf(energy.Max) != "9007199254741154" {
		t.Errorf("the meter rose by %s to %s with %d resets", textOf(energy.Increase), textOf(energy.Max), energy.Resets)
	}
}

func textOf(d *api.Digits) string {
	if d == nil {
		return ""
	}
	return string(*d)
}

// What CSV holds is what the report says, digit by digit, and no cell of it is a formula.
func TestCSVHasTheReportsNumbers(t *testing.T) {
	r, q := bench(t, "Europe/Berlin")
	report := made(t, r, q)
	rows, err := csv.NewReader(bytes.NewReader(write(t, r, q, "csv", "zh"))).ReadAll()
	if err != nil || len(rows) != 5 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	notes := "2026-03-09 01:00 +01:00 至 2026-03-09 03:00 +01:00: Pumpe getauscht 更换水泵 (jane); 2026-03-09 20:00 +01:00: =1+1 (@jane)"
	for i, s := range report.Gateways[0].Sensors {
		row := map[string]string{}
		for c, title := range rows[0] {
			cell := rows[i+1][c]
			if cell != "" && strings.ContainsAny(cell[:1], "=+@") {
				t.Errorf("%s of %s is %q, a formula", title, s.Sensor, cell)
			}
			row[title] = sheet.Unquote(cell)
		}
		want := map[string]string{
			"gateway": querytest.Gateway, "sensor": s.Sensor, "label": s.Label, "unit": s.Unit, "readings": fmt.Sprint(s.Readings), "expected": fmt.Sprint(*s.Expected),
			"min": textOf(s.Min), "max": textOf(s.Max), "mean": textOf(s.Mean), "p95": textOf(s.P95), "sum": textOf(s.Sum), "increase": textOf(s.Increase),
			"first_time": s.First.Time.Format(time.RFC3339Nano), "last": s.Last.Value.String(), "from": "2026-03-09T00:00:00+01:00", "time_zone": "Europe/Berlin",
			"before_mean": textOf(s.Before.Mean), "gateway_rejected": "1", "gaps": "1", "longest_gap_seconds": "7800", "complete": "true", "complete_up_to": "", "gateway_late": "11", "late": "0", "annotations": "",
		}
		if s.Sensor == "boiler.temperature" {
			want["late"] = "11"
		}
		if i == 0 {
			want["annotations"] = notes
		}
		for title, text := range want {
			if row[title] != text {
				t.Errorf("%s of %s is %q, want %q", title, s.Sensor, row[title], text)
			}
		}
	}
}

// What a workbook holds is what the report says: numbers as numbers, times as times.
func TestBookHasTheReportsNumbers(t *testing.T) {
	r, q := bench(t, "America/St_Johns")
	report := made(t, r, q)
	book, err := excelize.OpenReader(bytes.NewReader(write(t, r, q, "xlsx", "en")))
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	want := []string{"Sensors", "Gateways", "Gaps", "Annotations", "Summary", "How these numbers are computed"}
	if d := cmp.Diff(want, book.GetSheetList()); d != "" {
		t.Errorf("sheets (-want +got):\n%s", d)
	}
	rows, err := book.GetRows("Sensors", excelize.Options{RawCellValue: true})
	if err != nil || len(rows) != 5 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, s := range report.Gateways[0].Sensors {
		row := rows[i+1]
		want := []string{querytest.Gateway, s.Sensor, s.Label, s.Unit, s.Last.Kind, fmt.Sprint(s.Readings), fmt.Sprint(*s.Expected), fmt.Sprint(s.Numbers), textOf(s.Min), textOf(s.Max), textOf(s.Mean), textOf(s.P95)}
		if d := cmp.Diff(want, row[:len(want)]); d != "" {
			t.Errorf("%s (-want +got):\n%s", s.Sensor, d)
		}
		if got := row[len(row)-1]; got != fmt.Sprint(s.Late) || (s.Late > 0) != (s.Sensor == "boiler.temperature") {
			t.Errorf("%d readings of %s came late, and the book says %s", s.Late, s.Sensor, got)
		}
		if row[13] != "UTC-02:30" {
			t.Errorf("the first reading of %s has the offset %q", s.Sensor, row[13])
		}
		at, err := book.GetCellValue("Sensors", fmt.Sprintf("M%d", i+2))
		if err != nil || at != "2026-03-09 00:00:00" {
			t.Errorf("the first reading of %s was at %q, %v", s.Sensor, at, err)
		}
		if formula, err := book.GetCellFormula("Sensors", fmt.Sprintf("B%d", i+2)); formula != "" || err != nil {
			t.Errorf("the name of %s is the formula %q, %v", s.Sensor, formula, err)
		}
	}
}

func TestFileNames(t *testing.T) {
	_, q := bench(t, "Asia/Shanghai")
	f := Format{Ending: "csv"}
	q.Gateways = []string{`泵/1:"a"`}
	if got := FileName("p1", q, f); got != "p1_泵-1--a-_2026-03-09.csv" {
		t.Errorf("the file is called %q", got)
	}
	q.Gateways = nil
	q.Period.To = q.Period.To.Add(1)
	if got := FileName("p1", q, f); got != "p1_2026-03-09_2026-03-10.csv" {
		t.Errorf("the file is called %q", got)
	}
}

func TestUnknownIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	if _, err := FormatOf("docx"); !schema.Is(err, schema.Invalid) {
		t.Errorf("a format that is unknown gave %v", err)
	}
	r, q := bench(t, "UTC")
	q.Gateways = []string{querytest.Gateway, "nobody"}
	f, err := FormatOf("csv")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := r.Write(t.Context(), &out, q, f, "en"); !schema.Is(err, schema.NotFound) || out.Len() > 0 {
		t.Errorf("an unknown gateway gave %v and %d bytes", err, out.Len())
	}
}
