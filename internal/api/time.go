package api

import (
	"strconv"
	"strings"
	"time"

	"berth/schema"
)

// units are what a span such as 6h may be counted in.
var units = map[byte]time.Duration{
	's': time.Second,
	'm': time.Minute,
	'h': time.Hour,
	'd': 24 * time.Hour,
	'w': 7 * 24 * time.Hour,
}

// ParseTime reads a time as requests write it: RFC 3339, epoch milliseconds, "now", "now-6h" or "now+1d" (units s, m,
// h, d, w). Anything else is Invalid.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if rest, ok := strings.CutPrefix(s, "now"); ok {
		span, err := parseSpan(rest)
		if err != nil {
			return time.Time{}, err
		}
		return now.Add(span), nil
	}
	if millis, err := strconv.ParseInt(s, 10, 64); err == nil {
		t := time.UnixMilli(millis)
		if !Answerable(t) {
			return time.Time{}, schema.Errorf(schema.Invalid, "the time %s is not in milliseconds since 1970", s)
		}
		return t, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || !Answerable(t) {
		return time.Time{}, schema.Errorf(schema.Invalid, "%q is no time", s).
			WithNext("write it as 2026-01-31T12:00:00Z, as epoch milliseconds, or as now-6h")
	}
	return t, nil
}

// Answerable says whether requests may name a time: from 1740 to 2200, well inside what an int64 of nanoseconds counts.
func Answerable(t time.Time) bool {
	const most = 7_258_118_400_000 // the begin of 2200, in milliseconds since 1970
	return t.UnixMilli() >= -most && t.UnixMilli() <= most
}

// parseSpan reads what follows "now": nothing, or a sign, a number and a unit.
func parseSpan(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if len(s) >= 3 && (s[0] == '-' || s[0] == '+') {
		unit, known := units[s[len(s)-1]]
		n, err := strconv.Atoi(s[1 : len(s)-1])
		if known && err == nil && n >= 0 && n <= 100_000 && time.Duration(n) < 100*365*24*time.Hour/unit {
			if s[0] == '-' {
				n = -n
			}
			return time.Duration(n) * unit, nil
		}
	}
	return 0, schema.Errorf(schema.Invalid, "%q after now is no span", s).WithNext("write it as -6h, with s, m, h, d or w")
}
