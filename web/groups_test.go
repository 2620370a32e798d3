package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/api"
	"berth/schema/record"
)

func TestGroupingsAreReadFromCSV(t *testing.T) {
	got, err := groupings.parse(strings.NewReader("\ufeffgateway,tags,groups\n'=crane,site=Kai 3;leased,north; 北区 ;\ngw1,,\n"))
	want := api.Groupings{Gateways: []api.Grouping{
		{Gateway: "=crane", Groups: []string{"north", "北区"}, Tags: map[string]string{"site": "Kai 3", "leased": ""}},
		{Gateway: "gw1", Groups: []string{}, Tags: map[string]string{}},
	}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("read (-want +got):\n%s\n%v", d, err)
	}
	refusesFiles(t, groupings.parse, map[string]string{
		"groups\nx\n": "no column gateway", "gateway,tags\na,=x\n": "row 2", "gateway\n\"\"\n": "row 2",
		"gateway,groups\na,b\nc," + strings.Repeat("x", 61) + "\n": "row 3",
	})
}

// FuzzParseGroupings: a file says of gateways what can be kept and is written as the same, or is Invalid.
func FuzzParseGroupings(f *testing.F) {
	f.Add("gateway,groups,tags\na,b;c,d=e;f\n")
	f.Add("gateway\n'=x\n")
	fuzzFiles(f, groupings.parse, func(t *testing.T, all api.Groupings) {
		for _, g := range all.Gateways {
			again, err := api.ParseGrouping(g.Gateway, g.GroupsText(), g.TagsText())
			if d := cmp.Diff(g, again); d != "" || err != nil {
				t.Fatalf("written and read again (-first +second):\n%s\n%v", d, err)
			}
		}
	})
}

func TestGroupsPage(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	page := b.get("/providers/north/groups")
	for _, want := range []string{"quay &amp; co", "/providers/north?group=quay&#43;%26&#43;co", "reports?group=quay&#43;%26&#43;co&amp;period=yesterday", "tag=site%3D3", "groupings?format=csv"} {
		if !strings.Contains(page.body, want) && !strings.Contains(page.body, strings.ReplaceAll(want, "&#43;", "+")) {
			t.Errorf("the page lacks %q", want)
		}
	}
	saved := b.post("/providers/north/groups", url.Values{"form": {b.form()}, "act": {"add"}, "gateways": {"a\r\nb"}, "group": {"north"}, "tag": {"site=3"}}, nil)
	if !strings.Contains(saved.body, `id="saved"`) {
		t.Errorf("saving is %d", saved.status)
	}
	if wrong := b.post("/providers/north/groups", url.Values{"form": {b.form()}, "act": {"add"}, "gateways": {"a"}, "tag": {"=3"}}, nil); !strings.Contains(wrong.body, "is empty, longer") {
		t.Error("a tag that cannot be is not named")
	}
	file := h.bearer(h.token("north", record.ScopeWrite)).get("/api/v1/providers/north/groupings?format=csv")
	if want := "gateway,groups,tags\n'=crane,a;b,leased;site=3\n"; file.body != want {
		t.Errorf("as CSV it is %q, want %q", file.body, want)
	}
	h.reports["north"].asked()
	b.get("/providers/north?group=quay+%26+co&tag=site%3D3")
	b.get("/providers/north/reports?group=quay+%26+co&tag=site&period=yesterday")
	asked := map[string]bool{}
	for _, r := range h.reports["north"].asked() {
		asked[strings.TrimPrefix(r.URL.Path, "/api/v1/providers/north")+"?"+r.URL.RawQuery] = true
	}
	for _, want := range []string{"/gateways?day=true&group=quay+%26+co&limit=100&tag=site%3D3", "/reports/preview?group=quay+%26+co&period=yesterday&tag=site"} {
		if !asked[want] {
			t.Errorf("%s was not asked: %v", want, asked)
		}
	}
}

func TestAnnotationsOnAGatewaysPage(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	const path = "/providers/north/gateways/crane?from=now-7d&to=now"
	page := b.get(path).body
	for _, want := range []string{"&lt;b&gt;new&lt;/b&gt; rope", "21 Nov 2026, 11:00:00", "jane", "&#34;from_ms&#34;:1795255200000", `value="unannotate"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if viewer := h.signedIn(record.Viewer, "north").get(path).body; strings.Contains(viewer, "unannotate") || !strings.Contains(viewer, "rope") {
		t.Error("a viewer sees no annotation, or may remove it")
	}
	for name, form := range map[string]url.Values{
		"annotate":   {"begin": {"2026-11-21T10:00"}, "end": {""}, "text": {"rope"}},
		"unannotate": {"id": {"7"}},
		"group":      {"groups": {"a;b"}, "tags": {"site=3"}},
	} {
		form.Set("form", b.form())
		form.Set("act", name)
		if a := b.post(path, form, nil); a.status != http.StatusSeeOther || a.header.Get("Location") != path {
			t.Errorf("%s is %d, to %s", name, a.status, a.header.Get("Location"))
		}
	}
	if a := b.post(path, url.Values{"form": {b.form()}, "act": {"annotate"}, "begin": {"soon"}}, nil); !strings.Contains(a.body, `role="alert"`) {
		t.Errorf("a time that cannot be is %d", a.status)
	}
	var note string
	h.reports["north"].with(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 1000)
		n, _ := r.Body.Read(body)
		note = string(body[:n])
		_, _ = w.Write(body[:n])
	})
	token := h.bearer(h.token("north", record.ScopeWrite))
	a := token.do(http.MethodPost, "/api/v1/providers/north/gateways/crane/annotations", `{"from":"2026-11-21T10:00:00Z","text":"x","who":"somebody else"}`,
		map[string]string{"Content-Type": "application/json"})
	if a.status != http.StatusOK || !strings.Contains(note, `"who":"test"`) || !strings.Contains(note, `"to":"2026-11-21T10:00:00Z"`) {
		t.Errorf("by the API it is %d: %s", a.status, note)
	}
}

func TestExportsPageTellsHowFarTheyAre(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Viewer, "north")
	h.reports["north"].answer("/exports", `{"exports":[{"id":"a","format":"xlsx","from":"2026-11-01T00:00:00Z","to":"2026-11-21T00:00:00Z","begun":"2026-11-21T10:00:00Z","gateways":40,"gateways_done":10,"readings":12345,"bytes":2048,"complete":true},
		{"id":"b","format":"csv","from":"2026-11-01T00:00:00Z","to":"2026-11-21T00:00:00Z","begun":"2026-11-21T10:00:00Z","ended":"2026-11-21T10:00:02Z","gateways":4,"gateways_done":1,"problem":"<b>cut</b>","complete":true}]}`)
	page := b.get("/providers/north/exports").body
	for _, want := range []string{`value="25"`, "10 of 40 gateways", "12,345", "under way", "broke off", "&lt;b&gt;cut&lt;/b&gt;", ">2s<", "every 1s"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
