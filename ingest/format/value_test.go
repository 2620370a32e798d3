package format_test

import (
	"strings"
	"testing"

	"berth/ingest/format"
	"berth/schema/batch"
)

// TestValues decodes bare values, each twice: what is remembered of the first must not change the second.
func TestValues(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	for _, c := range []struct{ payload, want, refused string }{
		{"21.5", "float 21.5", ""},
		{" -3e2\r\n", "float -300", ""},
		{"0", "float 0", ""},
		{"9007199254740993", "int 9007199254740993", ""},
		{"true", "bool true", ""},
		{"FALSE", "bool false", ""},
		{"open", "text open", ""},
		{"007", "text 007", ""},
		{"2026-01-02", "text 2026-01-02", ""},
		{"-", "text -", ""},
		{"1.5 kW", "text 1.5 kW", ""},
		{"", "", "syntax"},
		{" \n", "", "syntax"},
		{"1e999", "", "number_range"},
		{"\xff", "", "text_encoding"},
		{strings.Repeat("x", 16<<10+1), "", "text_length"},
		{`{"a":1}`, "", "whole"},
		{"[1]", "", "whole"},
	} {
		for range 2 {
			r := newRequest()
			r.Sensor = "boiler"
			out := &batch.Rows{}
			report, err := d.Decode("value", []byte(c.payload), r, out)
			consistent(t, out, report)
			got := ""
			for _, row := range out.Rows {
				kind := row.Shape.Kinds[0]
				got += kind.String() + " " + out.Value(int(row.First), kind).String()
				if row.Shape.Gateway != "gw" || row.Shape.Sensors[0] != "boiler" || !row.Arrival || row.Time != now {
					t.Errorf("%q is of %s %s at %d", c.payload, row.Shape.Gateway, row.Shape.Sensors[0], row.Time)
				}
			}
			if got != c.want || c.refused == "whole" != (err != nil) || c.refused != "" && err == nil && report.Reasons[c.refused] != 1 {
				t.Errorf("%q is %q, %+v, %v; want %q, refused for %q", c.payload, got, report, err, c.want, c.refused)
			}
		}
	}
}

// TestAValueAndAnObjectAreOneSeries: a sensor is the same whether it comes alone or in an object.
func TestAValueAndAnObjectAreOneSeries(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	r := newRequest()
	r.Settings.Limits.SensorsPerGateway, r.Sensor = 1, "a"
	for _, c := range []struct{ format, payload string }{{"value", "1"}, {"json", `{"a": 2}`}, {"value", "x"}, {"json", `{"a": true}`}} {
		if report, err := d.Decode(c.format, []byte(c.payload), r, &batch.Rows{}); err != nil || report.Accepted != 1 {
			t.Errorf("%s %s: %+v, %v", c.format, c.payload, report, err)
		}
	}
	r.Sensor = ""
	if report, err := d.Decode("value", []byte("1"), r, &batch.Rows{}); err != nil || report.Reasons[format.ReasonSensorName] != 1 {
		t.Errorf("a value without a sensor: %+v, %v", report, err)
	}
}

// FuzzValue: any bytes are one value, or refused.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{"21.5", "true", "open", "-", "1e400", "{", "\xff", ""} {
		f.Add([]byte(seed), "s")
	}
	f.Fuzz(func(t *testing.T, payload []byte, sensor string) {
		d := format.New(format.NewTable(format.TableOptions{}))
		r := newRequest()
		r.Sensor = sensor
		out := &batch.Rows{}
		report, err := d.Decode("value", payload, r, out)
		consistent(t, out, report)
		if n := report.Accepted + report.Rejected; err == nil && n != 1 || err != nil && (n != 0 || out.Len() > 0) {
			t.Errorf("%q is %d readings, %v", payload, n, err)
		}
	})
}
