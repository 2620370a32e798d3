package web

import (
	"strings"
	"testing"

	"berth/schema/record"
	"berth/web/locale"
)

func TestEveryLimitHasItsWords(t *testing.T) {
	catalog, err := locale.Load()
	check(t, err)
	for _, language := range locale.Languages {
		texts := catalog.Texts(language.Code)
		for _, each := range record.EachLimit() {
			if texts["limit."+each.Name] == "" {
				t.Errorf("%s has no words in %s", each.Name, language.Code)
			}
		}
	}
}

func TestBooksShowLimitsAndWhatTheyDid(t *testing.T) {
	h := newHouse(t)
	h.reports["north"].answer("/books", `{"reasons":{"syntax":2,"slowed_readings_rate":41,"keyspace_bytes":7},"at":"2026-11-21T10:00:00Z","state":"quota",
		"limits":[{"name":"connections","used":19000,"limit":20000},{"name":"keyspace_bytes","used":1048576,"limit":2097152},{"name":"bytes_per_second","used":2048,"limit":0}]}`)
	body := h.signedIn(record.Admin, "north").get("/providers/north/books").body
	for _, want := range []string{
		"keyspace full</dd>",
		`<div class="near"><dt>connections</dt><dd>19,000 of 20,000 (95 %)</dd>`,
		`<div><dt>size of the keyspace</dt><dd>1.0` + "\u00a0" + `MiB of 2.0` + "\u00a0" + `MiB (50 %)</dd>`,
		`<dd>2.0` + "\u00a0" + `KiB, no limit</dd>`,
		`<dt>for the provider’s readings a second</dt><dd>41</dd>`,
		`<dt>the keyspace is full</dt><dd>7</dd>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
