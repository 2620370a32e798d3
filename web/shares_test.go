package web

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
	"berth/internal/people"
	"berth/schema/record"
)

const sharedReport = `{"provider":"north","zone":"Europe/Berlin","from":"2026-03-01T00:00:00+01:00","to":"2026-04-01T00:00:00+02:00","until":"2026-04-01T00:00:00+02:00","made":"2026-04-02T00:00:00+02:00","gateways":[{"gateway":"crane <1>","readings":4711,"sensors":[],"complete":true}],"totals":{"gateways":1,"readings":4711},"complete":true}`

// A report is shared by page and API; who has the link sees it without a session, and nobody else does once it has
// expired, is revoked, or its provider is another.
func TestASharedReport(t *testing.T) {
	h := newHouse(t)
	north := h.reports["north"]
	north.answer("/reports/preview", sharedReport)
	b := h.signedIn(record.Admin, "north")
	report := b.get("/providers/north/reports?period=2026-03&gateway=crane+%3C1%3E").body
	for _, want := range []string{`action="/providers/north/shares"`, `name="from" value="2026-03-01T00:00:00`, `name="days"`} {
		if !strings.Contains(report, want) {
			t.Errorf("the report's page lacks %q", want)
		}
	}
	grouped := b.get("/providers/north/reports?period=2026-03&tag=site").body
	if !strings.Contains(grouped, `name="gateway" value="crane &lt;1&gt;"`) {
		t.Error("a report of a tag would be shared of all gateways")
	}
	if viewer := h.signedIn(record.Viewer, "north").get("/providers/north/reports?period=2026-03").body; strings.Contains(viewer, "/shares") {
		t.Error("a viewer is offered to share")
	}
	made := b.post("/providers/north/shares", url.Values{
		"form": {b.form()}, "act": {"make"}, "name": {"March <b>"}, "days": {"7"}, "gateway": {"crane"},
		"from": {"2026-03-01T00:00:00+01:00"}, "to": {"2026-04-01T00:00:00+02:00"},
	}, nil)
	found := regexp.MustCompile(`id="share">http://[^/]+(/shared\?key=rl_[a-z2-7]+)<`).FindStringSubmatch(made.body)
	if made.status != http.StatusOK || found == nil {
		t.Fatalf("status %d: %s", made.status, made.body)
	}
	if strings.Contains(b.get("/providers/north/shares").body, "rl_") {
		t.Error("the link is shown twice")
	}
	path := html.UnescapeString(found[1])
	guest := h.browser()
	north.asked()
	a := guest.get(path)
	for _, want := range []string{"March &lt;b&gt;", "crane &lt;1&gt;", "4,711", "format=pdf&amp;key=rl_", "2026"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the guest's page lacks %q", want)
		}
	}
	if a.status != http.StatusOK || strings.Contains(a.body, "/providers/north") || a.header.Get("X-Robots-Tag") != "noindex, nofollow" ||
		a.header.Get("Cache-Control") != "no-store" || a.header.Get("Referrer-Policy") != "no-referrer" || a.header.Get("Set-Cookie") != "" {
		t.Errorf("status %d, %v", a.status, a.header)
	}
	if asked := north.asked(); len(asked) != 1 || asked[0].URL.Query().Get("gateway") != "crane" || asked[0].URL.Query().Get("from") != "2026-02-28T23:00:00Z" {
		t.Errorf("asked %v", asked)
	}
	if a := guest.get(path + "&format=csv&gateway=other&from=2020-01-01T00:00:00Z"); a.status != http.StatusOK || a.header.Get("Content-Disposition") == "" {
		t.Errorf("status %d, %v", a.status, a.header)
	}
	if asked := north.asked(); len(asked) != 1 || asked[0].URL.Query().Get("gateway") != "crane" || len(asked[0].URL.Query()["gateway"]) != 1 {
		t.Errorf("a guest chose what is asked: %v", asked)
	}
	var list api.Shares
	manage := h.bearer(h.token("north", record.ScopeManage))
	check(t, json.Unmarshal([]byte(manage.get("/api/v1/providers/north/shares").body), &list))
	if len(list.Shares) != 1 || list.Shares[0].Name != "March <b>" || list.Shares[0].Expires.Sub(list.Shares[0].Created) > 7*24*time.Hour {
		t.Fatalf("%+v", list)
	}
	other := h.bearer(h.token("south", record.ScopeManage))
	if a := other.do(http.MethodDelete, "/api/v1/providers/south/shares/"+list.Shares[0].ID, "", nil); a.status != http.StatusNotFound {
		t.Errorf("another provider's: status %d", a.status)
	}
	if a := manage.do(http.MethodDelete, "/api/v1/providers/north/shares/"+list.Shares[0].ID, "", nil); a.status != http.StatusOK {
		t.Errorf("revoking: status %d: %s", a.status, a.body)
	}
	if a := guest.get(path); a.status != http.StatusNotFound || strings.Contains(a.body, "4,711") {
		t.Errorf("after it was revoked: status %d", a.status)
	}
}

func TestSharesThatAreNoGood(t *testing.T) {
	h := newHouse(t)
	now := time.Now()
	p, err := h.web.dir.provider("north")
	check(t, err)
	put := func(change func(*record.Share)) string {
		secret := credentials.NewKey("rl_")
		s := record.Share{Version: 1, ID: "x", Provider: "north", Of: p.Created, Name: "n", From: now.Add(-time.Hour), To: now, Created: now, Expires: now.Add(time.Hour)}
		change(&s)
		h.put("shares", credentials.Hash(secret), s)
		return secret
	}
	if a := h.browser().get("/shared?key=" + put(func(*record.Share) {})); a.status != http.StatusOK {
		t.Fatalf("a good one: status %d: %s", a.status, a.body)
	}
	h.reports["north"].asked()
	for name, secret := range map[string]string{
		"expired":                             put(func(s *record.Share) { s.Expires = now.Add(-time.Second) }),
		"of a provider that is not there":     put(func(s *record.Share) { s.Provider = "west" }),
		"of an earlier provider of that name": put(func(s *record.Share) { s.Of = p.Created.Add(-1) }),
		"unknown":                             "rl_unknown", "empty": "", "very long": strings.Repeat("x", 3000),
	} {
		if a := h.browser().get("/shared?key=" + secret); a.status != http.StatusNotFound || a.header.Get("X-Robots-Tag") == "" {
			t.Errorf("one %s: status %d", name, a.status)
		}
	}
	if asked := h.reports["north"].asked(); len(asked) > 0 {
		t.Errorf("reports was asked %v", asked[0].URL)
	}
	limited := false
	for range paceOfShared.burst {
		a := h.browser().get("/shared?key=rl_guess")
		limited = limited || a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") != ""
	}
	if !limited {
		t.Error("whoever guesses is not slowed")
	}
	manage := h.bearer(h.token("north", record.ScopeManage))
	listed := func() (shares []api.Share) {
		var list api.Shares
		check(t, json.Unmarshal([]byte(manage.get("/api/v1/providers/north/shares").body), &list))
		return list.Shares
	}
	if n := len(listed()); n != 1 { // the good one; that of the earlier provider of that name is not this one's
		t.Errorf("%d are listed", n)
	}
	for _, body := range []string{
		`{"period":"yesterday"}`, `{"name":"n","period":"yesterday","expires":"2020-01-01T00:00:00Z"}`, `{"name":"n","unknown":1}`,
		`{"name":"n","period":"yesterday","expires":"` + now.Add(400*24*time.Hour).Format(time.RFC3339) + `"}`,
	} {
		if a := manage.do(http.MethodPost, "/api/v1/providers/north/shares", body, map[string]string{"Content-Type": "application/json"}); a.status != http.StatusBadRequest {
			t.Errorf("%s: status %d", body, a.status)
		}
	}
	h.reports["north"].answer("/reports/preview", sharedReport)
	good := manage.do(http.MethodPost, "/api/v1/providers/north/shares", `{"name":"n","period":"last-month"}`, map[string]string{"Content-Type": "application/json"})
	var one api.NewShare
	check(t, json.Unmarshal([]byte(good.body), &one))
	if good.status != http.StatusOK || !strings.Contains(one.URL, "/shared?key=rl_") || one.From.IsZero() || one.Expires.Before(now.AddDate(0, 0, 29)) {
		t.Errorf("status %d: %s", good.status, good.body)
	}
	if n := h.count("shares"); n != 4 { // that which had expired is removed
		t.Errorf("%d are kept", n)
	}
	b := h.signedIn(record.Admin, "north")
	if a := b.act("/providers/north/shares", "revoke", "id", "none"); a.status != http.StatusBadRequest {
		t.Errorf("revoking one that is not there: status %d", a.status)
	}
	if a := b.act("/providers/north/shares", "revoke", "id", one.ID); a.status != http.StatusOK || len(listed()) != 1 || !strings.Contains(a.body, "The link opens nothing any more") {
		t.Errorf("revoking on the page: status %d, %d are listed", a.status, len(listed()))
	}
	for i := range people.MostShares - 1 {
		put(func(s *record.Share) { s.ID = fmt.Sprint("many", i) })
	}
	if a := manage.do(http.MethodPost, "/api/v1/providers/north/shares", `{"name":"n","period":"last-month"}`, map[string]string{"Content-Type": "application/json"}); a.status != http.StatusTooManyRequests {
		t.Errorf("one too many: status %d", a.status)
	}
}
