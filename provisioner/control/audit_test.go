package control

import (
	"os"
	"regexp"
	"testing"
)

// TestEveryChangeHasAName: what the command line can change is recorded in the audit log, and nothing is named that is no
// route.
func TestEveryChangeHasAName(t *testing.T) {
	source, err := os.ReadFile("server.go")
	if err != nil {
		t.Fatal(err)
	}
	routes := map[string]bool{}
	for _, m := range regexp.MustCompile(`"((GET|POST|PUT|PATCH|DELETE) /v1/[^"]*)":`).FindAllStringSubmatch(string(source), -1) {
		routes[m[1]] = true
		if (m[2] == "GET") != (does[m[1]] == "") {
			t.Errorf("%s: the audit log calls it %q", m[1], does[m[1]])
		}
	}
	if len(routes) < 20 {
		t.Fatalf("only %d routes were found", len(routes))
	}
	for pattern := range does {
		if !routes[pattern] {
			t.Errorf("%s is no route", pattern)
		}
	}
}
