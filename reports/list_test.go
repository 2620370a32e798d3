package reports

import (
	"encoding/csv"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/sheet"
)

// TestTheListAsCSV has more gateways than a page holds.
func TestTheListAsCSV(t *testing.T) {
	b := newBench(t)
	b.more = []string{"later", "much later", "ä"}
	if status, text := b.tell("/groupings", api.Groupings{Gateways: []api.Grouping{{Gateway: gateway, Groups: []string{"=north", "a"}, Tags: map[string]string{"site": "Kai 3"}}}}); status != http.StatusOK {
		t.Fatalf("said: %d %s", status, text)
	}
	answer := b.ask(root + "/gateways?format=csv&limit=2")
	rows, err := csv.NewReader(strings.NewReader(b.text(answer))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if answer.Header.Get("Berth-Complete") != "true" || !strings.HasSuffix(answer.Header.Get("Content-Disposition"), `-gateways.csv"`) {
		t.Errorf("headers %v", answer.Header)
	}
	var names []string
	for _, row := range rows {
		names = append(names, row[0])
	}
	if got := strings.Join(names, ","); got != "gateway,"+gateway+",later,much later,ä" {
		t.Fatalf("listed are %s", got)
	}
	after := b.ask(root + "/gateways?format=csv&after=later")
	if rest, err := csv.NewReader(strings.NewReader(b.text(after))).ReadAll(); err != nil || after.StatusCode != http.StatusOK || len(rest) != 3 || rest[1][0] != "much later" {
		t.Errorf("after later are listed %v, %v", rest, err)
	}
	at := b.begin.UTC().Format(time.RFC3339Nano)
	if got, want := strings.Join(rows[1][1:], "|"), "offline|"+at+"|"+at+"|0|2|'=north;a|site=Kai 3||0|0|0"; got != want {
		t.Errorf("its row is %s, want %s", got, want)
	}
	if got := strings.Join(rows[2][1:], "|"); got != "never|||0|0||||0|0|0" {
		t.Errorf("the row of one that was never seen is %s", got)
	}
	ordered := b.ask(root + "/gateways?format=csv&limit=2&sort=-last_seen&state=never")
	rows, err = csv.NewReader(strings.NewReader(b.text(ordered))).ReadAll()
	if ordered.StatusCode != http.StatusOK || err != nil || len(rows) != 4 || rows[1][0] != "later" || rows[3][0] != "ä" {
		t.Errorf("those never seen, sorted: %q, %v", rows, err)
	}
	if answer := b.ask(root + "/gateways?sort=colour"); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("an order that is none: %s", b.text(answer))
	}
	if answer := b.ask(root + "/gateways?format=pdf"); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("a format that is none: %s", b.text(answer))
	}
}

// TestARowOfTheList has another value in each column.
func TestARowOfTheList(t *testing.T) {
	first, last := time.Unix(1767225600, 0), time.Unix(1767312000, 5)
	g := api.Gateway{
		Name: "g", State: api.Online, FirstSeen: &first, LastSeen: &last, Interval: 2.5, Sensors: 3, Groups: []string{"a"}, Tags: map[string]string{"t": "1"},
		Attributes: map[string]string{"model": "x"}, ClockAhead: 200, Rate: 4711, Rejects: new(uint64(7)),
	}
	var got strings.Builder
	out, err := sheet.NewCSV(&got, "titles")
	if err == nil {
		err = errors.Join(out.Row(gatewayCells(&g)...), out.Flush())
	}
	if want := "titles\ng,online,2026-01-01T00:00:00Z,2026-01-02T00:00:00.000000005Z,2.5,3,a,t=1,model=x,200,4711,7\n"; err != nil || got.String() != want {
		t.Errorf("%v, %q, want %q", err, got.String(), want)
	}
}
