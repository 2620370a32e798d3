package format_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/ingest/format"
	"berth/schema/batch"
)

// accepted fails the test unless every reading of an example is taken.
func accepted(t *testing.T, where, name, example string) {
	t.Helper()
	r := relayRequest()
	r.Now = 1_767_225_600_000_000_000 // the times of README's examples: 2026-01-01
	if strings.Contains(example, "1700000000") {
		r.Now = now
	}
	report, err := format.New(format.NewTable(format.TableOptions{})).Decode(name, []byte(example), r, &batch.Rows{})
	if err != nil || report.Rejected > 0 || report.Accepted == 0 {
		t.Errorf("%s shows as %s what is not taken: %s: %v %s", where, name, example, err, report.Reason)
	}
}

// TestReadmeShowsWhatIsTaken: README's table has a row for each format, and each example in it is taken whole.
func TestReadmeShowsWhatIsTaken(t *testing.T) {
	text := string(readFile(t, filepath.Join("..", "..", "README.md")))
	_, table, found := strings.Cut(text, "| format | looks like |\n")
	if !found {
		t.Fatal("README has no table of formats")
	}
	span := regexp.MustCompile("`([^`]+)`")
	var listed []string
	for line := range strings.Lines(table) {
		spans := span.FindAllStringSubmatch(line, -1)
		if !strings.HasPrefix(line, "|") {
			break
		}
		if len(spans) == 0 {
			continue // the line below the head
		}
		name := spans[0][1]
		listed = append(listed, name)
		for _, example := range spans[1:] {
			accepted(t, "README", name, example[1])
		}
	}
	slices.Sort(listed)
	if !slices.Equal(listed, format.Names()) {
		t.Errorf("README lists the formats %q, there are %q", listed, format.Names())
	}
}

// TestCommentsShowWhatIsTaken: so is each example in the comment of a decoder of JSON.
func TestCommentsShowWhatIsTaken(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	names, shown := map[string]string{"jsonDecoder": "json", "senmlJSONDecoder": "senml+json", "thingsBoardDecoder": "thingsboard"}, map[string]int{}
	for _, path := range files {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			spec, ok := g.Specs[0].(*ast.TypeSpec)
			if !ok || names[spec.Name.Name] == "" {
				continue
			}
			for line := range strings.Lines(g.Doc.Text()) {
				if example := strings.TrimSpace(line); strings.HasPrefix(line, "\t") && strings.ContainsAny(example[:1], "{[") {
					shown[spec.Name.Name]++
					accepted(t, path, names[spec.Name.Name], example)
				}
			}
		}
	}
	for decoder := range names {
		if shown[decoder] == 0 {
			t.Errorf("the comment of %s shows no example", decoder)
		}
	}
}
