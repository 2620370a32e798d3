package web

import (
	"math"
	"testing"

	"berth/internal/locale"
	"berth/schema"
)

// Numbers are written as the charts' script writes them, which has Intl.NumberFormat.
func TestNumbersOfTablesAreWrittenByLanguage(t *testing.T) {
	row, english := sensorRow{Kind: "float"}, locale.Languages[0]
	for want, got := range map[string]string{
		"1,234,570":             row.number(english, 1234567, true),
		"0.000001":              row.number(english, 1e-6, true),
		"1,234,567.891":         row.number(english, 1234567.891, false),
		"0.3":                   row.number(english, 0.1+0.2, false),
		"–":                     row.number(english, math.NaN(), false),
		"21.5":                  row.latest(english, schema.FloatValue(21.5)),
		"1,234,567":             row.latest(english, schema.FloatValue(1234567)),
		"NaN":                   row.latest(english, schema.FloatValue(math.NaN())),
		"true":                  (&sensorRow{Kind: "bool"}).latest(english, schema.BoolValue(true)),
		"1,000 kg":              (&sensorRow{Kind: "text"}).latest(english, schema.TextValue("1,000 kg")),
		"9,007,199,254,740,993": (&sensorRow{Kind: "int"}).latest(english, schema.IntValue(9007199254740993)),
		"12,345.60":             (&sensorRow{Kind: "float", Decimals: "2"}).latest(english, schema.FloatValue(12345.6)),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
