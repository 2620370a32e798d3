package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"berth/schema/record"
)

// A scheduled report is made, shown in the form that changes it, changed by page and API, and its history offers to run
// again what readings came after.
func TestAScheduledReportIsChanged(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	fields := url.Values{
		"form": {b.form()}, "act": {"add"}, "name": {"Every day"}, "every": {"daily"}, "hour": {"6"}, "format": {"pdf", "csv"}, "language": {"zh"},
		"recipients": {"a@example.com en\nb@example.com"}, "gateways": {"crane"},
	}
	if a := b.post("/providers/north/schedules", fields, nil); a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	api := h.bearer(h.token("north", record.ScopeWrite))
	var list struct{ Schedules []record.Schedule }
	check(t, json.Unmarshal([]byte(api.get("/api/v1/providers/north/schedules").body), &list))
	if len(list.Schedules) != 1 || list.Schedules[0].Recipients[1].Language != "zh" {
		t.Fatalf("%+v", list)
	}
	s := list.Schedules[0]
	run := record.ScheduleRun{
		Version: 1, Provider: "north", Schedule: s.ID, From: time.Unix(1767225600, 0), To: time.Unix(1767312000, 0), State: record.RunDone,
		Made: time.Now(), Checked: time.Now(), Readings: 4, Late: 3, LateAt: time.Now(), Letters: []record.Letter{{Recipient: s.Recipients[0], State: record.LetterUnknown}},
	}
	h.put("runs", "north."+s.ID+".1767225600.0", run)
	page := b.get("/providers/north/schedules").body
	for _, want := range []string{
		`name="id" value="` + s.ID + `"`, "a@example.com en\nb@example.com zh\n</textarea>", `value="csv" checked`, `value="Every day"`,
		"3 readings came after it", `value="again"`, "unknown whether it arrived; not sent again by itself",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	fields.Set("act", "change")
	fields.Set("id", s.ID)
	fields.Set("name", "Every week")
	fields.Set("every", "weekly")
	if a := b.post("/providers/north/schedules", fields, nil); a.status != http.StatusOK || !strings.Contains(a.body, "Every week") {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	body := `{"name":"By the API","every":"weekly","hour":7,"formats":["xlsx"],"recipients":[{"address":"c@example.com","language":"en"}],"id":"other","provider":"south"}`
	path := "/api/v1/providers/north/schedules/" + s.ID
	if a := api.do(http.MethodPut, path, body, map[string]string{"Content-Type": "application/json"}); a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	check(t, json.Unmarshal([]byte(api.get("/api/v1/providers/north/schedules").body), &list))
	got := list.Schedules[0]
	if len(list.Schedules) != 1 || got.ID != s.ID || got.Provider != "north" || got.Name != "By the API" || !got.Created.Equal(s.Created) || got.Since.IsZero() {
		t.Errorf("%+v", list.Schedules)
	}
	for _, wrong := range []string{
		strings.Replace(body, "weekly", "hourly", 1), strings.Replace(body, "c@example.com", "nobody", 1), "{",
		strings.Replace(body, `"id"`, `"gateways":[" a"],"id"`, 1), strings.Replace(body, `"en"`, `"xx"`, 1),
	} {
		if a := api.do(http.MethodPut, path, wrong, map[string]string{"Content-Type": "application/json"}); a.status != http.StatusBadRequest {
			t.Errorf("status %d of %s", a.status, wrong)
		}
	}
	if a := api.do(http.MethodPut, path+"x", body, map[string]string{"Content-Type": "application/json"}); a.status != http.StatusNotFound {
		t.Errorf("status %d of a schedule that is not there", a.status)
	}
	for i := range mostSchedules - 1 {
		s.ID = fmt.Sprint("many", i)
		h.put("schedules", "north."+s.ID, s)
	}
	if a := api.do(http.MethodPost, "/api/v1/providers/north/schedules", body, map[string]string{"Content-Type": "application/json"}); a.status != http.StatusTooManyRequests {
		t.Errorf("status %d of one too many", a.status)
	}
}
