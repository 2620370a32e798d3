package web

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"berth/internal/api"
)

// openAPIDocument is what tests read of the description.
type openAPIDocument struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		Parameters []struct{ Name, In string } `json:"parameters"`
		Responses  map[string]struct {
			Content map[string]json.RawMessage `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]json.RawMessage `json:"schemas"`
	} `json:"components"`
}

func documented(t *testing.T) openAPIDocument {
	t.Helper()
	text, missing, err := describe((&Web{}).routes())
	check(t, err)
	for _, name := range missing {
		t.Errorf("%s is not among the operations of internal/api", name)
	}
	var d openAPIDocument
	check(t, json.Unmarshal(text, &d))
	for part := range strings.SplitSeq(string(text), `"#/components/schemas/`) {
		name, _, found := strings.Cut(part, `"`)
		if _, known := d.Components.Schemas[name]; found && !known && !strings.HasPrefix(part, "{") {
			t.Errorf("the description refers to %s, which it does not have", name)
		}
	}
	return d
}

// TestTheDescriptionHasEveryRoute: a route of the API that is no operation makes no description, and an operation that
// has no route is a lie.
func TestTheDescriptionHasEveryRoute(t *testing.T) {
	d := documented(t)
	routes, n := (&Web{}).routes(), 0
	for _, rt := range routes {
		if rt.isAPI() && rt.path != openAPIPath {
			n++
			if _, ok := d.Paths[openPath(rt.path)][strings.ToLower(rt.method)]; !ok {
				t.Errorf("%s %s is not described", rt.method, rt.path)
			}
		}
	}
	operations := api.Operations()
	for _, o := range operations {
		if !slices.ContainsFunc(routes, func(rt route) bool { return rt.method == o.Method && rt.path == routeOf(&o) }) {
			t.Errorf("%s %s is described and is no route", o.Method, o.Path)
		}
		if (o.Answer == nil) == (o.Type == "") || o.Summary == "" {
			t.Errorf("%s %s does not say what is answered", o.Method, o.Path)
		}
		for _, name := range o.Query {
			if !slices.ContainsFunc(api.Parameters, func(p api.Parameter) bool { return p.Name == name }) {
				t.Errorf("%s %s has a parameter %s, which is none", o.Method, o.Path, name)
			}
		}
	}
	if n != len(operations) {
		t.Errorf("%d routes, %d operations", n, len(operations))
	}
	stray := route{method: http.MethodGet, path: apiPrefix + "/stray", access: mayRead}
	if _, missing, _ := describe(append(routes, stray)); len(missing) != 1 {
		t.Errorf("a route that is no operation was not missed: %v", missing)
	}
}

// TestParametersThatWebDescribesAreRead: what an operation of web's own may have in its query, some handler asks for by name. Of
// what is forwarded, reports has such a test.
func TestParametersThatWebDescribesAreRead(t *testing.T) {
	files, err := filepath.Glob("*.go")
	check(t, err)
	read := map[string]bool{}
	name := regexp.MustCompile(`[(\[ ]"(\w+)"[,)\]]`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		check(t, err)
		for _, m := range name.FindAllStringSubmatch(string(source), -1) {
			read[m[1]] = true
		}
	}
	for _, o := range api.Operations() {
		for _, name := range o.Query {
			if o.Own && !read[name] {
				t.Errorf("%s %s has the parameter %s, which no handler reads", o.Method, o.Path, name)
			}
		}
	}
}

// holds fails the test unless the answer's status and type are those that the description has for the route.
func (d openAPIDocument) holds(t *testing.T, r route, a answer) {
	t.Helper()
	if !r.isAPI() || r.path == openAPIPath {
		return
	}
	response, ok := d.Paths[openPath(r.path)][strings.ToLower(r.method)].Responses[strconv.Itoa(a.status)]
	if !ok {
		t.Errorf("%s %s: status %d is not described", r.method, r.path, a.status)
		return
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	_, exactly := response.Content[kind]
	_, whatever := response.Content["*/*"]
	simulated := a.status == http.StatusOK && strings.HasSuffix(r.path, "/live")
	if !exactly && !whatever && !simulated {
		t.Errorf("%s %s: an answer of %s with status %d is not described", r.method, r.path, kind, a.status)
	}
}

func TestTheDescriptionIsServed(t *testing.T) {
	h := newHouse(t)
	a := h.browser().get(openAPIPath)
	var d openAPIDocument
	check(t, json.Unmarshal([]byte(a.body), &d))
	if a.status != 200 || d.OpenAPI != "3.1.0" || len(d.Paths) < 20 {
		t.Errorf("status %d, %d paths", a.status, len(d.Paths))
	}
	if a := h.signedIn("operator", "").get("/reference"); a.status != 200 || !strings.Contains(a.body, "/api/v1/providers/{provider}/gateways/{gateway}/series") {
		t.Errorf("status %d: %s", a.status, a.body)
	}
}
