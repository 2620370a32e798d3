package control

import (
	"strconv"
	"strings"
	"time"

	"berth/schema"
)

const day = 24 * time.Hour

// ParseRetention reads a span such as 400d, 52w, 5y (of 365 days) or 36h.
func ParseRetention(s string) (time.Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": day, "w": 7 * day, "y": 365 * day} {
		number, ok := strings.CutSuffix(s, suffix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n > 100_000 {
			break
		}
		return time.Duration(n) * unit, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, schema.Errorf(schema.Invalid, "%q is no span of time", s).WithNext("give one such as 400d, 52w, 5y or 36h")
	}
	return d, nil
}

// FormatRetention writes a span in days where it is whole days.
func FormatRetention(d time.Duration) string {
	if d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return d.String()
}
