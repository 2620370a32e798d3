package promises

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/promises/install"
)

// TestOperationsDocumentTellsTheTruth runs every block of commands of docs/operations.md in its order, the installation
// running or stopped as the block says, and looks for each line of a log that the document quotes.
func TestOperationsDocumentTellsTheTruth(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	quotedLines(t, string(text))
	in, dir := newInstall(t)
	blocks := regexp.MustCompile("(?ms)^```sh (running|stopped)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 5 {
		t.Fatalf("found %d blocks of commands", len(blocks))
	}
	running := true
	var p install.Provider
	for _, b := range blocks {
		switch want := b[1] == "running"; {
		case want && !running:
			ctx, cancel := context.WithTimeout(t.Context(), recovery)
			if _, err := in.Start(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			soon(t, "provider1 is ready", func() bool {
				out, err := in.CLI(t.Context(), "show", "provider1", "-o", "json")
				return err == nil && strings.Contains(string(out), `"state": "ready"`)
			})
			running = true
		case !want && running:
			in.Stop()
			running = false
		}
		for line := range strings.Lines(b[2]) {
			shell(t, in, dir, &p, strings.TrimSpace(line))
		}
	}
	if !running {
		t.Error("the document leaves the installation stopped")
	}
}

// shell runs a command of the document where the installation is.
func shell(t *testing.T, in *install.Install, dir string, p *install.Provider, line string) {
	t.Helper()
	port := ""
	if p.Port != 0 {
		port = p.Address()
	}
	here := strings.NewReplacer("127.0.0.1:9600", in.Metrics, "127.0.0.1:8080", in.Web, "127.0.0.1:6001", port).Replace(line)
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", `PATH="$PROGRAMS:$PATH"; `+here)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PROGRAMS="+in.Bin, "ENROLMENT_KEY="+p.EnrolmentKey)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
	t.Logf("%s\n%s", line, out[:min(len(out), 400)])
	if line == "provisioner add provider1" {
		if *p, err = in.Add(t.Context(), "provider1"); err != nil {
			t.Fatal(err)
		}
	}
}

// quotedLines checks that what the document quotes of logs is what programs write.
func quotedLines(t *testing.T, text string) {
	t.Helper()
	var source strings.Builder
	for _, room := range []string{"cmd", "ingest", "reports", "provisioner", "web", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", room), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			src, err := os.ReadFile(path)
			source.Write(src)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	quoted := regexp.MustCompile("(?m)^.+ · `([a-z' ,:;]+)`$").FindAllStringSubmatch(text, -1)
	if len(quoted) < 8 {
		t.Errorf("found %d lines of logs in the document", len(quoted))
	}
	for _, q := range quoted {
		if !strings.Contains(source.String(), `"`+q[1]+`"`) {
			t.Errorf("the document quotes %q, which no program logs", q[1])
		}
	}
}
