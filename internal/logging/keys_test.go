package logging

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// keyAt is where the keys of a call of a logger begin.
var keyAt = map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "Log": 3, "With": 0}

// TestEveryLineHasKeysOfTheTable reads every call of a logger in the programs: each key is one of the table. What set-ups
// give every line, no line gives again.
func TestEveryLineHasKeysOfTheTable(t *testing.T) {
	known := map[string]bool{}
	for _, k := range Keys() {
		if known[k.Name] {
			t.Errorf("%s is in the table twice", k.Name)
		}
		known[k.Name] = true
	}
	calls := 0
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch rel, _ := filepath.Rel(root, path); {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(rel, ".git") || rel == "internal/gateways" || rel == "promises"):
			return filepath.SkipDir // simulated gateways are no service
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, src, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, key := range keysOf(call) {
				calls++
				switch {
				case !known[key]:
					t.Errorf("%s: the key %q is not in the table of keys", files.Position(call.Pos()), key)
				case key == KeyProvider && !strings.Contains(path, "provisioner") && !strings.Contains(path, "web"):
					t.Errorf("%s: every line of a pipeline has the provider already", files.Position(call.Pos()))
				case key == KeyService && !strings.HasSuffix(path, "logging.go"):
					t.Errorf("%s: every line has the service already", files.Position(call.Pos()))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 50 {
		t.Fatalf("found %d keys: the test looks in the wrong place", calls)
	}
}

// keysOf returns the keys that a call of a logger gives; none for another call.
func keysOf(call *ast.CallExpr) (keys []string) {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	at, ok := keyAt[f.Sel.Name]
	if !ok || len(call.Args) <= at {
		return nil
	}
	if at > 0 {
		if msg, ok := call.Args[at-1].(*ast.BasicLit); !ok || msg.Kind != token.STRING {
			return nil // of something else that has such a method
		}
	}
	for ; at < len(call.Args); at += 2 {
		literal, ok := call.Args[at].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return keys
		}
		key, err := strconv.Unquote(literal.Value)
		if err != nil {
			return keys
		}
		keys = append(keys, key)
	}
	return keys
}
