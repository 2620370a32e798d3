package sqlite

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"berth/internal/keyspace"
	"berth/schema"
)

// month counts months, UTC: 12 × year + month − 1.
type month int

const monthLayout = "2006-01"

func monthOf(t int64) month {
	u := time.Unix(0, t).UTC()
	return month(u.Year()*12 + int(u.Month()) - 1)
}

func (m month) start() time.Time {
	return time.Date(int(m)/12, time.Month(int(m)%12+1), 1, 0, 0, 0, 0, time.UTC)
}

// file returns the name of the month's file.
func (m month) file() string { return m.start().Format(monthLayout) + ".db" }

// days returns the month's first day and the first after it, counted from 1970-01-01.
func (m month) days() (first, end int64) {
	const daySeconds = schema.DaySpan / int64(time.Second)
	return m.start().Unix() / daySeconds, (m + 1).start().Unix() / daySeconds
}

// monthOfFile returns the month that a file's name names.
func monthOfFile(name string) (month, bool) {
	t, err := time.Parse(monthLayout+".db", name)
	if err != nil {
		return 0, false
	}
	return month(t.Year()*12 + int(t.Month()) - 1), true
}

// months returns the months that have a file in dir, in order.
func months(dir string) ([]month, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []month
	for _, name := range names {
		if m, ok := monthOfFile(name); ok {
			all = append(all, m)
		}
	}
	slices.Sort(all)
	return all, nil
}

// path returns the path of the month's file in dir.
func (m month) path(dir string) string { return filepath.Join(dir, m.file()) }

// inDay returns the day that t lies in, counted from 1970-01-01, and the nanoseconds since it began.
func inDay(t int64) (day, since int64) {
	day = keyspace.DayOf(t)
	return day, t - day*schema.DaySpan // at the ends of int64 both wrap, and the difference is right
}
