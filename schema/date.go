package schema

import "time"

// DateStart returns the first moment of a date in a zone: midnight, the first of two where clocks are set back over it, and
// where they are set forward over it the moment at which they are. So each day begins where the one before ends.
func DateStart(date time.Time, zone *time.Location) time.Time {
	y, m, d := date.Date()
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	if wall := wallOf(t); !wall.Equal(date) { // there is no such midnight
		begin, end := t.ZoneBounds()
		if wall.Before(date) {
			return end
		}
		return begin
	}
	if begin, _ := t.ZoneBounds(); !begin.IsZero() {
		_, before := begin.Add(-1).Zone()
		_, after := t.Zone()
		if first := t.Add(time.Duration(after-before) * time.Second); first.Before(begin) && wallOf(first).Equal(date) {
			return first
		}
	}
	return t
}

// wallOf returns what the clocks show at a time in its zone, as a time in UTC.
func wallOf(t time.Time) time.Time {
	y, m, d := t.Date()
	hour, minute, second := t.Clock()
	return time.Date(y, m, d, hour, minute, second, 0, time.UTC)
}
