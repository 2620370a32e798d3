package schema

import (
	"testing"
	"time"
	_ "time/tzdata" // also where the machine has no zones
)

// In every zone each day begins where the one before ends, whatever the clocks do, and no day is empty but one that a zone
// leaves out.
func TestDaysFollowEachOther(t *testing.T) {
	for _, name := range []string{
		"Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Africa/Cairo", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo", "Asia/Beirut",
	} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for date := time.Date(2009, 1, 1, 0, 0, 0, 0, time.UTC); date.Year() < 2027; date = date.AddDate(0, 0, 1) {
			from, to := DateStart(date, zone), DateStart(date.AddDate(0, 0, 1), zone)
			skipped := name == "Pacific/Apia" && date.Format(time.DateOnly) == "2011-12-30"
			if length := to.Sub(from); length < 22*time.Hour && !skipped || length > 26*time.Hour {
				t.Errorf("%s in %s lasts %v", date.Format(time.DateOnly), name, length)
			}
			if wall := wallOf(from); !skipped && (from.In(zone).Format(time.DateOnly) != date.Format(time.DateOnly) || wall.Sub(date) > time.Hour) {
				t.Errorf("%s in %s begins at %v", date.Format(time.DateOnly), name, wall)
			}
			if !wallOf(from.Add(-1)).Before(date) {
				t.Errorf("%s in %s has begun before %v", date.Format(time.DateOnly), name, from)
			}
		}
	}
}
