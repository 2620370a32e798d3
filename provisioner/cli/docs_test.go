package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/provisioner/cli"
)

// A command in a document: in a block, or within a line.
var (
	documentedCommand = regexp.MustCompile("(?m)(?:`|^|[;$(] ?)(?:bin/)?provisioner ((?:[^`\n|>;#)&\\\\]|\\\\\n)*)")
	word              = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

// TestDocumentsNameCommandsThatThereAre asks for the help of each command in the documents with the flags that they give it.
func TestDocumentsNameCommandsThatThereAre(t *testing.T) {
	root, found := filepath.Join("..", ".."), 0
	var files []string
	for _, pattern := range []string{"README.md", "docker/*.md", "docs/*.md", "docs/*/*.md"} {
		some, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range documentedCommand.FindAllStringSubmatch(string(text), -1) {
			var args []string
			for _, arg := range word.FindAllString(strings.ReplaceAll(m[1], "\\\n", " "), -1) {
				if arg == "--" { // what follows is for another program
					break
				}
				if arg = strings.Trim(arg, `'"`); arg == "N" {
					arg = "1"
				}
				args = append(args, arg)
			}
			found++
			var out, problem bytes.Buffer
			o := cli.Options{Out: &out, Err: &problem, LookupEnv: func(string) (string, bool) { return "", false }}
			if code := cli.Run(t.Context(), o, append(args, "--help")); code != 0 {
				t.Errorf("%s: provisioner %s: %s", filepath.Base(file), strings.Join(args, " "), problem.String())
			}
		}
	}
	if found < 100 {
		t.Errorf("found %d commands in %d documents", found, len(files))
	}
}
