package service

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An image holds a program and no files of zones: each program that is told a provider's zone has them within. Ingest without
// them could not use a provider's settings, and not start.
func TestProgramsHoldTheZones(t *testing.T) {
	for _, program := range []string{"provisioner", "ingest", "reports", "web"} {
		folder := filepath.Join("..", "..", program)
		shared := imports(t, folder, "berth/cmd/internal/service") && imports(t, ".", "time/tzdata")
		if !shared && !imports(t, folder, "time/tzdata") {
			t.Errorf("%s does not import time/tzdata", program)
		}
	}
}

// imports reports whether a package of the folder's programs imports another.
func imports(t *testing.T, folder, path string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if strings.Trim(i.Path.Value, `"`) == path && !strings.HasSuffix(name, "_test.go") {
				return true
			}
		}
	}
	return false
}
