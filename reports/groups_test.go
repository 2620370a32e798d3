package reports

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
	"berth/schema/record"
)

// tell posts what is said at a path, and returns status and answer.
func (b *bench) tell(path string, v any) (int, string) {
	b.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	answer := b.ask(root+path+"?sha256="+api.Digest(body), func(r *http.Request) {
		r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(bytes.NewReader(body)), int64(len(body))
		credentials.Sign(r, token, time.Now())
	})
	defer answer.Body.Close()
	return answer.StatusCode, b.text(answer)
}

// of answers a question into v.
func of[T any](b *bench, path string) (v T) {
	b.t.Helper()
	if text := b.textOf(path); json.Unmarshal([]byte(text), &v) != nil {
		b.t.Fatalf("%s is %s", path, text)
	}
	return v
}

func TestGatewaysAreGroupedAndTagged(t *testing.T) {
	b := newBench(t)
	said := func(change string, gs ...api.Grouping) {
		t.Helper()
		if status, text := b.tell("/groupings", api.Groupings{Change: change, Gateways: gs}); status != http.StatusOK {
			t.Fatalf("said: %d %s", status, text)
		}
	}
	said("", api.Grouping{Gateway: gateway, Groups: []string{"north", "a"}, Tags: map[string]string{"site": "Kai 3", "old": ""}}, api.Grouping{Gateway: "later", Groups: []string{"a"}})
	said(api.Add, api.Grouping{Gateway: gateway, Groups: []string{"北区", "a"}, Tags: map[string]string{"leased": ""}})
	said(api.Remove, api.Grouping{Gateway: gateway, Groups: []string{"a"}, Tags: map[string]string{"old": ""}})
	list := of[api.Groupings](b, root+"/groupings")
	if len(list.Gateways) != 2 || list.Gateways[0].GroupsText() != "north;北区" || list.Gateways[0].TagsText() != "leased;site=Kai 3" {
		t.Errorf("kept is %+v", list)
	}
	groups := of[api.Groups](b, root+"/groups")
	if len(groups.Groups) != 3 || groups.Groups[0] != (api.Group{Group: "a", Gateways: 1}) || groups.Tags[1] != (api.Tag{Tag: "site=Kai 3", Gateways: 1}) {
		t.Errorf("groups are %+v", groups)
	}
	if g := of[api.Gateway](b, root+"/gateways/"+url.PathEscape(gateway)); len(g.Groups) != 2 || g.Tags["site"] != "Kai 3" {
		t.Errorf("the gateway is %+v", g)
	}
	for query, want := range map[string]int{
		"group=&tag=": 1, "group=north": 1, "group=a": 0, "group=a&group=north": 1, "tag=site": 1, "tag=site%3DKai+3": 1, "tag=site%3DKai+4": 0, "group=north&tag=old": 0, "q=BOILER&group=north": 1,
	} {
		if got := of[api.Gateways](b, root+"/gateways?"+query); len(got.Gateways) != want {
			t.Errorf("%s has %d gateways, want %d", query, len(got.Gateways), want)
		}
	}
	for query, want := range map[string]int{"group=north": 1, "group=a": 0, "tag=leased": 1} {
		r := of[api.Report](b, root+"/reports/preview?from=now-1d&"+query)
		if len(r.Gateways) != want || r.Totals.Gateways != want || len(r.Groups)+len(r.Tags) != 1 {
			t.Errorf("a report of %s has %d gateways, want %d", query, len(r.Gateways), want)
		}
		if lines := strings.Count(b.textOf(root+"/export?format=jsonl&"+query), "\n"); lines != 2*want {
			t.Errorf("an export of %s has %d readings, want %d", query, lines, 2*want)
		}
	}
	for _, path := range []string{"/reports/preview", "/export"} {
		if text := b.textOf(root + path + "?group=a&gateway=" + url.QueryEscape(gateway)); !strings.Contains(text, "gateways are named, and groups") {
			t.Errorf("%s of a gateway and a group is %s", path, text)
		}
	}
	for _, bad := range []api.Groupings{
		{Change: "keep"},
		{Gateways: []api.Grouping{{Gateway: ""}}},
		{Gateways: []api.Grouping{{Gateway: "x", Groups: []string{"fine"}}, {Gateway: "y", Groups: []string{"a;b"}}}},
	} {
		if status, text := b.tell("/groupings", bad); status != http.StatusBadRequest {
			t.Errorf("%+v is %d: %s", bad, status, text)
		}
	}
	if got := of[api.Groupings](b, root+"/groupings?gateway=x"); len(got.Gateways[0].Groups) != 0 {
		t.Errorf("of a request that was refused %+v is kept", got)
	}
	said("", api.Grouping{Gateway: "later"})
	if got := of[api.Groupings](b, root+"/groupings"); len(got.Gateways) != 1 {
		t.Errorf("what nothing is said of is kept: %+v", got)
	}
}

func TestAnnotationsAreInReports(t *testing.T) {
	b := newBench(t)
	at := "/gateways/" + url.PathEscape(gateway) + "/annotations"
	note := api.Annotation{ID: "n1", From: b.begin, To: b.begin.Add(time.Minute), Text: "水泵 replaced", Who: "jane"}
	for range 2 { // the request came twice
		if status, text := b.tell(at, note); status != http.StatusOK || !strings.Contains(text, `"who":"jane"`) {
			t.Fatalf("noted: %d %s", status, text)
		}
	}
	old := note
	old.ID, old.From, old.To = "n0", b.begin.Add(-48*time.Hour), b.begin.Add(-47*time.Hour)
	if status, text := b.tell(at, old); status != http.StatusOK {
		t.Fatalf("noted: %d %s", status, text)
	}
	if got := of[api.Annotations](b, root+at); len(got.Annotations) != 2 || got.Annotations[0].ID != "n0" {
		t.Errorf("noted are %+v", got)
	}
	if got := of[api.Annotations](b, root+at+"?from=now-1d"); len(got.Annotations) != 1 || got.Annotations[0].Text != note.Text {
		t.Errorf("noted in the last day are %+v", got)
	}
	if r := of[api.Report](b, root+"/reports/preview?from=now-1d"); len(r.Gateways[0].Annotations) != 1 || r.Gateways[0].Annotations[0].Text != note.Text {
		t.Errorf("the report has %+v", r.Gateways[0].Annotations)
	}
	if text := b.textOf(root + "/reports/preview?from=now-1d&format=html&lang=en"); !strings.Contains(text, "水泵 replaced (jane)") || !strings.Contains(text, `class="note"`) {
		t.Error("the report's page has no annotation, or its chart has none")
	}
	remove := func(id string) int {
		answer := b.ask(root+at+"/"+id, func(r *http.Request) {
			r.Method = http.MethodDelete
			credentials.Sign(r, token, time.Now())
		})
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	if status := remove("n1"); status != http.StatusOK {
		t.Errorf("removing is %d", status)
	}
	if status := remove("n1"); status != http.StatusNotFound {
		t.Errorf("removing again is %d", status)
	}
	if r := of[api.Report](b, root+"/reports/preview?from=now-1d"); len(r.Gateways[0].Annotations) != 0 {
		t.Errorf("what was removed is in the report: %+v", r.Gateways[0].Annotations)
	}
	bad := note
	bad.To = bad.From.Add(-1)
	if status, text := b.tell(at, bad); status != http.StatusBadRequest {
		t.Errorf("one that ends before it begins is %d: %s", status, text)
	}
	if status, _ := b.tell("/gateways/unknown/annotations", note); status != http.StatusNotFound {
		t.Errorf("of an unknown gateway it is %d", status)
	}
	for i := range record.MostAnnotations {
		note.ID = "many" + string(rune('a'+i%26)) + time.Duration(i).String()
		if status, _ := b.tell(at, note); status != http.StatusOK {
			if i < record.MostAnnotations-2 {
				t.Fatalf("annotation %d is refused: %d", i, status)
			}
			break
		}
	}
	if status, _ := b.tell(at, api.Annotation{ID: "z", From: note.From, To: note.To, Text: "x", Who: "x"}); status != http.StatusTooManyRequests {
		t.Errorf("one too many is %d", status)
	}
}
