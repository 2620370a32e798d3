package web

import (
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/schema/record"
)

var update = flag.Bool("update", false, "write what the golden files hold")

// TestEveryRouteIsListed holds the route table against a list that a person has looked at: a new route, or a route that
// somebody else may ask than before, fails until the list says so too.
func TestEveryRouteIsListed(t *testing.T) {
	names := map[access]string{
		anybody: "anybody", signedIn: "signed in", mayRead: "read", mayWrite: "write", mayManage: "manage", mayOperate: "operate",
	}
	var got strings.Builder
	for _, r := range (&Web{}).routes() {
		fmt.Fprintf(&got, "%-6s %-60s %-10s %s\n", r.method, r.path, names[r.access], r.does)
	}
	path := filepath.Join("testdata", "routes.golden")
	text := regexp.MustCompile(`(?m) +$`).ReplaceAllString(got.String(), "")
	if *update {
		check(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if string(want) != text {
		t.Errorf("%s differs; look at who may ask what, then: go test ./web -run EveryRouteIsListed -update\n%s", path, text)
	}
}

func TestRoutesThatSayTooLittleAreRefused(t *testing.T) {
	handler := func(http.ResponseWriter, *http.Request) error { return nil }
	good := route{method: http.MethodPost, path: homePrefix + "/x", access: mayWrite, does: "x.change", handler: handler}
	check(t, good.check())
	for name, change := range map[string]func(r *route){
		"no access":                   func(r *route) { r.access = 0 },
		"no such access":              func(r *route) { r.access = mayOperate + 1 },
		"a provider's, open to all":   func(r *route) { r.access = signedIn },
		"a role at no provider":       func(r *route) { r.path = "/x" },
		"a change without a name":     func(r *route) { r.does = "" },
		"a question that is a change": func(r *route) { r.method = http.MethodGet },
		"nothing that answers":        func(r *route) { r.handler = nil },
	} {
		r := good
		change(&r)
		if r.check() == nil {
			t.Errorf("a route with %s was taken", name)
		}
	}
}

// fillRoute puts a provider and a gateway into a route's pattern.
func fillRoute(pattern, provider string) string {
	path := strings.NewReplacer(":provider", provider, ":gateway", "crane", ":hash", "0", ":name", "x", ":id", "7", ":run", "1767225600.0", ":file", "0", ":person", "nobody", ":token", "none", ":session", "none", ":share", "none").Replace(pattern)
	if strings.HasSuffix(path, "/first") {
		path += "?since=0"
	}
	return path
}

var requestIDs = regexp.MustCompile(`"request_id":"[^"]*"|<code>[a-z2-7]{20}</code>`)

// asker is somebody who asks, and the most that they may do at north.
type asker struct {
	name string
	*browser
	may       access
	token     bool
	described *openAPIDocument
}

// askers are all kinds of people and tokens of a house with the providers north and south.
func (h *house) askers() (of []asker, foreign []asker) {
	for _, a := range []struct {
		role     record.Role
		provider string
		may      access
	}{{record.Viewer, "north", mayRead}, {record.Admin, "north", mayManage}, {record.Operator, "", mayOperate}} {
		of = append(of, asker{name: string(a.role), browser: h.signedIn(a.role, a.provider), may: a.may})
	}
	for scope, may := range map[record.Scope]access{record.ScopeRead: mayRead, record.ScopeWrite: mayWrite, "": mayWrite, record.ScopeManage: mayManage} {
		of = append(of, asker{name: "token of scope " + string(scope), browser: h.bearer(h.token("north", scope)), may: may, token: true})
	}
	of = append(of, asker{name: "token of the operators", browser: h.bearer(h.token("", record.ScopeOperate)), may: mayOperate, token: true})
	for _, role := range []record.Role{record.Admin, record.Viewer} {
		foreign = append(foreign, asker{name: "foreign " + string(role), browser: h.signedIn(role, "south")})
	}
	foreign = append(foreign, asker{name: "foreign token", browser: h.bearer(h.token("south", record.ScopeManage)), token: true})
	return of, foreign
}

func (h *house) bearer(token string) *browser {
	b := h.browser()
	b.bearer = token
	return b
}

// TestNobodySeesAnotherProvider asks every route there is as everybody: nobody, a wrong token, the people and tokens of
// another provider, and those of the provider itself with every role and scope. A provider of others is answered exactly
// as one that does not exist, and its reports are never asked.
func TestNobodySeesAnotherProvider(t *testing.T) {
	h := newHouse(t)
	of, foreign := h.askers()
	nobody := []asker{{name: "nobody", browser: h.browser()}, {name: "wrong token", browser: h.bearer("bt_wrong"), token: true}}
	described, tried := documented(t), 0
	for _, list := range [][]asker{of, foreign, nobody} {
		for i := range list {
			list[i].described = &described
		}
	}
	for _, r := range h.web.routes() {
		provided := strings.Contains(r.path, ":provider")
		for _, a := range nobody {
			got := ask(t, a, r, "north")
			if refused := sentAway(r, got) || r.path == signInPath && got.status == http.StatusUnauthorized; refused == (r.access == anybody) && r.does != "session.begin" {
				t.Errorf("%s %s: status %d for %s", r.method, r.path, got.status, a.name)
			}
		}
		if r.access == anybody {
			continue
		}
		for _, a := range foreign {
			tryForeign(t, a, r, provided)
		}
		if asked := h.reports["north"].asked(); len(asked) > 0 {
			t.Errorf("%s %s: strangers reached reports: %s", r.method, r.path, asked[0].URL)
		}
		for _, a := range of {
			if !provided && r.does != "" {
				continue // ends the session, or the like
			}
			if strings.Contains(r.path, "/schedules/:id") { // somebody may have removed it
				h.putRun()
			}
			tried++
			tryOwn(t, a, r)
		}
		h.reports["north"].asked()
	}
	if tried < 150 {
		t.Errorf("only %d times was something tried", tried)
	}
}

// ask asks a route, and holds the answer against the API's description.
func ask(t *testing.T, a asker, r route, provider string) answer {
	t.Helper()
	got := a.do(r.method, fillRoute(r.path, provider), "", nil)
	a.described.holds(t, r, got)
	return got
}

// sentAway reports whether an answer is that of somebody who is not signed in.
func sentAway(r route, a answer) bool {
	if r.isAPI() || r.method != http.MethodGet {
		return a.status == http.StatusUnauthorized
	}
	return a.status == http.StatusSeeOther && (a.header.Get("Location") == signInPath || strings.HasPrefix(a.header.Get("Location"), signInPath+"?next="))
}

// tryForeign asks as somebody of another provider.
func tryForeign(t *testing.T, a asker, r route, provided bool) {
	t.Helper()
	switch got := ask(t, a, r, "north"); {
	case a.token && !r.isAPI():
		if !sentAway(r, got) {
			t.Errorf("%s %s: status %d for an API token, which opens no page", r.method, r.path, got.status)
		}
	case provided:
		if got.status != http.StatusNotFound {
			t.Errorf("%s %s: status %d for %s", r.method, r.path, got.status, a.name)
		}
		like, want := requestIDs.ReplaceAllString(got.body, ""), requestIDs.ReplaceAllString(ask(t, a, r, "nowhere").body, "")
		if strings.ReplaceAll(like, "north", "nowhere") != want {
			t.Errorf("%s %s: another provider's %q differs from none's %q for %s", r.method, r.path, like, want, a.name)
		}
	case r.access == mayOperate && got.status != http.StatusForbidden:
		t.Errorf("%s %s: status %d for %s", r.method, r.path, got.status, a.name)
	}
}

// tryOwn asks as somebody of the provider.
func tryOwn(t *testing.T, a asker, r route) {
	t.Helper()
	got := ask(t, a, r, "north")
	switch {
	case a.token && !r.isAPI():
		if !sentAway(r, got) {
			t.Errorf("%s %s: status %d for %s, which opens no page", r.method, r.path, got.status, a.name)
		}
		return
	case a.may < r.access, !a.token && r.does != "": // a form without the session's token is refused as well
		if got.status != http.StatusForbidden {
			t.Errorf("%s %s: status %d for %s", r.method, r.path, got.status, a.name)
		}
		if a.may < r.access || a.token {
			return
		}
	case a.token && r.does != "": // what it asks for is nothing that is there, which is the handler's own answer
		if got.status == http.StatusUnauthorized || got.status == http.StatusForbidden || strings.Contains(got.body, "no such provider") {
			t.Errorf("%s %s: status %d for %s: %s", r.method, r.path, got.status, a.name, got.body)
		}
	case got.status != http.StatusOK && got.status != http.StatusSeeOther || sentAway(r, got):
		t.Errorf("%s %s: status %d for %s: %s", r.method, r.path, got.status, a.name, got.body)
	}
	if r.does == "" || a.token {
		return
	}
	// With the session's form who may is let through; what is in the form is wrong.
	form := url.Values{"form": {a.form()}}
	if got := a.post(fillRoute(r.path, "north"), form, nil); r.method == http.MethodPost && (got.status == http.StatusForbidden || got.status == http.StatusUnauthorized) {
		t.Errorf("%s %s: status %d for %s with the session's form", r.method, r.path, got.status, a.name)
	}
}

var formToken = regexp.MustCompile(`name="form" value="([a-z2-7]+)"`)

// form returns the form token of the browser's session.
func (b *browser) form() string {
	b.h.t.Helper()
	a := b.get("/")
	if a.status == http.StatusSeeOther {
		a = b.get(a.header.Get("Location"))
	}
	found := formToken.FindStringSubmatch(a.body)
	if found == nil {
		b.h.t.Fatalf("the page has no form token: %s", a.body)
	}
	return found[1]
}
