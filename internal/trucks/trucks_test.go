package trucks

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// drive returns all lines of a fleet.
func drive(t *testing.T, o Options) (*Fleet, []byte) {
	t.Helper()
	f, all := New(o), []byte(nil)
	if err := f.Drive(func(lines []byte, _ int) error { all = append(all, lines...); return nil }); err != nil {
		t.Fatal(err)
	}
	return f, all
}

// TestFleet: the same each time, every identity once, the counts right, some late and some missing, all within their days.
func TestFleet(t *testing.T) {
	o := Options{Trucks: 20, Days: 3, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Readings: 100_000}
	f, all := drive(t, o)
	if _, again := drive(t, o); !bytes.Equal(all, again) {
		t.Error("the same options give other lines")
	}
	seen, late, readings := map[string]bool{}, 0, 0
	last := map[string]string{}
	for line := range strings.Lines(string(all)) {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if len(parts) != 3 {
			t.Fatalf("%q is no line", line)
		}
		truck, _, _ := strings.Cut(parts[0], ",fleet=")
		if key := truck + " " + parts[2]; seen[key] {
			t.Fatalf("%s comes twice", key)
		} else {
			seen[key] = true
		}
		if parts[2] < last[truck] {
			late++
		} else {
			last[truck] = parts[2]
		}
		readings += strings.Count(parts[1], "=")
	}
	if readings != f.Readings() {
		t.Errorf("%d readings, and it says %d", readings, f.Readings())
	}
	if readings > o.Readings || readings < o.Readings*9/10 {
		t.Errorf("%d readings, asked for were about %d, some of them missing", readings, o.Readings)
	}
	if share := float64(late) / float64(len(seen)); share < 0.005 || share > 0.1 {
		t.Errorf("%.3f of the lines are late", share)
	}
}
