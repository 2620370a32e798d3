// Package clausetest holds docs/mqtt.md, the table of the normative statements of MQTT 3.1.1 and 5, to the tests and to the
// code: what the table says is shown is shown by a case that ran, and what the code cites is in the table.
//
// A case's name says which statements it shows: MQTT-3.1.2-24 of 3.1.1, MQTT5-3.1.2-22 of 5. The code cites them so too, in
// brackets.
package clausetest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// How many statements the standards number.
const (
	of3 = 141
	of5 = 251
)

var (
	row  = regexp.MustCompile(`(?m)^\| (MQTT5?-[0-9.]+-[0-9]+) \| [^|]+ \| ([^|]+) \|$`)
	name = regexp.MustCompile(`MQTT5?-[0-9]+\.[0-9]+\.[0-9]+-[0-9]+`)
	cite = regexp.MustCompile(`\[(MQTT[^\]]*)\]`)
)

// kinds are the kinds of tests that show a statement.
var kinds = []string{"form", "bytes", "behaviour"}

// read returns by what each statement is shown, or why it is not.
func read(t testing.TB, root string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "mqtt.md"))
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string]string)
	five := 0
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		if _, again := table[m[1]]; again {
			t.Errorf("%s is in the table twice", m[1])
		}
		if table[m[1]] = m[2]; strings.HasPrefix(m[1], "MQTT5") {
			five++
		}
	}
	if five != of5 || len(table)-five != of3 {
		t.Errorf("the table has %d statements of 3.1.1 and %d of 5, the standards have %d and %d", len(table)-five, five, of3, of5)
	}
	return table
}

// Check compares the table with the names of the cases of a kind that ran, both ways. root is the repository.
func Check(t testing.TB, root, kind string, names []string) {
	t.Helper()
	shown := make(map[string]bool)
	for _, n := range names {
		for _, clause := range name.FindAllString(n, -1) {
			shown[clause] = true
		}
	}
	for clause, by := range read(t, root) {
		says := slices.Contains(strings.Split(by, ", "), kind)
		if says && !shown[clause] {
			t.Errorf("docs/mqtt.md says that %s is shown by a case of kind %q: there is none", clause, kind)
		}
		if !says && shown[clause] {
			t.Errorf("%s is shown by a case of kind %q: docs/mqtt.md says %q", clause, kind, by)
		}
		delete(shown, clause)
	}
	for clause := range shown {
		t.Errorf("a case of kind %q shows %s, which is no statement of the standard", kind, clause)
	}
}

// CheckCited checks the citations in the Go files of the repository at root, and that each statement of the table is shown,
// or has a reason why not.
func CheckCited(t testing.TB, root string) {
	t.Helper()
	table := read(t, root)
	reasons := []string{"client", "delivery", "retained", "shared", "authentication", "WebSocket", "other"}
	for clause, by := range table {
		for word := range strings.SplitSeq(by, ", ") {
			if !slices.Contains(kinds, word) && (by != word || !slices.Contains(reasons, word)) {
				t.Errorf("docs/mqtt.md: %s is shown by %q", clause, by)
			}
		}
	}
	cited := 0
	for _, dir := range []string{"cmd", "ingest", "internal", "promises", "provisioner", "schema", "web"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range cite.FindAllStringSubmatch(string(text), -1) {
				if _, there := table[m[1]]; !there && name.MatchString(m[1]) {
					t.Errorf("%s cites %s, which is no statement of the standard", path, m[1])
				}
				cited++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if cited < 50 {
		t.Errorf("only %d citations were found", cited)
	}
}
