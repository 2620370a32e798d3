package reports

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/internal/api"
	"berth/internal/httpserver"
)

// TestTheAPIIsAsItIsDescribed: every route is among the operations of internal/api (web may answer one by itself, and ask
// ours for it) and every operation that is only forwarded is a route; and the parameters that handlers read are those that are described. What
// web reads itself, a test of its own has.
func TestTheAPIIsAsItIsDescribed(t *testing.T) {
	r := &Reports{http: httpserver.New(httpserver.Options{})}
	r.routes()
	operations := api.Operations()
	routed := r.http.Routes()
	for _, rt := range routed {
		path, ok := strings.CutPrefix(rt.Path, prefix)
		if !ok || path == "/audit" { // whether it is alive; what only the command line asks
			continue
		}
		if !slices.ContainsFunc(operations, func(o api.Operation) bool { return o.Method == rt.Method && o.Path == path }) {
			t.Errorf("%s %s is not among the operations of internal/api", rt.Method, rt.Path)
		}
	}
	described, forwarded := map[string]bool{}, map[string]bool{}
	for _, o := range operations {
		for _, name := range o.Query {
			described[name] = true
			if !o.Own {
				forwarded[name] = true
			}
		}
		if !o.Own && !slices.Contains(routed, httpserver.Route{Method: o.Method, Path: prefix + o.Path}) {
			t.Errorf("%s %s is described and is no route", o.Method, o.Path)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	reads := regexp.MustCompile(`(?:values|Query\(\))(?:\.Get\(|\.Has\(|\[)"(\w+)"|number\(req, "(\w+)"\)`)
	read := map[string]bool{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, m := range reads.FindAllStringSubmatch(string(source), -1) {
			name := m[1] + m[2]
			if read[name] = true; !described[name] {
				t.Errorf("%s reads the parameter %s, which no operation of internal/api has", file, name)
			}
		}
	}
	for name := range forwarded {
		if !read[name] {
			t.Errorf("the parameter %s is described, and no handler reads it", name)
		}
	}
}
