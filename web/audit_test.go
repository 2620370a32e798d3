package web

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/api"
	"berth/schema/record"
)

// changes returns who did what, with what became of it, of the newest changes, the newest first.
func (h *house) changes(provider string) (all []string) {
	h.t.Helper()
	list, err := h.web.audit.Newest(h.t.Context(), provider, time.Time{}, 100)
	check(h.t, err)
	for _, c := range list {
		line := strings.TrimSpace(strings.Join([]string{c.Who, string(c.By), c.Does, c.What}, " "))
		if c.Failed != "" {
			line += ": refused"
		}
		if c.Address != "127.0.0.1" || c.Time.IsZero() || c.Provider != provider {
			h.t.Errorf("%+v", c)
		}
		all = append(all, line)
	}
	return all
}

func TestWhatIsChangedIsRecorded(t *testing.T) {
	h := newHouse(t)
	admin := h.signedIn(record.Admin, "north")
	jane := h.person(admin, "/providers/north/people", "admin", "jane")
	jane.act("/providers/north/tokens", "make", "name", "ci", "scope", "manage", "days", "30")
	jane.act("/providers/north/tokens", "make", "name", "ci", "scope", "manage")
	jane.act("/providers/north/groups", "add", "gateways", "gw1", "group", "north")
	jane.act("/providers/north/groups", "add", "gateways", "gw1", "tag", "=3")
	token := h.bearer(h.token("north", record.ScopeWrite))
	token.do(http.MethodDelete, "/api/v1/providers/north/rejects/7", "", nil)
	token.do(http.MethodDelete, "/api/v1/providers/north/tokens/ci", "", nil) // may not: refused before it is a change
	h.withPassword("jane", "wrong")
	h.browser().do(http.MethodPost, "/providers/north/tokens", "", nil)
	admin.get("/providers/north/books")
	want := []string{
		"test token kept.remove 7",
		"jane person groups.change: refused",
		"jane person groups.change gw1",
		"jane person token.change make ci manage: refused",
		"jane person token.change make ci manage",
		"jane person session.begin",
		"admin link people.change invite admin",
		"admin link session.begin",
	}
	if d := cmp.Diff(want, h.changes("north")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := h.changes("south"); len(got) != 0 {
		t.Errorf("south has %v", got)
	}

	page := jane.get("/providers/north/audit")
	if page.status != 200 || !strings.Contains(page.body, "made an") && !strings.Contains(page.body, "make ci manage") {
		t.Errorf("status %d: %s", page.status, page.body)
	}
	file := jane.get("/providers/north/audit.csv")
	rows, err := csv.NewReader(strings.NewReader(file.body)).ReadAll()
	if err != nil || len(rows) != len(want)+1 || rows[1][2] != "admin" || !strings.HasPrefix(file.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the CSV has %d rows, %v: %v", len(rows), err, file.header)
	}
	var answer api.Changes
	check(t, json.Unmarshal([]byte(h.bearer(h.token("north", record.ScopeManage)).get("/api/v1/providers/north/audit").body), &answer))
	if len(answer.Changes) != len(want) {
		t.Errorf("the API answers %d changes", len(answer.Changes))
	}
}

func TestTokensAreMadeUsedAndRevoked(t *testing.T) {
	h := newHouse(t)
	const page, asked = "/providers/north/tokens", "/api/v1/providers/north/gateways"
	admin := h.signedIn(record.Admin, "north")
	made := admin.act(page, "make", "name", "ci", "scope", "read", "days", "30")
	secret := regexp.MustCompile(`bt_[a-z2-7]{32}`).FindString(made.body)
	if made.status != 200 || secret == "" {
		t.Fatalf("status %d: %s", made.status, made.body)
	}
	if again := admin.get(page); strings.Contains(again.body, secret) || !strings.Contains(again.body, "ci") {
		t.Error("a secret is shown twice, or its token not at all")
	}
	if a := h.bearer(secret).get(asked); a.status != 200 {
		t.Errorf("status %d", a.status)
	}
	tokens, err := h.web.book.Tokens(t.Context(), "north")
	if err != nil || len(tokens) != 1 || tokens[0].Used.IsZero() {
		t.Errorf("%+v, %v: its use was not noted", tokens, err)
	}
	for _, wrong := range [][]string{{"name", "ci", "scope", "read"}, {"name", "x", "scope", "all"}, {"name", "", "scope", "read"}, {"name", "x", "scope", "read", "days", "-1"}} {
		if a := admin.act(page, "make", wrong...); a.status != 400 || strings.Contains(a.body, "bt_") {
			t.Errorf("%v: status %d", wrong, a.status)
		}
	}
	h.ahead.Add(int64(31 * 24 * time.Hour))
	if a := h.bearer(secret).get(asked); a.status != 401 {
		t.Errorf("status %d of a token that has expired", a.status)
	}
	h.ahead.Store(0)
	if a := admin.act(page, "revoke", "name", "ci"); a.status != 200 {
		t.Errorf("status %d", a.status)
	}
	if a := h.bearer(secret).get(asked); a.status != 401 {
		t.Errorf("status %d of a token that was revoked", a.status)
	}
	// The API makes and revokes too, for who manages.
	manage := h.bearer(h.token("north", record.ScopeManage))
	var fresh api.NewToken
	a := manage.do(http.MethodPost, "/api/v1/providers/north/tokens", `{"name":"x y/z","scope":"write"}`, map[string]string{"Content-Type": "application/json"})
	if check(t, json.Unmarshal([]byte(a.body), &fresh)); h.bearer(fresh.Secret).get(asked).status != 200 {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	if a := manage.do(http.MethodDelete, "/api/v1/providers/north/tokens/x%20y%2Fz", "", nil); a.status != 200 || h.bearer(fresh.Secret).get(asked).status != 401 {
		t.Errorf("status %d: %s", a.status, a.body)
	}
}

func TestTheAPIIsAskedSoOftenAndNoMore(t *testing.T) {
	before := paceOfAPI
	paceOfAPI = pace{every: 5 * time.Second, burst: 4}
	t.Cleanup(func() { paceOfAPI = before })
	h := newHouse(t)
	const asked = "/api/v1/providers/north/books"
	b, other := h.bearer(h.token("north", record.ScopeRead)), h.signedIn(record.Admin, "north")
	for left := 3; left >= 0; left-- {
		a := b.get(asked)
		if a.status != 200 || a.header.Get("RateLimit-Policy") != `"api";q=4;w=20` || !strings.HasPrefix(a.header.Get("RateLimit"), `"api";r=`+strconv.Itoa(left)+`;t=`) {
			t.Errorf("status %d, header %v", a.status, a.header)
		}
	}
	a := b.get(asked)
	if wait, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != 429 || err != nil || wait < 1 || wait > 5 || !strings.Contains(a.body, `"limited"`) {
		t.Errorf("status %d, header %v: %s", a.status, a.header, a.body)
	}
	if a := other.get(asked); a.status != 200 {
		t.Errorf("somebody else: status %d", a.status)
	}
	h.ahead.Add(int64(5 * time.Second))
	if a := b.get(asked); a.status != 200 {
		t.Errorf("later: status %d", a.status)
	}
}
