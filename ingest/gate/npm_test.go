package gate

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// npmFolder is where the clients of Node's world are, which make clients installs.
const npmFolder = "testdata/npm"

// needsNPM skips the test where Node or a package of it is not installed.
func needsNPM(t *testing.T, pkg string) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("Node is not installed")
	}
	if _, err := os.Stat(filepath.Join(npmFolder, "node_modules", pkg)); err != nil {
		t.Skipf("npm's package %s is not installed: make clients", pkg)
	}
}

// runNPM runs a script with an argument, and decodes what it printed into said.
func runNPM(t *testing.T, script string, argument, said any) {
	t.Helper()
	text, err := json.Marshal(argument)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var errs strings.Builder
	cmd := exec.CommandContext(ctx, "node", script, string(text))
	cmd.Dir, cmd.Stderr = npmFolder, &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, errs.String())
	}
	if err := json.Unmarshal(out, said); err != nil {
		t.Fatalf("%s: %v in %s", script, err, out)
	}
}

// portOf returns the port's number.
func portOf(t *testing.T, f *fixture) int {
	t.Helper()
	_, text, err := net.SplitHostPort(f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestCoAPNPM is the client of Node's world: each format, what is refused, non-confirmable, and many at once.
func TestCoAPNPM(t *testing.T) {
	needsNPM(t, "coap")
	f := start(t, nil)
	var said struct {
		Lines, JSON, Value, SenML, Non, Key, Payload, Format string
		Many                                                 []string
	}
	runNPM(t, "coap.mjs", map[string]any{"port": portOf(t, f), "gateway": "g", "key": enrolmentKey}, &said)
	for _, code := range append([]string{said.Lines, said.JSON, said.Value, said.SenML, said.Non}, said.Many...) {
		if code != "2.04" {
			t.Errorf("said %+v, want 2.04 of what is taken", said)
			break
		}
	}
	if said.Key != "4.01" || said.Payload != "4.00" || said.Format != "4.15" {
		t.Errorf("said %+v, want 4.01, 4.00 and 4.15 of what is refused", said)
	}
	got := f.readings(t)
	for _, want := range []string{"g boiler.a 1", "g b 2", "g boiler/c 3", "g d 4", "g boiler.e 5", "g n0 0", "g n99 99"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not stored", want)
		}
	}
	if len(got) != 105 {
		t.Errorf("%d readings are stored, want 105", len(got))
	}
	f.books(t)
}
