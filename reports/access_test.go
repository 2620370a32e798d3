package reports

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
)

// TestEveryRouteWantsItsProvidersSignature asks every route there is as everybody but the house asking for this provider: a
// route that is added is asked too.
func TestEveryRouteWantsItsProvidersSignature(t *testing.T) {
	b := newBench(t)
	open := map[string]bool{api.AlivePath: true, api.ReadyPath: true}
	fill := func(pattern, name string) string {
		return strings.NewReplacer(":provider", name, ":gateway", url.PathEscape(gateway), ":id", "7").Replace(pattern)
	}
	tried := 0
	for _, r := range b.reports.http.Routes() {
		if open[r.Path] {
			continue
		}
		tried++
		method := func(q *http.Request) { q.Method = r.Method }
		for who, c := range map[string]struct {
			provider string
			change   func(*http.Request)
			status   int
		}{
			"nobody":               {provider, func(q *http.Request) { q.Header = http.Header{} }, http.StatusUnauthorized},
			"another provider":     {provider, func(q *http.Request) { credentials.Sign(q, "token of another", time.Now()) }, http.StatusUnauthorized},
			"a bearer":             {provider, func(q *http.Request) { q.Header = http.Header{"Authorization": {"Bearer " + token}} }, http.StatusUnauthorized},
			"one for another path": {provider, func(q *http.Request) { credentials.Sign(q, token, time.Now()); q.URL.Path += "x" }, http.StatusUnauthorized},
			"its own, for another": {"provider2", func(q *http.Request) { credentials.Sign(q, token, time.Now()) }, http.StatusNotFound},
		} {
			answer := b.ask(fill(r.Path, c.provider), method, c.change)
			moved := who == "one for another path" && answer.StatusCode == http.StatusNotFound // no route has that path
			if text := b.text(answer); answer.StatusCode != c.status && !moved {
				t.Errorf("%s %s for %s is %s, want %d: %s", r.Method, r.Path, who, answer.Status, c.status, text)
			}
		}
		if r.Method == http.MethodGet && !strings.HasSuffix(r.Path, "/live") {
			answer := b.ask(fill(r.Path, provider), method)
			if text := b.text(answer); answer.StatusCode == http.StatusUnauthorized {
				t.Errorf("%s with the right signature is %s: %s", r.Path, answer.Status, text)
			}
		}
	}
	if tried < 9 {
		t.Errorf("only %d routes were tried", tried)
	}
}
