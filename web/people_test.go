package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/schema/record"
)

const goodPassword = "vier Boote am Kai"

var shownLink = regexp.MustCompile(`/sign-in\?link=(ln_[a-z2-7]+)`)

// act posts a page's form of the session.
func (b *browser) act(path, act string, fields ...string) answer {
	b.h.t.Helper()
	form := url.Values{"form": {b.form()}, "act": {act}}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.post(path, form, nil)
}

// made returns the secret of the link that a page shows.
func (a answer) made(t *testing.T) string {
	t.Helper()
	found := shownLink.FindStringSubmatch(a.body)
	if a.status != http.StatusOK || found == nil {
		t.Fatalf("status %d, no link: %s", a.status, a.body)
	}
	return found[1]
}

// person invites somebody and returns their browser, signed in.
func (h *house) person(by *browser, path, role, name string) *browser {
	h.t.Helper()
	b := h.browser()
	form := url.Values{"link": {by.act(path, "invite", "role", role).made(h.t)}, "name": {name}, "password": {goodPassword}}
	if a := b.post("/sign-in", form, nil); a.status != http.StatusSeeOther {
		h.t.Fatalf("the invitation of %s: status %d: %s", name, a.status, a.body)
	}
	return b
}

func (h *house) withPassword(name, password string) (*browser, answer) {
	b := h.browser()
	return b, b.post("/sign-in", url.Values{"name": {name}, "password": {password}}, nil)
}

func TestAnInvitationMakesAPersonWhoSignsInByPassword(t *testing.T) {
	h := newHouse(t)
	admin := h.signedIn(record.Admin, "north")
	link := admin.act("/providers/north/people", "invite", "role", "viewer").made(t)
	b := h.browser()
	if a := b.get("/sign-in?link=" + link); a.status != 200 || !strings.Contains(a.body, "viewer of north") || !strings.Contains(a.body, `type="password"`) {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	for _, wrong := range []url.Values{
		{"link": {link}, "name": {"Jane"}, "password": {"short"}},
		{"link": {link}, "name": {" \x00"}, "password": {goodPassword}},
		{"link": {link}, "name": {"jane.of.the.north"}, "password": {"jane.of.the.north north"}},
	} {
		if a := b.post("/sign-in", wrong, nil); a.status != 400 || len(a.header.Values("Set-Cookie")) > 0 || !strings.Contains(a.body, link) {
			t.Errorf("%v: status %d", wrong, a.status)
		}
	}
	if a := b.post("/sign-in", url.Values{"link": {link}, "name": {"Jane"}, "password": {goodPassword}}, nil); a.header.Get("Location") != "/providers/north" {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if a := h.browser().post("/sign-in", url.Values{"link": {link}, "name": {"Joe"}, "password": {goodPassword}}, nil); a.status != 401 {
		t.Errorf("an invitation was used twice: status %d", a.status)
	}
	other := admin.act("/providers/north/people", "invite", "role", "admin").made(t)
	if a := h.browser().post("/sign-in", url.Values{"link": {other}, "name": {"jANE"}, "password": {goodPassword}}, nil); a.status != 400 || !strings.Contains(a.body, "is taken") {
		t.Errorf("a name was given twice: status %d", a.status)
	}

	again, in := h.withPassword("jane", goodPassword)
	if in.header.Get("Location") != "/providers/north" {
		t.Fatalf("status %d: %s", in.status, in.body)
	}
	for path, want := range map[string]int{"/providers/north": 200, "/providers/north/connect": 403, "/providers/north/people": 403, "/people": 403, "/providers/south": 404} {
		if a := again.get(path); a.status != want {
			t.Errorf("%s: status %d for a viewer, want %d", path, a.status, want)
		}
	}
	if a := again.get("/providers/north"); strings.Contains(a.body, "/providers/north/connect") || strings.Contains(a.body, "bk_of_north") {
		t.Error("a viewer is shown what is not for viewers")
	}
}

// A wrong password and a name that nobody has are answered alike.
func TestSigningInTellsNothing(t *testing.T) {
	h := newHouse(t)
	h.person(h.signedIn(record.Operator, ""), "/people", "operator", "olga")
	_, wrong := h.withPassword("olga", "not this password")
	_, nobody := h.withPassword("ogla", "not this password")
	if wrong.status != 401 || strings.ReplaceAll(wrong.body, "olga", "ogla") != nobody.body || len(wrong.header.Values("Set-Cookie")) > 0 {
		t.Errorf("status %d and %d: %s", wrong.status, nobody.status, wrong.body)
	}
	begun := time.Now()
	h.withPassword("nobody", "not this password")
	if took := time.Since(begun); took < 5*time.Millisecond {
		t.Errorf("a name that nobody has was refused after %v, without hashing", took)
	}
}

func TestAttemptsAreLimited(t *testing.T) {
	h := newHouse(t)
	h.person(h.signedIn(record.Operator, ""), "/people", "operator", "olga")
	for range paceOfPair.burst {
		if _, a := h.withPassword("Olga", "wrong"); a.status != 401 {
			t.Fatalf("status %d", a.status)
		}
	}
	if _, a := h.withPassword("olga", goodPassword); a.status != 429 || a.header.Get("Retry-After") == "" || len(a.header.Values("Set-Cookie")) > 0 {
		t.Errorf("one attempt too many: status %d, header %v", a.status, a.header)
	}
	if _, a := h.withPassword("somebody else", goodPassword); a.status != 401 {
		t.Errorf("somebody else is kept out too: status %d", a.status)
	}
	h.ahead.Add(int64(paceOfPair.every))
	if _, a := h.withPassword("olga", goodPassword); a.status != 303 {
		t.Errorf("a minute later: status %d", a.status)
	}
}

func TestPacerIsBoundedAndForgets(t *testing.T) {
	p, limit, now := newPacer(), pace{every: time.Second, burst: 3}, time.Unix(1_700_000_000, 0)
	for i, want := range []int{2, 1, 0} {
		if left, _, wait := p.take("a", limit, now); left != want || wait != 0 {
			t.Errorf("act %d: %d left, wait %v", i, left, wait)
		}
	}
	if _, full, wait := p.take("a", limit, now); wait != time.Second || full != 3*time.Second {
		t.Errorf("one too many: wait %v, full after %v", wait, full)
	}
	if left, _, wait := p.take("a", limit, now.Add(time.Second)); left != 0 || wait != 0 {
		t.Errorf("a second later: %d left, wait %v", left, wait)
	}
	if left, _, _ := p.take("a", limit, now.Add(time.Hour)); left != 2 {
		t.Errorf("an hour later: %d left", left)
	}
	for remote, want := range map[string]string{"1.2.3.4:5": "1.2.3.4", "[::ffff:1.2.3.4]:5": "1.2.3.4", "[2001:db8::1:2:3:4]:5": "2001:db8::/64", "[fe80::1%eth0]:5": "fe80::/64"} {
		if got := networkOf(remote); got != want {
			t.Errorf("networkOf(%s) = %s, want %s", remote, got, want)
		}
	}
}

// What is changed of a person holds for the sessions that they have, at once.
func TestChangesOfPeopleHoldAtOnce(t *testing.T) {
	h := newHouse(t)
	const page = "/providers/north/people"
	admin := h.signedIn(record.Admin, "north")
	jane := h.person(admin, page, "viewer", "jane")
	if admin.act(page, "role", "name", "jane", "role", "admin"); jane.get(page).status != 200 {
		t.Error("jane is no admin yet")
	}
	if a := jane.act(page, "role", "name", "jane", "role", "viewer"); a.status != 400 {
		t.Errorf("jane changed her own role: status %d", a.status)
	}
	if a := admin.act(page, "role", "name", "jane", "role", "operator"); a.status != 400 {
		t.Errorf("an admin made an operator: status %d", a.status)
	}
	if a := admin.act(page, "invite", "role", "operator"); a.status != 400 {
		t.Errorf("an admin invited an operator: status %d", a.status)
	}

	reset := admin.act(page, "reset", "name", "JANE").made(t)
	if jane.get(page).status != 200 {
		t.Error("a link that nobody used ended a session")
	}
	const next = "fünf Boote am Kai"
	b := h.browser()
	if a := b.post("/sign-in", url.Values{"link": {reset}, "password": {next}}, nil); a.status != 303 {
		t.Fatalf("reset: status %d: %s", a.status, a.body)
	}
	if jane.get(page).status != 303 || b.get(page).status != 200 {
		t.Error("a new password did not end the sessions of the old one, or its own")
	}
	if _, a := h.withPassword("jane", goodPassword); a.status != 401 {
		t.Errorf("the old password: status %d", a.status)
	}
	jane, _ = h.withPassword("jane", next)
	if admin.act(page, "sign_out", "name", "jane"); jane.get(page).status != 303 {
		t.Error("a session that an admin ended goes on")
	}
	jane, _ = h.withPassword("jane", next)
	waiting := admin.act(page, "reset", "name", "jane").made(t)
	if admin.act(page, "remove", "name", "jane"); jane.get(page).status != 303 {
		t.Error("a session of who was removed goes on")
	}
	if _, a := h.withPassword("jane", next); a.status != 401 {
		t.Errorf("who was removed signs in: status %d", a.status)
	}
	if a := h.browser().post("/sign-in", url.Values{"link": {waiting}, "password": {next}}, nil); a.status != 401 {
		t.Errorf("who was removed comes back by a link: status %d", a.status)
	}
}

func TestPeopleOfOthersCannotBeChanged(t *testing.T) {
	h := newHouse(t)
	s := h.person(h.signedIn(record.Admin, "south"), "/providers/south/people", "admin", "sue")
	h.person(h.signedIn(record.Operator, ""), "/people", "operator", "olga")
	admin := h.signedIn(record.Admin, "north")
	for _, name := range []string{"sue", "olga", "nobody"} {
		for _, act := range []string{"reset", "remove", "sign_out", "role"} {
			a := admin.act("/providers/north/people", act, "name", name, "role", "viewer")
			if a.status != 400 || !strings.Contains(a.body, "there is nobody called "+name) || shownLink.MatchString(a.body) {
				t.Errorf("%s of %s: status %d", act, name, a.status)
			}
		}
	}
	if a := s.get("/providers/south/people"); a.status != 200 || !strings.Contains(a.body, "sue") {
		t.Errorf("sue: status %d", a.status)
	}
	if a := admin.get("/providers/north/people"); strings.Contains(a.body, "sue") || strings.Contains(a.body, "olga") {
		t.Error("people of others are shown")
	}
}

func TestAPasswordIsChangedByWhoKnowsIt(t *testing.T) {
	h := newHouse(t)
	by := h.signedIn(record.Operator, "")
	olga := h.person(by, "/people", "operator", "olga")
	other, _ := h.withPassword("olga", goodPassword)
	const next = "fünf Boote am Kai"
	for _, wrong := range [][]string{{"current", "wrong", "password", next}, {"current", goodPassword, "password", "short"}, {"password", next}} {
		if a := olga.act("/account", "password", wrong...); a.status != 400 || other.get("/").status != 200 {
			t.Errorf("%v: status %d", wrong, a.status)
		}
	}
	before := olga.cookie()
	if a := olga.act("/account", "password", "current", goodPassword, "password", next); a.status != 303 {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if olga.cookie() == before || olga.get("/account").status != 200 || other.get("/").status != 303 {
		t.Error("the session is the same, or was not kept, or another goes on")
	}
	// Who came by a link takes a name, and has a password from then on.
	if a := by.act("/account", "take", "name", "Otto", "password", goodPassword); a.status != 303 {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if _, a := h.withPassword("otto", goodPassword); a.status != 303 {
		t.Errorf("Otto: status %d", a.status)
	}
}

func (b *browser) cookie() string {
	at, err := url.Parse("http://" + b.h.web.Addr())
	check(b.h.t, err)
	for _, c := range b.client.Jar.Cookies(at) {
		if c.Name == b.h.web.cookie {
			return c.Value
		}
	}
	return ""
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	h := newHouse(t)
	olga := h.person(h.signedIn(record.Operator, ""), "/people", "operator", "olga")
	h.person(h.signedIn(record.Operator, ""), "/people", "operator", "otto")
	second, _ := h.withPassword("olga", goodPassword)
	third, _ := h.withPassword("olga", goodPassword)
	page := olga.get("/account")
	keys := regexp.MustCompile(`name="session" value="([\w-]{43})"`).FindAllStringSubmatch(page.body, -1)
	if len(keys) != 2 {
		t.Fatalf("%d sessions to end, want 2: %s", len(keys), page.body)
	}
	olga.act("/account", "end", "session", keys[0][1])
	if got := []int{second.get("/").status, third.get("/").status}; got[0]+got[1] != 200+303 {
		t.Errorf("after one was ended: %v", got)
	}
	otto, _ := h.withPassword("otto", goodPassword)
	otto.act("/account", "end", "session", keys[1][1])
	otto.act("/account", "end", "session", "others")
	if olga.get("/").status != 200 || second.get("/").status+third.get("/").status != 200+303 {
		t.Error("somebody else's session was ended")
	}
	olga.act("/account", "end", "session", "others")
	if olga.get("/").status != 200 || second.get("/").status != 303 || third.get("/").status != 303 {
		t.Error("the others were not all ended, or more than they")
	}
}

func TestSessionsEndByThemselves(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Operator, "")
	for range 6 { // in use, it outlasts a day
		h.ahead.Add(int64(idleLife - time.Hour))
		if a := b.get("/"); a.status != 200 {
			t.Fatalf("status %d of a session in use", a.status)
		}
	}
	h.ahead.Add(int64(idleLife))
	if a := b.get("/"); a.status != 303 {
		t.Errorf("status %d of a session that nobody used for a day", a.status)
	}
	h.ahead.Store(0)
	b = h.signedIn(record.Operator, "")
	for range 8 {
		h.ahead.Add(int64(idleLife - time.Hour))
		b.get("/")
	}
	if a := b.get("/"); a.status != 303 {
		t.Errorf("status %d of a session of more than a week", a.status)
	}
}

// By TLS the cookie has a name that only this host can have set, and only by TLS.
func TestCookieByTLSIsOfThisHostAlone(t *testing.T) {
	h := newHouse(t)
	secure := map[string]string{"X-Forwarded-Proto": "https"}
	b := h.browser()
	a := b.do(http.MethodPost, "/sign-in", url.Values{"link": {h.link(record.Operator, "")}}.Encode(), secure)
	cookie := a.header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-"+h.web.cookie+"=") || !strings.Contains(cookie, "; Secure") || strings.Contains(cookie, "Domain") || len(cookie) > 4096 {
		t.Fatalf("cookie %q", cookie)
	}
	value, _, _ := strings.Cut(strings.TrimPrefix(cookie, "__Host-"+h.web.cookie+"="), ";")
	for name, want := range map[string]int{"__Host-" + h.web.cookie: 200, h.web.cookie: 303} {
		if a := h.browser().do(http.MethodGet, "/", "", map[string]string{"X-Forwarded-Proto": "https", "Cookie": name + "=" + value}); a.status != want {
			t.Errorf("by TLS with the cookie %s: status %d, want %d", name, a.status, want)
		}
	}
}
