package report

import (
	"fmt"
	"strconv"
	"time"

	"berth/schema"
)

// Period is a range of time [From, To), and the one before that it is compared with.
type Period struct {
	Name             string // as it was asked for; empty: a range
	From, To         time.Time
	BeforeFrom, Back time.Time // the period before is [BeforeFrom, Back)
}

// longest is the longest period.
const longest = 5 * 366 * 24 * time.Hour

// Range returns the period [from, to), compared with as much time before it.
func Range(from, to time.Time) (Period, error) {
	switch {
	case !from.Before(to):
		return Period{}, schema.Errorf(schema.Invalid, "the range ends at %s, not after it begins at %s", to.Format(time.RFC3339), from.Format(time.RFC3339))
	case to.Sub(from) > longest:
		return Period{}, schema.Errorf(schema.Invalid, "a report of more than five years is too long").WithNext("ask for a report of each year")
	}
	return Period{From: from, To: to, BeforeFrom: from.Add(-to.Sub(from)), Back: from}, nil
}

// unit is a span of the calendar.
type unit int

const (
	day unit = iota
	week
	month
	year
)

// add returns the date n units after the one that is given.
func (u unit) add(t time.Time, n int) time.Time {
	switch u {
	case week:
		return t.AddDate(0, 0, 7*n)
	case month:
		return t.AddDate(0, n, 0)
	case year:
		return t.AddDate(n, 0, 0)
	default:
		return t.AddDate(0, 0, n)
	}
}

// begin returns the date at which the unit begins that a date lies in.
func (u unit) begin(t time.Time) time.Time {
	switch u {
	case week: // weeks begin on Monday (ISO 8601)
		return t.AddDate(0, 0, -(int(t.Weekday())+6)%7)
	case month:
		return t.AddDate(0, 0, 1-t.Day())
	case year:
		return t.AddDate(0, 1-int(t.Month()), 1-t.Day())
	default:
		return t
	}
}

// named are the periods that are named from now on.
var named = map[string]struct {
	unit unit
	back int
}{
	"today": {day, 0}, "yesterday": {day, 1},
	"this-week": {week, 0}, "last-week": {week, 1},
	"this-month": {month, 0}, "last-month": {month, 1},
	"this-year": {year, 0}, "last-year": {year, 1},
}

// ParsePeriod returns a period by its name, cut in a zone: today, yesterday, this-week, last-week, this-month, last-month,
// this-year, last-year, or a day, week, month or year such as 2026-03-29, 2026-W13, 2026-03, 2026. One that lasts ends now,
// and is compared with as much of the one before.
func ParsePeriod(name string, now time.Time, zone *time.Location) (Period, error) {
	var u unit
	var first time.Time // a date, in UTC
	if n, ok := named[name]; ok {
		u, first = n.unit, n.unit.add(n.unit.begin(dateOf(now, zone)), -n.back)
	} else {
		var err error
		if u, first, err = parseUnit(name); err != nil {
			return Period{}, err
		}
	}
	p := Period{
		Name: name, From: schema.DateStart(first, zone), To: schema.DateStart(u.add(first, 1), zone),
		BeforeFrom: schema.DateStart(u.add(first, -1), zone),
	}
	p.Back = p.From
	if !p.From.Before(now) {
		return Period{}, schema.Errorf(schema.Invalid, "the period %s has not begun", name)
	}
	if now.Before(p.To) {
		p.To = now
		if back := p.BeforeFrom.Add(now.Sub(p.From)); back.Before(p.Back) {
			p.Back = back
		}
	}
	return p, nil
}

// parseUnit reads a day, week, month or year.
func parseUnit(name string) (unit, time.Time, error) {
	for layout, u := range map[string]unit{"2006-01-02": day, "2006-01": month, "2006": year} {
		if t, err := time.Parse(layout, name); err == nil && t.Year() >= 1970 && t.Year() < 2200 {
			return u, t, nil
		}
	}
	if len(name) == len("2026-W13") && name[4:6] == "-W" {
		y, yearErr := strconv.Atoi(name[:4])
		w, weekErr := strconv.Atoi(name[6:])
		if yearErr == nil && weekErr == nil && y >= 1970 && y < 2200 {
			t := week.begin(time.Date(y, 1, 4, 0, 0, 0, 0, time.UTC)).AddDate(0, 0, 7*(w-1)) // January 4th is always in week 1
			if gotYear, gotWeek := t.ISOWeek(); gotYear == y && gotWeek == w && fmt.Sprintf("%04d-W%02d", y, w) == name {
				return week, t, nil
			}
		}
	}
	return 0, time.Time{}, schema.Errorf(schema.Invalid, "%q is no period", name).
		WithNext("use yesterday, last-week, last-month, last-year, today, this-week, this-month, this-year, or one such as 2026-03-29, 2026-W13, 2026-03, 2026; or give from and to")
}

// dateOf returns the date of a time in a zone, as midnight UTC.
func dateOf(t time.Time, zone *time.Location) time.Time {
	y, m, d := t.In(zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}
