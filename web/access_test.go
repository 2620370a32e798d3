package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/credentials"
	"berth/schema/record"
)

func TestLinkSignsInOnce(t *testing.T) {
	h := newHouse(t)
	secret := h.link(record.Admin, "north")
	for range 2 { // looking uses nothing up
		if a := h.browser().get("/sign-in?link=" + secret); a.status != 200 || !strings.Contains(a.body, "Sign in as admin of north") {
			t.Fatalf("status %d: %s", a.status, a.body)
		}
	}
	const racers = 8
	locations := make(chan string, racers)
	var wg sync.WaitGroup
	for range racers {
		b := h.browser()
		wg.Go(func() { locations <- b.post("/sign-in", url.Values{"link": {secret}}, nil).header.Get("Location") })
	}
	wg.Wait()
	close(locations)
	in := 0
	for l := range locations {
		if l == "/providers/north" {
			in++
		} else if l != "" {
			t.Errorf("sent to %s", l)
		}
	}
	if in != 1 {
		t.Errorf("%d of %d were signed in, want 1", in, racers)
	}
	b := h.browser()
	if a := b.get("/sign-in?link=" + secret); a.status != 401 || !strings.Contains(a.body, "was used already") {
		t.Errorf("status %d of a used link", a.status)
	}
	if a := b.post("/sign-in", url.Values{"link": {secret}}, nil); a.status != 401 || len(a.header.Values("Set-Cookie")) > 0 {
		t.Errorf("status %d of a used link, cookies %v", a.status, a.header.Values("Set-Cookie"))
	}
}

func TestLinksThatAreNoGood(t *testing.T) {
	h := newHouse(t)
	put := func(l record.Link) string {
		secret := credentials.NewKey("ln_")
		h.put("links", credentials.Hash(secret), l)
		return secret
	}
	now := time.Now()
	for name, secret := range map[string]string{
		"expired":                 put(record.Link{Version: 1, Role: record.Operator, Created: now.Add(-2 * time.Hour), Expires: now.Add(-time.Hour)}),
		"of no role":              put(record.Link{Version: 1, Created: now, Expires: now.Add(time.Hour)}),
		"of a provider that went": put(record.Link{Version: 1, Role: record.Admin, Provider: "west", Created: now, Expires: now.Add(time.Hour)}),
		"of an earlier provider of that name": put(record.Link{
			Version: 1, Role: record.Admin, Provider: "north", Created: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), Expires: now.Add(time.Hour),
		}),
		"unknown":   "ln_unknown",
		"empty":     "",
		"very long": strings.Repeat("x", 3000),
	} {
		if a := h.browser().post("/sign-in", url.Values{"link": {secret}}, nil); a.status != 401 || len(a.header.Values("Set-Cookie")) > 0 {
			t.Errorf("a link %s: status %d", name, a.status)
		}
	}
}

func TestSessionCookieAndEnd(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	// What was pasted may be the whole link; a proxy of this host may say that the browser speaks TLS.
	pasted := " http://example.org/sign-in?link=" + h.link(record.Operator, "") + " "
	a := b.post("/sign-in", url.Values{"link": {pasted}}, map[string]string{"X-Forwarded-Proto": "https"})
	cookie := a.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Lax", "Path=/", "Secure", "Expires="} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q lacks %s", cookie, want)
		}
	}
	b = h.signedIn(record.Admin, "north")
	page := b.get("/providers/north/connect")
	form := regexp.MustCompile(`name="form" value="([a-z2-7]+)"`).FindStringSubmatch(page.body)
	if form == nil {
		t.Fatal("the page has no form token")
	}
	if a := b.post("/sign-out", url.Values{"form": {form[1]}}, nil); a.status != 303 {
		t.Fatalf("sign-out: status %d", a.status)
	}
	if a := b.get("/providers/north/connect"); a.status != 303 {
		t.Errorf("status %d after signing out", a.status)
	}
}

func TestEndedSessionIsEndedOnTheServer(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	at, err := url.Parse("http://" + h.web.Addr())
	check(t, err)
	kept := b.client.Jar.Cookies(at)
	form := regexp.MustCompile(`name="form" value="([a-z2-7]+)"`).FindStringSubmatch(b.get("/providers/north/connect").body)
	b.post("/sign-out", url.Values{"form": {form[1]}}, nil)
	b.client.Jar.SetCookies(at, kept)
	if a := b.get("/providers/north/connect"); a.status != 303 {
		t.Errorf("status %d for a cookie of a session that was ended", a.status)
	}
}

func TestSessionEndsWithItsProvider(t *testing.T) {
	h := newHouse(t)
	b, token := h.signedIn(record.Admin, "north"), h.browser()
	token.bearer = h.token("north", record.ScopeWrite)
	h.remove("providers", "north")
	h.soon("the provider is gone", func() bool { _, err := h.web.dir.provider("north"); return err != nil })
	if a := b.get("/providers/north"); a.status != 303 {
		t.Errorf("status %d for a session whose provider is gone", a.status)
	}
	if a := token.get("/api/v1/providers/north/gateways"); a.status != 401 {
		t.Errorf("status %d for a token whose provider is gone", a.status)
	}
	h.addProvider("north", 1, time.Now()) // another of the same name
	h.soon("the provider is back", func() bool { _, err := h.web.dir.provider("north"); return err == nil })
	if a := b.get("/providers/north"); a.status != 303 {
		t.Errorf("status %d for a session of an earlier provider of the same name", a.status)
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	h := newHouse(t)
	secret := h.link(record.Operator, "")
	for _, header := range []map[string]string{{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}} {
		if a := h.browser().post("/sign-in", url.Values{"link": {secret}}, header); a.status != 403 {
			t.Errorf("sign-in from another site: status %d with %v", a.status, header)
		}
	}
	b := h.browser()
	if a := b.post("/sign-in", url.Values{"link": {secret}}, map[string]string{"Sec-Fetch-Site": "same-origin"}); a.status != 303 {
		t.Fatalf("sign-in: status %d", a.status)
	}
	for _, form := range []url.Values{nil, {"form": {""}}, {"form": {"wrong"}}} {
		if a := b.post("/sign-out", form, nil); a.status != 403 {
			t.Errorf("sign-out with form %v: status %d", form, a.status)
		}
	}
	if a := b.get("/"); a.status != 200 {
		t.Errorf("status %d: a refused form ended the session", a.status)
	}
}

func TestSignInGoesOnWithinThisSiteOnly(t *testing.T) {
	for next, want := range map[string]string{
		"/providers/north?from=now-6h&to=now": "/providers/north?from=now-6h&to=now", "/": "/", "": "/", "https://evil.example/": "/", "//evil.example": "/",
		`/\evil.example`: "/", "/\t/evil.example": "/", "javascript:alert(1)": "/", "evil.example": "/", "///evil.example": "/",
		"/%2F/evil.example": "/", "http:evil.example": "/", "/providers/north#x": "/providers/north", "/..//evil.example": "/..//evil.example",
	} {
		if got := localPath(next); got != want {
			t.Errorf("localPath(%q) = %q, want %q", next, got, want)
		}
	}
	h := newHouse(t)
	for next, want := range map[string]string{"//evil.example": "/providers/north", "/providers/north/books": "/providers/north/books"} {
		a := h.browser().post("/sign-in", url.Values{"link": {h.link(record.Admin, "north")}, "next": {next}}, nil)
		if got := a.header.Get("Location"); got != want {
			t.Errorf("next %q leads to %q, want %q", next, got, want)
		}
	}
}

func TestEveryAnswerIsGuardedAgainstScripts(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Operator, "")
	paths := []string{"/nowhere", "/providers/nowhere"}
	for _, r := range h.web.http.Routes() {
		paths = append(paths, fillRoute(r.Path, "north"))
	}
	for _, path := range paths {
		a := b.get(path)
		policy := a.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "object-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy %q lacks %s", path, policy, want)
			}
		}
		for name, want := range map[string]string{
			"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := a.header.Get(name); got != want && got != "no-referrer" { // a shared report leaves its address nowhere
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: pages of other sites may read it", path)
		}
		if strings.Contains(policy, "unsafe") || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: header %v", path, a.header)
		}
		if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			if found := inline.FindString(a.body); found != "" {
				t.Errorf("%s has inline script or style: %s", path, found)
			}
		}
	}
}

// inline finds what the policy forbids.
var inline = regexp.MustCompile(`(?i)<style|<script(?:\s+defer)?>|\sstyle=|\son[a-z]+=|javascript:|<b>fine`)

// What is kept is fed or removed only by a form of the session, and only what the form may name.
func TestRejectsAreFedByAFormOfTheSession(t *testing.T) {
	h := newHouse(t)
	r := h.reports["north"]
	r.answer("/rejects", `{"rejects":[{"id":7,"time":"2026-11-21T10:00:00Z","gateway":"g1","format":"line","reason":"why","kept":3,"refused":9,"raw":"bSBh"}],"kept":1}`)
	b := h.signedIn(record.Admin, "north")
	page := b.get("/providers/north/rejects")
	form := regexp.MustCompile(`name="form" value="([a-z2-7]+)"`).FindStringSubmatch(page.body)
	if form == nil || !strings.Contains(page.body, `href="/api/v1/providers/north/rejects/7/raw"`) || !strings.Contains(page.body, "only 3 bytes are kept") {
		t.Fatal(page.body)
	}
	r.asked()
	fields := url.Values{"form": {form[1]}, "shelf": {"rejects"}, "id": {"7"}, "act": {"feed"}}
	if a := b.post("/providers/north/rejects", fields, nil); a.status != 200 || !strings.Contains(a.body, "7 was fed again: 3 readings were stored.") {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	if asked := r.asked(); len(asked) == 0 || asked[0].Method != http.MethodPost || asked[0].URL.Path != "/api/v1/providers/north/rejects/7/feed" {
		t.Errorf("asked %v", asked)
	}
	for name, wrong := range map[string]string{"form": "x", "shelf": "../books", "id": "7/feed", "act": "burn"} {
		bad := url.Values{"form": {form[1]}, "shelf": {"rejects"}, "id": {"7"}, "act": {"feed"}}
		bad.Set(name, wrong)
		if a := b.post("/providers/north/rejects", bad, nil); a.status != 403 && a.status != 400 {
			t.Errorf("%s=%s: status %d", name, wrong, a.status)
		}
	}
	if a := b.post("/providers/north/rejects", fields, map[string]string{"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}); a.status != 403 {
		t.Errorf("from another site: status %d", a.status)
	}
	if asked := r.asked(); len(asked) > 0 {
		t.Errorf("what was refused reached reports: %s", asked[0].URL)
	}
	fields.Set("act", "remove")
	if a := b.post("/providers/north/rejects", fields, nil); a.status != 200 || !strings.Contains(a.body, "7 was removed.") {
		t.Errorf("status %d: %s", a.status, a.body)
	}
}
