package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"berth/internal/credentials"
	"berth/schema/record"
)

// What the house's records still hold of an earlier provider of a name opens nothing of the one that has it now, and is named
// on none of its pages.
func TestAnEarlierProviderOfTheNameStaysGone(t *testing.T) {
	h := newHouse(t)
	const earlier, id = "of the earlier north", "earlier1"
	admin, token, link := h.signedIn(record.Admin, "north"), h.token("north", record.ScopeManage), h.link(record.Admin, "north")
	h.put("tokens", "earlier", record.Token{Version: 1, Provider: "north", Name: earlier, Scope: record.ScopeRead, Created: time.Now()})
	person := h.person(h.signedIn(record.Admin, "north"), "/providers/north/people", "admin", "Jane "+earlier)
	old, err := h.web.dir.provider("north")
	check(t, err)
	h.put("shares", credentials.Hash("rl_earlier"), record.Share{
		Version: 1, ID: id, Provider: "north", Of: old.Created, Name: earlier, From: time.Unix(0, 0), To: time.Now(), Created: time.Now(), Expires: time.Now().Add(time.Hour),
	})
	h.put("schedules", "north."+id, record.Schedule{Version: 1, ID: id, Provider: "north", Of: old.Created, Name: earlier, Every: record.Daily, Formats: []string{"pdf"}, Paused: true})
	h.put("runs", "north."+id+".1767225600.0", record.ScheduleRun{
		Version: 1, Provider: "north", Schedule: id, From: time.Unix(1767225600, 0), To: time.Unix(1767312000, 0), State: record.RunDone,
	})
	places := []string{"schedules", "shares", "people", "tokens", "audit"}
	seen := func(b *browser) (named []string) {
		for _, place := range places {
			for _, path := range []string{"/providers/north/" + place, "/api/v1/providers/north/" + place} {
				a := b.get(path)
				if a.status != http.StatusOK {
					t.Fatalf("%s: status %d: %.300s", path, a.status, a.body)
				}
				if strings.Contains(a.body, earlier) {
					named = append(named, path)
				}
			}
		}
		return named
	}
	if n := len(seen(h.signedIn(record.Operator, ""))); n < 10 {
		t.Fatalf("before, %d of its pages name what is its own", n)
	}

	h.addProvider("north", 1, time.Now().Add(time.Second)) // beyond all that the test made until here
	h.soon("the new one is known", func() bool {
		p, err := h.web.dir.provider("north")
		return err == nil && p.Created.After(old.Created)
	})
	h.ahead.Store(int64(2 * time.Second))
	for who, b := range map[string]*browser{"an admin by link": admin, "a person": person, "a token": h.bearer(token)} {
		if a := b.get("/api/v1/providers/north/shares"); a.status != http.StatusUnauthorized {
			t.Errorf("%s of the earlier one: status %d", who, a.status)
		}
	}
	if a := h.browser().post("/sign-in", url.Values{"link": {link}}, nil); a.status != http.StatusUnauthorized {
		t.Errorf("a link of the earlier one: status %d", a.status)
	}
	if _, a := h.withPassword("Jane "+earlier, goodPassword); a.status != http.StatusUnauthorized {
		t.Errorf("a password of the earlier one: status %d", a.status)
	}
	if a := h.browser().get("/shared?key=rl_earlier"); a.status != http.StatusNotFound {
		t.Errorf("a share of the earlier one: status %d", a.status)
	}
	now := h.signedIn(record.Admin, "north")
	if named := seen(now); len(named) > 0 {
		t.Errorf("what was the earlier one's is named on %v", named)
	}
	for _, path := range []string{"sessions", "audit.csv", "schedules/" + id + "/runs", "schedules/" + id + "/runs/1767225600.0/files/0"} {
		if a := now.get("/api/v1/providers/north/" + path); strings.Contains(a.body, earlier) || strings.Contains(path, id) && a.status != http.StatusNotFound {
			t.Errorf("%s: status %d: %.300s", path, a.status, a.body)
		}
	}
	for _, act := range []string{"sign_out", "reset", "remove"} {
		if a := now.act("/providers/north/people", act, "name", "Jane "+earlier); a.status < 400 {
			t.Errorf("%s of a person of the earlier one: status %d", act, a.status)
		}
	}
	if _, _, err := h.web.book.Person(t.Context(), "Jane "+earlier); err != nil {
		t.Errorf("the person of the earlier one: %v", err)
	}
}
