package web

import (
	"net/url"
	"testing"
	"time"
)

// FuzzRange: whatever a page's address asks for, the page has a range that begins before it ends.
func FuzzRange(f *testing.F) {
	for _, seed := range []string{"from=now-6h&to=now", "from=2026-03-29T02:30&to=2026-03-29T03:30:00", "from=now&to=now-1h", "from=1767225600000", "to=9999-12-31T23:59:59Z", "to=2201-01-01T0:00", "to=2199-12-31T23:59:59-11:00", "%zz"} {
		f.Add(seed)
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, query string) {
		q, _ := url.ParseQuery(query) // what it could read is what a page goes by
		d := &gatewayData{}
		d.zone = zone
		d.setRange(q, now)
		from, fromErr := parseTime(d.From, zone, now)
		to, toErr := parseTime(d.To, zone, now)
		if fromErr != nil || toErr != nil || to.Before(from) {
			t.Fatalf("%q is the range from %q to %q: %v, %v", query, d.From, d.To, fromErr, toErr)
		}
	})
}
