package report

import (
	"testing"
	"time"
	_ "time/tzdata" // also where the machine has no zones

	"berth/schema"
)

func zoneOf(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestPeriodsAreCutInTheZone(t *testing.T) {
	for _, c := range []struct {
		zone, now, name        string
		from, to, before, back string
	}{
		{"Asia/Shanghai", "2026-11-26T18:00:00Z", "yesterday", "2026-11-26T00:00:00+08:00", "2026-11-27T00:00:00+08:00", "2026-11-25T00:00:00+08:00", ""},
		{"Asia/Shanghai", "2026-11-26T15:59:59Z", "yesterday", "2026-11-25T00:00:00+08:00", "2026-11-26T00:00:00+08:00", "2026-11-24T00:00:00+08:00", ""},
		{"Asia/Shanghai", "1990-01-02T00:00:00Z", "1986-05-04", "1986-05-04T00:00:00+08:00", "1986-05-05T00:00:00+09:00", "1986-05-03T00:00:00+08:00", ""}, // 23 h: it had summer time
		{"Europe/Berlin", "2026-03-30T10:00:00Z", "yesterday", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", "2026-03-28T00:00:00+01:00", ""},  // 23 h
		{"Europe/Berlin", "2026-10-26T10:00:00Z", "yesterday", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", "2026-10-24T00:00:00+02:00", ""},  // 25 h
		{"Europe/Berlin", "2026-04-10T10:00:00Z", "last-month", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00", "2026-02-01T00:00:00+01:00", ""},
		{"Europe/Berlin", "2026-04-02T10:00:00Z", "last-week", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00", "2026-03-16T00:00:00+01:00", ""},
		{"Europe/Berlin", "2027-02-02T10:00:00Z", "last-year", "2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00", "2025-01-01T00:00:00+01:00", ""},
		{"Europe/Berlin", "2026-04-02T10:00:00Z", "2026-W13", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00", "2026-03-16T00:00:00+01:00", ""},
		{"Europe/Berlin", "2026-03-29T10:00:00Z", "today", "2026-03-29T00:00:00+01:00", "2026-03-29T12:00:00+02:00", "2026-03-28T00:00:00+01:00", "2026-03-28T11:00:00+01:00"},
		{"Europe/Berlin", "2026-03-31T10:00:00Z", "this-month", "2026-03-01T00:00:00+01:00", "2026-03-31T12:00:00+02:00", "2026-02-01T00:00:00+01:00", "2026-03-01T00:00:00+01:00"},
		{"America/St_Johns", "2026-03-09T12:00:00Z", "yesterday", "2026-03-08T00:00:00-03:30", "2026-03-09T00:00:00-02:30", "2026-03-07T00:00:00-03:30", ""},
		{"America/St_Johns", "2026-11-02T12:00:00Z", "yesterday", "2026-11-01T00:00:00-02:30", "2026-11-02T00:00:00-03:30", "2026-10-31T00:00:00-02:30", ""},
		// Until 2011 clocks there changed at 00:01: in spring the day began before, in autumn it began twice.
		{"America/St_Johns", "2010-04-01T12:00:00Z", "2010-03-14", "2010-03-14T00:00:00-03:30", "2010-03-15T00:00:00-02:30", "2010-03-13T00:00:00-03:30", ""},
		{"America/St_Johns", "2010-12-01T12:00:00Z", "2010-11-07", "2010-11-07T00:00:00-02:30", "2010-11-08T00:00:00-03:30", "2010-11-06T00:00:00-02:30", ""},
		{"Africa/Cairo", "2026-06-01T12:00:00Z", "2026-04-24", "2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00", "2026-04-23T00:00:00+02:00", ""}, // there was no midnight
	} {
		zone := zoneOf(t, c.zone)
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePeriod(c.name, now, zone)
		if err != nil {
			t.Errorf("%s in %s: %v", c.name, c.zone, err)
			continue
		}
		if c.back == "" {
			c.back = c.from
		}
		for got, want := range map[string]string{
			"from " + p.From.In(zone).Format(time.RFC3339):         "from " + c.from,
			"to " + p.To.In(zone).Format(time.RFC3339):             "to " + c.to,
			"before " + p.BeforeFrom.In(zone).Format(time.RFC3339): "before " + c.before,
			"back " + p.Back.In(zone).Format(time.RFC3339):         "back " + c.back,
		} {
			if got != want {
				t.Errorf("%s in %s at %s is %s, want %s", c.name, c.zone, c.now, got, want)
			}
		}
	}
}

func TestParsePeriodRefuses(t *testing.T) {
	now := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	for _, name := range []string{"", "tomorrow", "2026-03-11", "2026-04", "2027", "2026-W00", "2026-W54", "2026-W1", "2026-13", "2026-02-30", "+026-W01", "1969", "yesterday "} {
		if p, err := ParsePeriod(name, now, time.UTC); !schema.Is(err, schema.Invalid) {
			t.Errorf("%q gave %+v, %v, want Invalid", name, p, err)
		}
	}
}

// FuzzParsePeriod: a period is Invalid, or a range that is over or ends now, with one before it.
func FuzzParsePeriod(f *testing.F) {
	for _, seed := range []string{"today", "yesterday", "last-week", "2026-03-29", "2026-W13", "2026-03", "2026", "2026-W53"} {
		f.Add(seed, int64(1_770_000_000))
	}
	zone := zoneOf(f, "America/St_Johns")
	f.Fuzz(func(t *testing.T, name string, at int64) {
		if at < 0 || at > 6e9 {
			return
		}
		now := time.Unix(at, 0)
		p, err := ParsePeriod(name, now, zone)
		if err != nil {
			if !schema.Is(err, schema.Invalid) {
				t.Fatal(err)
			}
			return
		}
		if !p.From.Before(p.To) || p.To.After(now) || !p.BeforeFrom.Before(p.Back) || p.Back.After(p.From) {
			t.Fatalf("%q at %v is %+v", name, now, p)
		}
	})
}
