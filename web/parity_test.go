package web

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/internal/api"
	"berth/schema/record"
)

// ofOneself is what no API is for: what people do as themselves, by their session.
const ofOneself = ""

// byAPI has, for each form's address, what it does and by which operation of the API the same is done; "." is the provider's
// own API. What it does is the value of act, or, where the form has none, empty.
var byAPI = map[string]map[string]string{
	"/sign-in":  {"": ofOneself},
	"/sign-out": {"": ofOneself},
	"/account":  {"take": ofOneself, "password": ofOneself, "end": ofOneself},
	"/add":      {"": "POST /providers"},
	"/people": {
		"invite": "POST /people", "reset": "POST /people/:person/reset", "sign_out": "POST /people/:person/sign-out",
		"role": "POST /people" /* operators have one role */, "remove": "DELETE /people/:person", "end": "DELETE /sessions/:session",
	},
	"/tokens":           {"make": "POST /tokens", "revoke": "DELETE /tokens/:token"},
	"./operate/restart": {"": "POST ./restart"},
	"./operate/stop":    {"": "POST ./stop"},
	"./operate/start":   {"": "POST ./start"},
	"./operate/remove":  {"": "DELETE ."},
	"./gateways/:gateway": {
		"annotate": "POST ./gateways/:gateway/annotations", "unannotate": "DELETE ./gateways/:gateway/annotations/:id", "group": "POST ./groupings",
	},
	"./groups":   {"add": "POST ./groupings", "remove": "POST ./groupings"},
	"./sensors":  {"": "POST ./sensors"},
	"./settings": {"": "POST ./senders"},
	"./rejects":  {"feed": "POST ./rejects/:id/feed", "remove": "DELETE ./rejects/:id"},
	"./keys": {
		"add": "POST ./senders", "approve": "POST ./senders", "ask_approval": "POST ./senders", "client_ca": "POST ./senders", "let_in": "POST ./senders",
		"networks": "POST ./senders", "no_client_ca": "POST ./senders", "refuse": "POST ./senders", "replace": "POST ./senders",
		"require_tls": "POST ./senders", "revoke": "POST ./senders", "rotate": "POST ./senders", "take_plain": "POST ./senders",
	},
	"./people": {
		"invite": "POST ./people", "reset": "POST ./people/:person/reset", "sign_out": "POST ./people/:person/sign-out",
		"role": "PUT ./people/:person/role", "remove": "DELETE ./people/:person", "end": "DELETE ./sessions/:session",
	},
	"./tokens": {"make": "POST ./tokens", "revoke": "DELETE ./tokens/:token"},
	"./schedules": {
		"add": "POST ./schedules", "change": "PUT ./schedules/:id", "remove": "DELETE ./schedules/:id", "pause": "POST ./schedules/:id/pause",
		"resume": "POST ./schedules/:id/resume", "test": "POST ./schedules/:id/test", "again": "POST ./schedules/:id/runs/:run/again",
	},
	"./shares": {"make": "POST ./shares", "revoke": "DELETE ./shares/:share"},
}

// templatesOf are the templates whose forms lead to an address, where it is not the one of the same name.
var templatesOf = map[string][]string{
	"/sign-in": {"signin"}, "/sign-out": {"layout"}, "./gateways/:gateway": {"gateway"}, "./shares": {"shares", "reports"},
	"./operate/restart": {"act"}, "./operate/stop": {"act"}, "./operate/start": {"act"}, "./operate/remove": {"act"},
}

var (
	actInForm  = regexp.MustCompile(`name="act" value="([^"]+)"`)
	oneOrOther = regexp.MustCompile(`^\{\{if [^}]+\}\}(\w+)\{\{else\}\}(\w+)\{\{end\}\}$`)
)

// formsIn returns what the forms of templates do, those of the parts that they include too.
func formsIn(t *testing.T, names []string) map[string]bool {
	t.Helper()
	acts, posts := map[string]bool{}, false
	for _, name := range names {
		source, err := os.ReadFile("templates/" + name + ".html")
		check(t, err)
		text := string(source)
		if strings.Contains(text, `{{template "sessions"`) {
			acts["end"] = true
		}
		posts = posts || strings.Contains(text, `method="post"`)
		for _, m := range actInForm.FindAllStringSubmatch(text, -1) {
			if both := oneOrOther.FindStringSubmatch(m[1]); both != nil {
				acts[both[1]], acts[both[2]] = true, true
				continue
			}
			acts[m[1]] = true
		}
	}
	if posts && len(acts) == 0 {
		acts[""] = true
	}
	return acts
}

// TestWhatThePagesDoTheAPIDoes: each form of each page does what an operation of the API does too, which whoever may send
// the form may ask.
func TestWhatThePagesDoTheAPIDoes(t *testing.T) {
	routes, operations := (&Web{}).routes(), api.Operations()
	apiRoute := func(name string) (route, bool) {
		method, path, _ := strings.Cut(name, " ")
		if rest, own := strings.CutPrefix(path, "."); own {
			path = apiPrefix + rest
		} else {
			path = housePrefix + path
		}
		i := slices.IndexFunc(routes, func(r route) bool { return r.method == method && r.path == path })
		if i < 0 || !slices.ContainsFunc(operations, func(o api.Operation) bool { return o.Method == method && routeOf(&o) == path }) {
			return route{}, false
		}
		return routes[i], true
	}
	known := map[string]bool{}
	for _, r := range routes {
		if r.isAPI() || r.does == "" {
			continue
		}
		page := strings.Replace(r.path, homePrefix, ".", 1)
		known[page] = true
		names := templatesOf[page]
		if names == nil {
			names = []string{page[strings.LastIndex(page, "/")+1:]}
		}
		forms := formsIn(t, names)
		for act := range forms {
			if _, ok := byAPI[page][act]; !ok {
				t.Errorf("the form %q of %s does what no operation of the API is named for here", act, page)
			}
		}
		for act, name := range byAPI[page] {
			if !forms[act] {
				t.Errorf("%s has no form %q", page, act)
			}
			if name == ofOneself {
				continue
			}
			if at, ok := apiRoute(name); !ok || at.access > r.access {
				t.Errorf("%s %q: the API has no %s for who may send the form", page, act, name)
			}
		}
	}
	for page := range byAPI {
		if !known[page] {
			t.Errorf("there is no form at %s", page)
		}
	}
}

// The operators' tokens open the installation and every provider; none of a provider's does, whatever it says of itself.
func TestOperatorsHaveTokens(t *testing.T) {
	h := newHouse(t)
	operator := h.signedIn(record.Operator, "")
	made := operator.act("/tokens", "make", "name", "nightly", "scope", "operate", "days", "30")
	secret := regexp.MustCompile(`bt_[a-z2-7]{32}`).FindString(made.body)
	if made.status != 200 || secret == "" {
		t.Fatalf("status %d: %s", made.status, made.body)
	}
	if a := operator.act("/tokens", "make", "name", "less", "scope", "manage"); a.status != 400 {
		t.Errorf("an operators' token of a provider's scope: status %d", a.status)
	}
	if a := h.signedIn(record.Admin, "north").act("/providers/north/tokens", "make", "name", "more", "scope", "operate"); a.status != 400 {
		t.Errorf("a provider's token of the operators' scope: status %d", a.status)
	}
	token, asJSON := h.bearer(secret), map[string]string{"Content-Type": "application/json"}
	for _, path := range []string{"/api/v1/survey", "/api/v1/usage", "/api/v1/usage?format=csv", "/api/v1/audit?format=csv", "/api/v1/providers/south/audit?format=csv", "/api/v1/providers/north/gateways"} {
		if a := token.get(path); a.status != 200 {
			t.Errorf("%s: status %d: %s", path, a.status, a.body)
		}
		for _, scope := range []record.Scope{record.ScopeManage, record.ScopeOperate} { // the second as nothing makes it
			if a := h.bearer(h.token("south", scope)).get(path); a.status == 200 && !strings.HasPrefix(path, "/api/v1/providers/south") {
				t.Errorf("%s is open to a token of south, of scope %s", path, scope)
			}
		}
	}
	if a := h.bearer(h.token("south", record.ScopeOperate)).do(http.MethodPost, "/api/v1/providers/south/people", `{"role":"admin"}`, asJSON); a.status != 403 {
		t.Errorf("a token of south that calls itself the operators': status %d", a.status)
	}
	if a := h.bearer(h.token("", record.ScopeManage)).get("/api/v1/survey"); a.status == 200 {
		t.Error("a token of nobody runs the installation")
	}
	var link api.Link
	a := token.do(http.MethodPost, "/api/v1/people", `{"role":"operator"}`, asJSON)
	if check(t, json.Unmarshal([]byte(a.body), &link)); a.status != 200 || !strings.Contains(link.URL, "/sign-in?link=") {
		t.Errorf("an invitation: status %d: %s", a.status, a.body)
	}
	// Whoever came by a link is seen and ended.
	var open api.Sessions
	if check(t, json.Unmarshal([]byte(token.get("/api/v1/sessions").body), &open)); len(open.Sessions) != 1 || open.Sessions[0].Address == "" {
		t.Fatalf("sessions of operators: %+v", open)
	}
	foreign := "/api/v1/providers/north/sessions/" + open.Sessions[0].ID
	if a := token.do(http.MethodDelete, foreign, "", nil); a.status != 404 {
		t.Errorf("a session of an operator, as one of north: status %d", a.status)
	}
	if a := token.do(http.MethodDelete, "/api/v1/sessions/"+open.Sessions[0].ID, "", nil); a.status != 200 || operator.get("/").status != 303 {
		t.Errorf("ending a session: status %d", a.status)
	}
	if a := token.do(http.MethodDelete, "/api/v1/tokens/nightly", "", nil); a.status != 200 || token.get("/api/v1/survey").status != 401 {
		t.Errorf("revoking itself: status %d", a.status)
	}
}
