package web

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/schema/record"
)

// TestTheChecklistNamesTestsThatAre: what docs/security.md says is shown by a test is shown by one that is there.
func TestTheChecklistNamesTestsThatAre(t *testing.T) {
	list, err := os.ReadFile(filepath.Join("..", "docs", "security.md"))
	check(t, err)
	var all strings.Builder
	for _, pattern := range []string{"*_test.go", "../internal/*/*_test.go", "../provisioner/*/*_test.go", "../promises/*_test.go"} {
		files, err := filepath.Glob(pattern)
		check(t, err)
		for _, file := range files {
			source, err := os.ReadFile(file)
			check(t, err)
			all.Write(source)
		}
	}
	names := regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllStringSubmatch(string(list), -1)
	if len(names) < 20 {
		t.Errorf("only %d tests are named", len(names))
	}
	for _, m := range names {
		if !strings.Contains(all.String(), "func "+m[1]+"(t *testing.T)") {
			t.Errorf("docs/security.md names %s, which is no test", m[1])
		}
	}
	for _, row := range regexp.MustCompile(`(?m)^\| [3678]\.\d+\.\d+.*$`).FindAllString(string(list), -1) {
		if cells := strings.Split(row, "|"); len(cells) != 5 || !strings.Contains(cells[3], "`Test") && !strings.Contains(cells[3], "not met") && !strings.Contains(cells[3], "does not apply") && !strings.Contains(cells[3], "above") {
			t.Errorf("%s: neither a test nor a reason", row)
		}
	}
}

// asvs has how many requirements each section of chapters 3, 6, 7 and 8 of ASVS 5.0.0 has.
var asvs = map[int][]int{3: {1, 3, 5, 8, 8, 1, 5}, 6: {3, 12, 8, 6, 8, 4, 2, 4}, 7: {3, 4, 2, 5, 3, 2}, 8: {4, 4, 3, 2}}

// Each requirement stands in the checklist, once.
func TestTheChecklistLeavesNothingOut(t *testing.T) {
	list, err := os.ReadFile(filepath.Join("..", "docs", "security.md"))
	check(t, err)
	rows := map[string]int{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([3678]\.[^|]+) \|`).FindAllStringSubmatch(string(list), -1) {
		for number := range strings.SplitSeq(row[1], ", ") {
			rows[number]++
		}
	}
	for chapter, sections := range asvs {
		for i, n := range sections {
			for item := range n {
				number := fmt.Sprintf("%d.%d.%d", chapter, i+1, item+1)
				if rows[number] != 1 {
					t.Errorf("docs/security.md has %s %d times", number, rows[number])
				}
				delete(rows, number)
			}
		}
	}
	for number := range rows {
		t.Errorf("docs/security.md has %s, which is no requirement", number)
	}
}

// What a script knows is in its own scope, where no element of a page can take its place by its name.
func TestScriptsKeepToThemselves(t *testing.T) {
	scripts, err := filepath.Glob("src/*.js")
	check(t, err)
	if len(scripts) < 2 {
		t.Errorf("only %v are looked at", scripts)
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		check(t, err)
		code := regexp.MustCompile(`(?m)^//.*\n`).ReplaceAllString(string(text), "")
		if !strings.HasPrefix(code, "\"use strict\";\n(() => {\n") || !strings.HasSuffix(code, "})();\n") {
			t.Errorf("%s is not a function of its own in strict mode", script)
		}
		if found := regexp.MustCompile(`\b(?:window|document|globalThis)\.\w+ = `).FindString(code); found != "" {
			t.Errorf("%s keeps something where elements are: %s", script, found)
		}
	}
}

// By TLS browsers are told to come by TLS from then on; where there is none, nothing of the kind is said.
func TestBrowsersAreToldToStayWithTLS(t *testing.T) {
	h := newHouse(t)
	if a := h.browser().do(http.MethodGet, "/sign-in", "", map[string]string{"X-Forwarded-Proto": "https"}); a.header.Get("Strict-Transport-Security") != "max-age=31536000" {
		t.Errorf("by TLS: %v", a.header)
	}
	if a := h.browser().get("/sign-in"); a.header.Get("Strict-Transport-Security") != "" {
		t.Errorf("without TLS: %v", a.header)
	}
}

// Whatever a request says of its host, no answer leads there.
func TestTheHostOfARequestLeadsNowhere(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.Front.Proxies = nil })
	link := h.link(record.Admin, "north")
	ask := func(method, path, body string) answer {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+h.web.Addr()+path, strings.NewReader(body))
		check(t, err)
		r.Host = "evil.example"
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-Host", "evil.example")
		resp, err := h.browser().client.Do(r)
		check(t, err)
		check(t, resp.Body.Close())
		return answer{status: resp.StatusCode, header: resp.Header}
	}
	for _, resp := range []answer{
		ask(http.MethodGet, "/providers/north", ""), ask(http.MethodGet, "/sign-in?lang=zh", ""),
		ask(http.MethodPost, "/sign-in", url.Values{"link": {link}}.Encode()),
	} {
		if to := resp.header.Get("Location"); resp.status != http.StatusSeeOther || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
			t.Errorf("status %d leads to %q", resp.status, to)
		}
		if strings.Contains(resp.header.Get("Set-Cookie"), "evil") {
			t.Errorf("cookie %s", resp.header.Get("Set-Cookie"))
		}
	}
}
