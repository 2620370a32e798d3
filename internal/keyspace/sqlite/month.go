package sqlite

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/keyspace"
	"berth/schema"
)

// month counts months, UTC: 12 × year + month − 1.
type month int

const (
	monthLayout = "2006-01"
	daySeconds  = schema.DaySpan / int64(time.Second)
)

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

// asideMark stands between the month and a number in the name of a file that was set aside, because it could not be
// written: 2026-03.damaged-1.db. What can be read of it still is.
const asideMark = ".damaged-"

// asideFile returns the name of the month's file number n that is set aside.
func (m month) asideFile(n int) string {
	return m.start().Format(monthLayout) + asideMark + strconv.Itoa(n) + ".db"
}

// monthFiles are the files of one month: its own, and those that were set aside.
type monthFiles struct {
	month month
	names []string
}

// months returns the months that have a file in dir, in order.
func months(dir string) ([]monthFiles, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	byMonth := map[month]*monthFiles{}
	var all []*monthFiles
	for _, name := range names {
		plain, number, aside := strings.Cut(strings.TrimSuffix(name, ".db"), asideMark)
		m, ok := monthOfFile(plain + ".db")
		if _, err := strconv.Atoi(number); !ok || aside && err != nil || !strings.HasSuffix(name, ".db") {
			continue
		}
		if byMonth[m] == nil {
			byMonth[m] = &monthFiles{month: m}
			all = append(all, byMonth[m])
		}
		byMonth[m].names = append(byMonth[m].names, name)
	}
	slices.SortFunc(all, func(a, b *monthFiles) int { return cmp.Compare(a.month, b.month) })
	out := make([]monthFiles, len(all))
	for i := range all {
		out[i] = *all[i]
	}
	return out, nil
}

// path returns the path of the month's file in dir.
func (m month) path(dir string) string { return filepath.Join(dir, m.file()) }

// inDay returns the day that t lies in, counted from 1970-01-01, and the nanoseconds since it began.
func inDay(t int64) (day, since int64) {
	day = keyspace.DayOf(t)
	return day, t - day*schema.DaySpan // at the ends of int64 both wrap, and the difference is right
}
