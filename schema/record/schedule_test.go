package record

import (
	"testing"
	"time"

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
	} {
		s := good
		if change(&s); !schema.Is(s.Validate(), schema.Invalid) {
			t.Errorf("%s was taken", name)
		}
	}
}
