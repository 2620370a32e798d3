package imports

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// parses is how a function is named that reads what came from outside, or was stored.
var parses = regexp.MustCompile(`^(Parse|parse|Decode|decode|Open|Unmarshal|scan[A-Z]|monthOf)`)

// fuzzedElsewhere are the packages that parse and have no fuzz target, with the reason.
var fuzzedElsewhere = map[string]string{
	"internal/bus":           "subjects of its own inbox, and the operator's own files",
	"internal/certs":         "the authority's own file, as JSON",
	"internal/keyspace/open": "a flag of ours: a scheme, and a folder",
	"provisioner/disk":       "a flag of ours: a share, a size",
	"provisioner/house":      "records as JSON: FuzzRecords of schema/record",
	"provisioner/plan":       "any text, as it is: the daemon's own answer",
	"internal/people":        "records as JSON: FuzzRecords of schema/record",
}

// TestEveryParserIsFuzzed: a package with a function that parses text or bytes has a fuzz target, or a reason in the table.
func TestEveryParserIsFuzzed(t *testing.T) {
	parsing, fuzzed := map[string]string{}, map[string]bool{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != root && d.Name() != "..") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, f := range functions(t, path) {
			switch {
			case !strings.HasSuffix(path, "_test.go") && parses.MatchString(f.Name.Name) && takesText(f):
				parsing[filepath.ToSlash(rel)] = f.Name.Name
			case strings.HasSuffix(path, "_test.go") && strings.HasPrefix(f.Name.Name, "Fuzz"):
				fuzzed[filepath.ToSlash(rel)] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(parsing) < 10 {
		t.Fatalf("%d packages parse: the test looks in the wrong place", len(parsing))
	}
	for rel, name := range parsing {
		room, _, _ := strings.Cut(rel, "/")
		if !fuzzed[rel] && fuzzedElsewhere[rel] == "" && room != "promises" {
			t.Errorf("%s has %s and no fuzz target: add one, with seeds, or its reason to the table", rel, name)
		}
	}
	for rel := range fuzzedElsewhere {
		if fuzzed[rel] || parsing[rel] == "" {
			t.Errorf("%s needs no reason in the table", rel)
		}
	}
}

// functions returns the functions of a file.
func functions(t *testing.T, path string) (all []*ast.FuncDecl) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			all = append(all, f)
		}
	}
	return all
}

// takesText reports whether a function takes a string or bytes.
func takesText(f *ast.FuncDecl) bool {
	for _, p := range f.Type.Params.List {
		switch typ := p.Type.(type) {
		case *ast.Ident:
			if typ.Name == "string" {
				return true
			}
		case *ast.ArrayType:
			if e, ok := typ.Elt.(*ast.Ident); ok && e.Name == "byte" && typ.Len == nil {
				return true
			}
		}
	}
	return false
}
