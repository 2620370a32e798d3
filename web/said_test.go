package web

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"berth/schema"
	"berth/schema/record"
)

// refusesFiles checks that each file is refused, and by what it is told from others.
func refusesFiles[T any](t *testing.T, parse func(io.Reader) (T, error), named map[string]string) {
	t.Helper()
	for file, name := range named {
		if _, err := parse(strings.NewReader(file)); !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%q gave %v, which does not name %q", file, err, name)
		}
	}
}

// fuzzFiles: what a file says holds, or the file is Invalid.
func fuzzFiles[T any](f *testing.F, parse func(io.Reader) (T, error), holds func(t *testing.T, all T)) {
	f.Helper()
	f.Fuzz(func(t *testing.T, file string) {
		all, err := parse(strings.NewReader(file))
		if err == nil {
			holds(t, all)
		} else if !schema.Is(err, schema.Invalid) {
			t.Fatal(err)
		}
	})
}

// TestWhatIsSaidByTheAPI: as JSON and as CSV the same reaches reports.
func TestWhatIsSaidByTheAPI(t *testing.T) {
	h := newHouse(t)
	var body []byte
	h.reports["north"].with(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	b := h.bearer(h.token("north", record.ScopeWrite))
	for path, said := range map[string]map[string]string{
		"groupings": {"application/json": `{"gateways":[{"gateway":"a","groups":["b"],"tags":{}}]}`, "text/csv": "gateway,groups\na,b\n"},
		"sensors":   {"application/json": `{"sensors":[{"sensor":"a","unit":"kg"}]}`, "text/csv": "sensor,unit\na,kg\n"},
	} {
		var reached []string
		for kind, text := range said {
			a := b.do(http.MethodPost, "/api/v1/providers/north/"+path, text, map[string]string{"Content-Type": kind})
			if a.status != http.StatusOK || !strings.Contains(string(body), `"a"`) {
				t.Errorf("%s as %s: status %d, reports are told %s", path, kind, a.status, body)
			}
			reached = append(reached, string(body))
		}
		if reached[0] != reached[1] {
			t.Errorf("of %s reports are told %q", path, reached)
		}
	}
}
