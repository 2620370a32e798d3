package record

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/schema"
)

func goldenSensors() Sensors {
	return Sensors{Version: Version, Sensors: map[string]Sensor{
		"boiler.temperature": {Label: "Vorlauf 供水温度", Unit: "°C", Decimals: new(1), Interval: 10 * time.Second},
		"meter.energy":       {Unit: "kWh", Decimals: new(0), Counter: true},
	}}
}

// TestSensorsKeepTheirShape: they are written as the golden file has them, and read from there as the same.
func TestSensorsKeepTheirShape(t *testing.T) {
	golden(t, "sensors.v1.json", goldenSensors())
	if s := goldenSensors(); s.Validate() != nil {
		t.Error(s.Validate())
	}
}

// golden holds a record against its golden file: it is written so, and read from there as the same.
func golden[T any](t *testing.T, name string, v T) {
	t.Helper()
	path := filepath.Join("testdata", name)
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, append(got, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.TrimSpace(string(want)), string(got)); d != "" {
		t.Errorf("%s (-want +written):\n%s", path, d)
	}
	var read T
	if err := json.Unmarshal(want, &read); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(v, read); d != "" {
		t.Errorf("read (-want +got):\n%s", d)
	}
}

func TestSensorsThatCannotBeAreNamed(t *testing.T) {
	for want, s := range map[string]Sensor{
		"name to show":  {Label: "a\nb"},
		"unit":          {Unit: strings.Repeat("k", 21)},
		"decimals":      {Decimals: new(13)},
		"-1 decimals":   {Decimals: new(-1)},
		"interval of 1": {Interval: 1},
	} {
		all := Sensors{Sensors: map[string]Sensor{"a": s}}
		if err := all.Validate(); !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	if (&Sensors{Sensors: map[string]Sensor{"": {}}}).Validate() == nil {
		t.Error("a sensor without a name is taken")
	}
}
