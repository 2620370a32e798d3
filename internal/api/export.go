package api

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"berth/schema"
)

// Cursor names a reading by its identity, as a place in an export, which has readings in order of gateway, time and sensor.
type Cursor struct {
	Gateway string
	Time    int64 // ns
	Sensor  string
}

// String returns the cursor as requests write it: gateway/time_ns/sensor, names escaped as in a URL's path.
func (c Cursor) String() string {
	return url.PathEscape(c.Gateway) + "/" + strconv.FormatInt(c.Time, 10) + "/" + url.PathEscape(c.Sensor)
}

// ParseCursor reads a cursor as String writes it.
func ParseCursor(s string) (c Cursor, err error) {
	parts := strings.Split(s, "/")
	if len(parts) == 3 {
		var errs [3]error
		c.Gateway, errs[0] = url.PathUnescape(parts[0])
		c.Time, errs[1] = strconv.ParseInt(parts[1], 10, 64)
		c.Sensor, errs[2] = url.PathUnescape(parts[2])
		if errs == [3]error{} && c.Gateway != "" && c.Sensor != "" {
			return c, nil
		}
	}
	return Cursor{}, schema.Errorf(schema.Invalid, "%q is no place in an export", s).
		WithNext("write it as gateway/time_ns/sensor of the last reading that you have, names escaped as in a URL's path")
}

// Export is how far an export has come. It is what lists of those that run hold, and what each says of itself when it ends.
type Export struct {
	ID       string     `json:"id,omitempty"`
	Format   string     `json:"format"`
	From     time.Time  `json:"from"`
	To       time.Time  `json:"to"`
	Begun    time.Time  `json:"begun"`
	Gateways int        `json:"gateways"`             // in all
	Done     int        `json:"gateways_done"`        // walked through
	Gateway  string     `json:"gateway,omitempty"`    // that is walked through now
	Readings uint64     `json:"readings"`             // written
	Bytes    uint64     `json:"bytes"`                // written
	Ended    *time.Time `json:"ended,omitempty"`      // absent: it runs
	Problem  string     `json:"problem,omitempty"`    // why it ended before its end
	Damaged  int        `json:"unreadable,omitempty"` // places that could not be read
	Complete
}

// Exports are those that run, and the last that have ended, the newest first.
type Exports struct {
	Exports []Export `json:"exports"`
}
