package record

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/schema"
)

func TestSchedulePeriods(t *testing.T) {
	for _, c := range []struct {
		zone, now     string
		every         Every
		hour, back    int
		from, to, due string
	}{
		{"Asia/Shanghai", "2026-03-30 06:00", Daily, 6, 0, "2026-03-29 00:00 +0800", "2026-03-30 00:00 +0800", "2026-03-30 06:00 +0800"},
		{"Asia/Shanghai", "2026-03-30 05:59", Daily, 6, 0, "2026-03-28 00:00 +0800", "2026-03-29 00:00 +0800", "2026-03-29 06:00 +0800"},
		{"Asia/Shanghai", "2026-03-01 12:00", Daily, 6, 2, "2026-02-26 00:00 +0800", "2026-02-27 00:00 +0800", "2026-02-27 06:00 +0800"},
		{"Europe/Berlin", "2026-03-30 07:00", Daily, 6, 0, "2026-03-29 00:00 +0100", "2026-03-30 00:00 +0200", "2026-03-30 06:00 +0200"},
		{"Europe/Berlin", "2026-03-29 07:00", Daily, 6, 0, "2026-03-28 00:00 +0100", "2026-03-29 00:00 +0100", "2026-03-29 06:00 +0200"},
		{"Europe/Berlin", "2026-10-25 07:00", Daily, 6, 0, "2026-10-24 00:00 +0200", "2026-10-25 00:00 +0200", "2026-10-25 06:00 +0100"},
		{"America/St_Johns", "2010-11-08 07:00", Daily, 0, 0, "2010-11-07 00:00 -0230", "2010-11-08 00:00 -0330", "2010-11-08 00:00 -0330"}, // it began twice
		{"Africa/Cairo", "2026-04-25 07:00", Daily, 0, 0, "2026-04-24 01:00 +0300", "2026-04-25 00:00 +0300", "2026-04-25 00:00 +0300"},     // there was no midnight
		{"Africa/Cairo", "2026-04-24 07:00", Daily, 0, 0, "2026-04-23 00:00 +0200", "2026-04-24 01:00 +0300", "2026-04-24 01:00 +0300"},
		{"Europe/Berlin", "2026-10-26 07:00", Weekly, 0, 0, "2026-10-19 00:00 +0200", "2026-10-26 00:00 +0100", "2026-10-26 00:00 +0100"},
		{"Europe/Berlin", "2026-10-25 23:00", Weekly, 0, 0, "2026-10-12 00:00 +0200", "2026-10-19 00:00 +0200", "2026-10-19 00:00 +0200"},
		{"America/St_Johns", "2026-01-01 00:30", Monthly, 0, 0, "2025-12-01 00:00 -0330", "2026-01-01 00:00 -0330", "2026-01-01 00:00 -0330"},
		{"America/St_Johns", "2026-01-01 00:30", Monthly, 1, 0, "2025-11-01 00:00 -0230", "2025-12-01 00:00 -0330", "2025-12-01 01:00 -0330"},
		{"America/St_Johns", "2026-04-15 12:00", Monthly, 1, 1, "2026-02-01 00:00 -0330", "2026-03-01 00:00 -0330", "2026-03-01 01:00 -0330"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.ParseInLocation("2006-01-02 15:04", c.now, zone)
		if err != nil {
			t.Fatal(err)
		}
		s := Schedule{Every: c.every, Hour: c.hour}
		from, to, due := s.Period(now, c.back)
		const layout = "2006-01-02 15:04 -0700"
		if from.Format(layout) != c.from || to.Format(layout) != c.to || due.Format(layout) != c.due {
			t.Errorf("%s %s at %s, %d back: %s to %s, due %s", c.every, c.zone, c.now, c.back, from.Format(layout), to.Format(layout), due.Format(layout))
		}
	}
}

func TestScheduleValidate(t *testing.T) {
	good := Schedule{Name: "n", Every: Weekly, Hour: 23, Formats: []string{"pdf"}, Recipients: []Recipient{{}}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Schedule){
		"no name": func(s *Schedule) { s.Name = "" }, "no period": func(s *Schedule) { s.Every = "hourly" }, "no hour": func(s *Schedule) { s.Hour = 24 },
		"no format": func(s *Schedule) { s.Formats = nil }, "a format": func(s *Schedule) { s.Formats = []string{"exe"} },
		"nobody": func(s *Schedule) { s.Recipients = nil }, "too many": func(s *Schedule) { s.Recipients = make([]Recipient, 51) },
		"gateways and groups": func(s *Schedule) { s.Gateways, s.Groups = []string{"a"}, []string{"b"} },
		"a group":             func(s *Schedule) { s.Groups = []string{"a;b"} },
	} {
		s := good
		if change(&s); !schema.Is(s.Validate(), schema.Invalid) {
			t.Errorf("%s was taken", name)
		}
	}
}

// goldenShapes are a schedule, a run, a share and a day of usage with all that they can say.
func goldenShapes() map[string]any {
	at := func(day, hour int) time.Time { return time.Date(2026, 3, day, hour, 0, 0, 0, time.UTC) }
	to := []Recipient{{Address: "a@example.com", Language: "en"}, {Address: "b@example.com", Language: "zh"}}
	return map[string]any{
		"schedule.v1.json": &Schedule{
			Version: 1, ID: "daily1", Provider: "provider1", Of: at(1, 0), Name: "每日 Daily", Every: Weekly, Hour: 6, Gateways: []string{"gw1"}, Groups: []string{"north"},
			Formats: []string{"pdf", "csv"}, Recipients: to, SkipEmpty: true, Paused: true, Created: at(2, 0), Since: at(3, 0),
		},
		"usage.v1.json": &Usage{
			Version: 1, Provider: "provider1", Of: at(1, 0), Day: "2026-03-09", From: at(8, 23), At: at(9, 23),
			Begin: Used{Readings: 1, Rejected: 2, Frames: 3, Refused: 4, Bytes: 5}, End: Used{Readings: 6, Rejected: 7, Frames: 8, Refused: 9, Bytes: 10},
			Gateways: 11, Storage: 12, Most: 13, Instance: "i", Sent: 14,
			Seen: &Used{Readings: 15, Rejected: 16, Frames: 17, Refused: 18, Bytes: 14},
		},
		"share.v1.json": &Share{
			Version: 1, ID: "s1", Provider: "provider1", Of: at(1, 0), Name: "March", Gateways: []string{"gw1"}, From: at(1, 0), To: at(9, 0),
			Created: at(10, 0), Expires: at(20, 0),
		},
		"run.v1.json": &ScheduleRun{
			Version: 1, Provider: "provider1", Schedule: "daily1", Number: 1, Test: true, From: at(9, 0), To: at(16, 0), Due: at(16, 6), State: RunDone,
			Attempts: 2, Next: at(16, 7), Problem: "why", Made: at(16, 8), Gateways: []string{"gw1"}, Groups: []string{"north"}, Readings: 7, Complete: true, Earlier: 5,
			Checked: at(17, 0), Late: 3, LateAt: at(17, 0),
			Files: []RunFile{{Name: "报告.pdf", Type: "application/pdf", Language: "zh", Size: 1 << 21, Pieces: 2}},
			Letters: []Letter{
				{Recipient: to[0], State: LetterSent, At: at(16, 9), Sender: "s", Attempts: 1},
				{Recipient: to[1], State: LetterUnknown, At: at(16, 9), Sender: "s", Attempts: 2, Problem: "it may have been sent"},
			},
		},
	}
}

// TestSchedulesKeepTheirShapes: they are written as the golden files have them, and read from there as the same.
func TestSchedulesKeepTheirShapes(t *testing.T) {
	for name, want := range goldenShapes() {
		path := filepath.Join("testdata", name)
		got, err := json.MarshalIndent(want, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(kept) != string(got)+"\n" {
			t.Errorf("%s is written otherwise now:\n%s", name, got)
		}
		read := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		if err := json.Unmarshal(kept, read); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, read); d != "" {
			t.Errorf("%s (-want +read):\n%s", name, d)
		}
	}
}

// Every field is in a golden file: one that is not set there could change its name unseen.
func TestGoldenSchedulesSetEveryField(t *testing.T) {
	for name, shape := range goldenShapes() {
		v := reflect.ValueOf(shape).Elem()
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s: %s is not set", name, v.Type().Field(i).Name)
			}
		}
	}
}

func TestAChangedScheduleKeepsWhatItsRunsAreOf(t *testing.T) {
	s := &Schedule{Gateways: []string{"new"}, Created: time.Unix(1, 0)}
	r := &ScheduleRun{}
	if r.ReportOf(s) != s {
		t.Error("a run of before is not of its schedule's gateways")
	}
	r.Gateways, r.Groups = []string{}, []string{"north"}
	if of := r.ReportOf(s); len(of.Gateways) != 0 || len(of.Groups) != 1 || len(s.Gateways) != 1 {
		t.Error("a run of all gateways is not")
	}
	if !s.DueSince().Equal(s.Created) {
		t.Error("what was due before its change is not made")
	}
	if s.Since = time.Unix(2, 0); !s.DueSince().Equal(s.Since) {
		t.Error("what was due before its change is made")
	}
}
