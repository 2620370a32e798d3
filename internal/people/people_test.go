package people

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/internal/bus/bustest"
	"berth/schema"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, bustest.Leaks()...) }

// What opens something of a provider ends with it, and nothing of another: one whose name begins so, and the operators.
func TestKeysOfAProviderAreDropped(t *testing.T) {
	h := bustest.New(t)
	conn := h.Connect(h.Authority.House())
	if err := conn.PrepareHouse(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b, err := Open(t.Context(), conn, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	links, tokens, shares := map[string]string{}, map[string]string{}, map[string]string{}
	for _, p := range []string{"provider1", "provider10", ""} {
		scope, role := record.ScopeRead, record.Admin
		if p == "" {
			scope, role = record.ScopeOperate, record.Operator
		}
		if links[p], err = b.NewLink(t.Context(), record.Link{Provider: p, Role: role}); err != nil {
			t.Fatal(err)
		}
		if tokens[p], err = b.NewToken(t.Context(), record.Token{Provider: p, Name: "ci", Scope: scope}); err != nil {
			t.Fatal(err)
		}
		if err := b.Add(t.Context(), record.Person{Name: "anna" + p, Provider: p, Role: role}); err != nil {
			t.Fatal(err)
		}
		share := &record.Share{Provider: p, Name: "March", From: now.Add(-time.Hour), To: now, Expires: now.Add(time.Hour)}
		if shares[p], err = b.NewShare(t.Context(), share); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.DropKeys(t.Context(), "provider1"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"provider1", "provider10", ""} {
		_, _, link := b.Find(t.Context(), links[p])
		_, token := b.Token(t.Context(), tokens[p])
		_, _, person := b.Person(t.Context(), "anna"+p)
		_, share := b.Share(t.Context(), shares[p])
		for what, err := range map[string]error{"link": link, "token": token, "person": person, "share": share} {
			if gone := schema.Is(err, schema.Unauthorized) || schema.Is(err, schema.NotFound); gone != (p == "provider1") || err != nil && !gone {
				t.Errorf("the %s of %q: %v", what, p, err)
			}
		}
	}
}
