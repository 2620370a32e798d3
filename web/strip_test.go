package web

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/api"
	"berth/schema/record"
	"berth/web/locale"
)

func TestAGatewaysDayIsDrawnAndSaid(t *testing.T) {
	catalog, err := locale.Load()
	check(t, err)
	berlin, err := time.LoadLocation("Europe/Berlin")
	check(t, err)
	states := slices.Repeat([]api.State{api.Online}, 24)
	day := &api.Day{From: time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC), States: states}
	in := func(code string) *strip {
		f := &frame{Printer: catalog.Printer(code), zone: berlin}
		return f.stripOf(day)
	}
	if d := cmp.Diff(&strip{Wide: 96, Bars: []stripBar{{api.Online, "M0 0h95"}}, Text: "Readings as usual in 24 of 24 hours"}, in("en")); d != "" {
		t.Error(d)
	}
	for hour, state := range map[int]api.State{0: api.Never, 5: api.Late, 6: api.Offline, 7: api.Offline, 23: api.Offline} {
		states[hour] = state
	}
	want := &strip{Wide: 96, Text: "Readings as usual in 19 of 24 hours; too few in 1 (16:00–17:00); none in 3 (17:00–19:00, 10:00–11:00); 1 before it was first seen", Bars: []stripBar{
		{api.Online, "M4 0h15M32 0h59"}, {api.Late, "M20 0h3"}, {api.Offline, "M24 0h7M92 0h3"}, {api.Never, "M0 0h3"},
	}}
	if d := cmp.Diff(want, in("en")); d != "" {
		t.Error(d)
	}
	if got, want := in("zh").Text, "24 小时中有 19 小时读数正常；1 小时偏少（16:00–17:00）；3 小时没有读数（17:00–19:00, 10:00–11:00）；1 小时尚未首次上报"; got != want {
		t.Errorf("it says %s, want %s", got, want)
	}
}

// TestEachGatewayHasItsOwnFigures: in the list each has its day, and its rejects where they can be told; and each column its order.
func TestEachGatewayHasItsOwnFigures(t *testing.T) {
	h := newHouse(t)
	day := func(state string) string {
		return `{"from":"2026-11-26T10:00:00Z","states":["` + strings.Join(slices.Repeat([]string{state}, 24), `","`) + `"]}`
	}
	h.reports["north"].answer("/gateways", `{"gateways":[{"name":"a","state":"online","readings_last_hour":5,"rejects":0,"day":`+day("online")+
		`},{"name":"b","state":"offline","readings_last_hour":6,"day":`+day("offline")+`}],"complete":true}`)
	body := h.signedIn(record.Admin, "north").get("/providers/north?sort=-rate").body
	_, rows, _ := strings.Cut(body, `/gateways/a"`)
	a, b, _ := strings.Cut(rows, `/gateways/b"`)
	for row, wants := range map[string][]string{
		a:    {"as usual in 24 of 24 hours", `<td class="number">5</td>`, `<td class="number">0</td>`},
		b:    {"as usual in 0 of 24 hours; none in 24", `<td class="number">6</td>`, `<td class="number">–</td>`},
		body: {`?sort=rate" title="Readings that arrived`, `?sort=-rejects" title="Of what it sent`},
	} {
		for _, want := range wants {
			if !strings.Contains(row, want) {
				t.Errorf("it lacks %q: %s", want, row)
			}
		}
	}
}
