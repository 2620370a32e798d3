package trucks

import (
	"bytes"
	"regexp"
	"strconv"
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

// bounds are those of each field's value; the fields that have none are whole.
var bounds = map[string][2]float64{
	"latitude": {-90, 90}, "longitude": {-180, 180}, "elevation": {0, 500}, "velocity": {0, 100}, "heading": {0, 360}, "grade": {0, 100},
	"fuel_consumption": {0, 50}, "fuel_state": {0, 1}, "current_load": {0, 1500}, "status": {0, 5},
}

// head is how a line begins.
var head = regexp.MustCompile(`^(readings|diagnostics),` + GatewayTag + `=truck_\d+,` + strings.Join(AttributeTags, `=[\w.-]+,`) + `=[\w.-]+$`)

// sent is what was sent by now.
type sent struct {
	t        *testing.T
	fleet    *Fleet
	seen     map[string]bool // truck and time
	last     map[string]string
	load     map[string]string // current, by truck
	first    map[string]bool   // fields of the first lines of each truck
	late     int
	readings int
	stood    int // loads that were those before
}

// take checks a line.
func (s *sent) take(line string) {
	s.t.Helper()
	parts := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	at, err := strconv.ParseInt(parts[len(parts)-1], 10, 64)
	if when := time.Unix(0, at); len(parts) != 3 || err != nil || when.Before(s.fleet.options.Start) || !when.Before(s.fleet.End()) || at%int64(Interval) != 0 {
		s.t.Fatalf("%q is no line of its days, %v", line, err)
	}
	if !head.MatchString(parts[0]) {
		s.t.Fatalf("%s does not say of which truck it is", line)
	}
	truck, _, _ := strings.Cut(parts[0], ",fleet=")
	if s.seen[truck+parts[2]] {
		s.t.Fatalf("%s %s comes twice", truck, parts[2])
	}
	s.seen[truck+parts[2]] = true
	if s.last[truck] == "" {
		s.first[parts[1]] = true
	}
	if parts[2] < s.last[truck] {
		s.late++
	} else {
		s.last[truck] = parts[2]
	}
	for field := range strings.SplitSeq(parts[1], ",") {
		name, value, _ := strings.Cut(field, "=")
		number, whole := strings.CutSuffix(value, "i")
		v, err := strconv.ParseFloat(number, 64)
		if in, known := bounds[name]; err != nil || !known || v < in[0] || v > in[1] || whole != (name == "status") {
			s.t.Fatalf("%s is no field", field)
		}
		if name == "current_load" {
			if s.load[truck] == value {
				s.stood++
			}
			s.load[truck] = value
		}
		s.readings++
	}
}

// TestFleet: the same each time, every identity once, the counts right, some late and some missing, all within their days and
// bounds.
func TestFleet(t *testing.T) {
	o := Options{Trucks: 20, Days: 3, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Readings: 100_000}
	f, all := drive(t, o)
	if _, again := drive(t, o); !bytes.Equal(all, again) {
		t.Error("the same options give other lines")
	}
	s := &sent{t: t, fleet: f, seen: map[string]bool{}, last: map[string]string{}, load: map[string]string{}, first: map[string]bool{}}
	for line := range strings.Lines(string(all)) {
		s.take(line)
	}
	if s.readings != f.Readings() {
		t.Errorf("%d readings, and it says %d", s.readings, f.Readings())
	}
	if s.readings > o.Readings*99/100 || s.readings < o.Readings*9/10 {
		t.Errorf("%d readings, asked for were about %d, some of them missing", s.readings, o.Readings)
	}
	if share := float64(s.late) / float64(len(s.seen)); share < 0.005 || share > 0.1 {
		t.Errorf("%.3f of the lines are late", share)
	}
	if len(s.first) < o.Trucks+2 {
		t.Errorf("the trucks begin alike: %d kinds of first lines", len(s.first))
	}
	if share := float64(s.stood) / float64(len(s.seen)/2); share < 0.8 || share > 0.97 {
		t.Errorf("%.3f of the loads are those before", share)
	}
}

// TestWhatIsKeptAtTheEndIsSent: some of so many trucks have no contact when the day ends.
func TestWhatIsKeptAtTheEndIsSent(t *testing.T) {
	f, all := drive(t, Options{Trucks: 300, Days: 1, Readings: 30_000})
	readings, kept := 0, 0
	for line := range strings.Lines(string(all)) {
		parts := strings.Split(line, " ")
		readings += strings.Count(parts[1], "=")
	}
	for i := range f.trucks {
		kept += f.trucks[i].held
		if !bytes.Contains(all, f.trucks[i].kept) {
			t.Errorf("%s sends nothing of what it has kept", Name(i))
		}
	}
	if kept == 0 || readings != f.Readings() {
		t.Errorf("%d readings with %d that were kept, and it says %d", readings, kept, f.Readings())
	}
}
