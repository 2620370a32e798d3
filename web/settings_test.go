package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/houseapi"
	"berth/schema/record"
)

func TestOnlySettingsThatDifferAreChanged(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	form := func() url.Values {
		t.Helper()
		a := b.get("/providers/north/settings")
		if a.status != http.StatusOK {
			t.Fatalf("status %d: %s", a.status, a.body)
		}
		values := url.Values{}
		for _, m := range regexp.MustCompile(`<input[^>]* name="(\w+)"[^>]* value="([^"]*)"`).FindAllStringSubmatch(a.body, -1) {
			values.Set(m[1], m[2])
		}
		return values
	}
	f := form()
	if f.Get("timezone") != "Europe/Berlin" || f.Get("retention") != "400d" || f.Get("attribute_tags") != "site model" {
		t.Fatalf("the form has %v", f)
	}
	f.Set("attribute_tags", "site, fleet")
	f.Set("gateway_tag", " device ")
	if a := b.post("/providers/north/settings", f, nil); a.status != http.StatusOK || !strings.Contains(a.body, `id="done"`) {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	tag, tags := "device", []string{"site", "fleet"}
	want := &houseapi.SendersRequest{Provider: "north", Act: "set", Settings: &houseapi.SenderSettings{GatewayTag: &tag, AttributeTags: &tags}}
	if d := cmp.Diff(want, h.senders.Load()); d != "" {
		t.Error(d)
	}
	f.Set("retention", "1d")
	if a := b.post("/providers/north/settings", f, nil); a.status != http.StatusOK || strings.Contains(a.body, `id="done"`) || !strings.Contains(a.body, "does not hold: the provider’s ingest cannot use it") {
		t.Errorf("what ingest refuses is answered %d: %s", a.status, a.body)
	}
	f = form()
	f.Set("timezone", "Mars")
	if a := b.post("/providers/north/settings", f, nil); a.status != http.StatusBadRequest || !strings.Contains(a.body, "is no time zone") {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	if a := b.post("/providers/north/settings", f, map[string]string{"Accept-Language": "zh"}); !strings.Contains(a.body, "未作更改：所填内容不符合要求。") {
		t.Errorf("in Chinese it is not said what became of it: %s", a.body)
	}
	if a := h.signedIn(record.Viewer, "north").get("/providers/north/settings"); a.status != http.StatusForbidden {
		t.Errorf("a viewer: status %d", a.status)
	}
}
