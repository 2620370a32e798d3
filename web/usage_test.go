package web

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"berth/internal/usage"
	"berth/schema/record"
)

// An operator sees what every provider used, as page, CSV and JSON.
func TestUsage(t *testing.T) {
	h := newHouse(t)
	made := time.Unix(1767225600, 0).UTC()
	for day, n := range map[string]uint64{"2026-11-30": 1000, "2026-12-01": 4711} {
		h.put("usage", "north.1767225600."+day, record.Usage{
			Version: 1, Provider: "north", Of: made, Day: day, From: made, At: made, Begin: record.Used{Readings: 1}, End: record.Used{Readings: n + 1, Bytes: 1 << 20},
			Gateways: 3, Storage: 1 << 30,
		})
	}
	h.put("usage", "south.1767225600.2026-10-31", record.Usage{Version: 1, Provider: "south", Of: made, Day: "2026-10-31", End: record.Used{Readings: 5}})
	b := h.signedIn(record.Operator, "")
	for path, want := range map[string][]string{
		"/usage":                                  {"711</td>", "000</td>", "2026-11", "2026-12", "south", "/usage.csv?by=&amp;month=&amp;provider="},
		"/usage?by=day&provider=north":            {"2026-12-01", "711</td>", "GiB</td>"},
		"/usage?month=nonsense":                   {"is no month"},
		"/usage.csv?month=2026-12&provider=north": {"provider,provider_made,period,", "north,2026-01-01T00:00:00Z,2026-12,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z,4711,0,0,0,1048576,3,1073741824,0"},
	} {
		a := b.get(path)
		for _, text := range want {
			if a.status != 200 || !strings.Contains(a.body, text) {
				t.Errorf("%s: status %d, lacks %q: %s", path, a.status, text, a.body)
			}
		}
	}
	for _, path := range []string{"/usage?provider=north", "/usage.csv?provider=north", "/usage.json?provider=north"} {
		if a := b.get(path); strings.Contains(a.body, "south") {
			t.Errorf("%s tells of another provider: %s", path, a.body)
		}
	}
	var all usage.Usage
	check(t, json.Unmarshal([]byte(b.get("/api/v1/usage?by=day").body), &all))
	if len(all.Usage) != 3 || all.Usage[1].Readings != 4711 {
		t.Errorf("%+v", all)
	}
	if a := b.get("/usage.csv?month=13"); a.status != 400 {
		t.Errorf("status %d of a month that is none", a.status)
	}
}
