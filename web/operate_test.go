package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/houseapi"
	"berth/schema/record"
)

// lacks fails the test for each text that an answer's page does not have.
func (a answer) lacks(t *testing.T, status int, texts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, not %d", a.status, status)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("the page lacks %q: %s", text, a.body)
		}
	}
}

// TestAnActIsDoneAsItWasShown: a page shows what an act comes to; what is done is that, and if it has become something else,
// nothing is done and it is shown anew.
func TestAnActIsDoneAsItWasShown(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Operator, "")
	const page = "/providers/north/operate/restart"
	b.get("/providers/north/operate").lacks(t, 200, "Restart …", "<b>Start ingest</b>", "it does &lt;not&gt; run", "<b>juggle</b>", "to start ingest: port 6007 is held by &lt;nc&gt;<", "to be &lt;later&gt;<")
	other := h.signedIn(record.Operator, "")
	other.do(http.MethodGet, "/?lang=zh", "", nil)
	other.get("/providers/north/operate").lacks(t, 200, "等待启动 ingest：端口 6007 被 &lt;nc&gt; 占用<", `<span lang="en">to be &lt;later&gt;<`)
	b.get(page).lacks(t, 200, `name="plan" value="plan0"`, "<b>Start ingest</b>", "provisioner restart north", "Restart it")
	b.get("/providers/south/operate/stop").lacks(t, 200, "There is nothing to do")
	if q := h.managed.Load(); q.Apply {
		t.Errorf("a page that only shows has done %+v", q)
	}

	h.moved.Add(1)
	moved := b.post(page, url.Values{"form": {b.form()}, "plan": {"plan0"}}, nil)
	moved.lacks(t, 409, "no longer what would be done", `name="plan" value="plan1"`)
	b.post(page, url.Values{"form": {b.form()}, "plan": {"plan1"}}, nil).lacks(t, 200, "It is being restarted")
	if got := b.post(page, url.Values{"form": {b.form()}}, nil); got.status != 400 { // a form without a plan does nothing, whatever it would be
		t.Errorf("status %d without a plan", got.status)
	}
	b.do("GET", page, "", map[string]string{"Accept-Language": "zh"}).lacks(t, 200, "<b>启动 ingest</b>", "将要执行的步骤")

	want := []string{"operator link provider.restart: refused", "operator link provider.restart", "operator link provider.restart: refused"}
	if d := cmp.Diff(want, h.changes("north")); d != "" {
		t.Errorf("the audit log has (-want +got):\n%s", d)
	}
}

// TestARemovalAsksForTheName: nothing is removed unless its name was typed.
func TestARemovalAsksForTheName(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Operator, "")
	const page = "/providers/north/operate/remove"
	b.get(page).lacks(t, 200, "Type north to go on", "provisioner rm north --purge-data")
	for _, typed := range []string{"", "south", "North"} {
		b.post(page, url.Values{"form": {b.form()}, "plan": {"plan0"}, "name": {typed}}, nil).lacks(t, 400, "what was typed is not its name", "Type north to go on")
		if q := h.managed.Load(); q.Apply {
			t.Fatalf("%q: %+v", typed, q)
		}
	}
	b.post(page, url.Values{"form": {b.form()}, "plan": {"plan0"}, "name": {" north "}}, nil).lacks(t, 200, "north is being removed")
	if d := cmp.Diff(&houseapi.ManageRequest{Provider: "north", Act: "remove", Apply: true, Plan: "plan0"}, h.managed.Load()); d != "" {
		t.Error(d)
	}
}

// TestAProviderIsAddedByPage: its name, then the plan, then the way in, which is shown once.
func TestAProviderIsAddedByPage(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Operator, "")
	b.get("/add").lacks(t, 200, "Show the plan")
	b.get("/add?name=East+1").lacks(t, 400, `value="East 1"`, "Show the plan", `role="alert"`)
	b.get("/add?name=east").lacks(t, 200, "6007", "<b>Start ingest</b>", "provisioner add east", `name="plan" value="plan0"`)
	h.moved.Add(1)
	b.post("/add", url.Values{"form": {b.form()}, "plan": {"plan0"}, "name": {"east"}}, nil).lacks(t, 409, "no longer what would be done", `value="plan1"`)
	a := b.post("/add", url.Values{"form": {b.form()}, "plan": {"plan1"}, "name": {"east"}}, nil)
	a.lacks(t, 200, "It is added", "/sign-in?link=ln_", "/providers/east/operate", "/providers/east/connect")
	if got := h.changes("east"); len(got) != 2 || got[0] != "operator link provider.add" {
		t.Errorf("the audit log has %q", got)
	}
	h.addProvider("east", 3, h.now().Add(-time.Minute))
	h.soon("the provider is known", func() bool { return len(h.web.dir.all()) == 3 })
	_, link, _ := strings.Cut(a.body, "/sign-in?link=")
	link, _, _ = strings.Cut(link, "<")
	admin := h.browser()
	if a := admin.post("/sign-in", url.Values{"link": {link}}, nil); a.status != http.StatusSeeOther {
		t.Fatalf("the link: status %d: %s", a.status, a.body)
	}
	if a := admin.get("/providers/east/people"); a.status != 200 {
		t.Errorf("the new admin: status %d", a.status)
	}
	admin.get("/providers/east/operate").lacks(t, 403)
}

// TestProvidersAreRunByAPI: what the pages do is done by the API too, held to a plan if one is named.
func TestProvidersAreRunByAPI(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Operator, "")
	var m houseapi.Managed
	a := b.get("/api/v1/providers/north/plan?act=restart")
	check(t, json.Unmarshal([]byte(a.body), &m))
	if a.status != 200 || m.Plan != "plan0" || m.Applied || m.Steps[0].Text != "north: start ingest (it does <not> run)" {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	if q := h.managed.Load(); q.Act != "restart" || q.Apply {
		t.Errorf("%+v", q)
	}
	form := url.Values{"form": {b.form()}}
	for _, c := range []struct {
		method, path string
		want         houseapi.ManageRequest
		status       int
	}{
		{"POST", "/api/v1/providers/north/restart", houseapi.ManageRequest{Provider: "north", Act: "restart", Apply: true}, 200},
		{"POST", "/api/v1/providers/north/stop?plan=plan0", houseapi.ManageRequest{Provider: "north", Act: "stop", Apply: true, Plan: "plan0"}, 200},
		{"POST", "/api/v1/providers/north/start?plan=other", houseapi.ManageRequest{Provider: "north", Act: "start", Apply: true, Plan: "other"}, 409},
		{"GET", "/api/v1/plan", houseapi.ManageRequest{}, 200},
		{"GET", "/api/v1/plan?add=east", houseapi.ManageRequest{Provider: "east", Act: "add"}, 200},
	} {
		got := b.do(c.method, c.path, form.Encode(), nil)
		if d := cmp.Diff(&c.want, h.managed.Load()); d != "" || got.status != c.status {
			t.Errorf("%s %s: status %d, %s: %s", c.method, c.path, got.status, d, got.body)
		}
	}
	if a := b.get("/api/v1/providers/north/plan?act=add"); a.status != 409 {
		t.Errorf("adding what is there: status %d", a.status)
	}
}

// TestAnOperatorsTokenDoesWhatPagesDo: it is made and revoked on a page, opens the API of the installation and of every provider,
// and no page; a provider's token has no such scope, and one that is nobody's opens nothing.
func TestAnOperatorsTokenDoesWhatPagesDo(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Operator, "")
	b.get("/tokens").lacks(t, 200, "operate: all of every provider")
	b.act("/tokens", "make", "name", "x", "scope", "manage").lacks(t, 400)
	h.signedIn(record.Admin, "north").act("/providers/north/tokens", "make", "name", "x", "scope", "operate").lacks(t, 400)
	made := b.act("/tokens", "make", "name", "deploy", "scope", "operate", "days", "30")
	token := h.bearer(regexp.MustCompile(`bt_[a-z2-7]{32}`).FindString(made.body))
	token.accept = "application/json"
	token.get("/api/v1/survey").lacks(t, 200)
	token.get("/api/v1/providers/south/books").lacks(t, 200)
	asJSON := map[string]string{"Content-Type": "application/json"}
	token.do("POST", "/api/v1/providers", `{"name":"east"}`, asJSON).lacks(t, 200, `"applied":true`)
	token.do("POST", "/api/v1/providers", `{"name":"east","plan":"other"}`, asJSON).lacks(t, 409)
	token.do("DELETE", "/api/v1/providers/north?plan=plan0", "", nil).lacks(t, 200)
	if d := cmp.Diff(&houseapi.ManageRequest{Provider: "north", Act: "remove", Apply: true, Plan: "plan0"}, h.managed.Load()); d != "" {
		t.Error(d)
	}
	if got := h.changes("north"); len(got) == 0 || got[0] != "deploy token provider.remove" {
		t.Errorf("the audit log has %q", got)
	}
	token.get("/").lacks(t, 401)
	h.bearer(h.token("", record.ScopeManage)).get("/api/v1/survey").lacks(t, 401)
	b.act("/tokens", "revoke", "name", "deploy").lacks(t, 200)
	token.get("/api/v1/survey").lacks(t, 401)
}
