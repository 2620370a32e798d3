package promises

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/logging"
)

// TestLogsAreOneSchema reads every line that the real programs wrote through a start, a refused frame, a kill
// of ingest and a stop: each is one JSON object with the keys of the table, none twice, and no key or secret is in any.
func TestLogsAreOneSchema(t *testing.T) {
	t.Parallel()
	in, dir := newInstall(t)
	p, err := in.Add(t.Context(), "north")
	if err != nil {
		t.Fatal(err)
	}
	post(t, p, p.EnrolmentKey, "boiler,gateway=gw temperature=")
	post(t, p, "bk_wrong", "boiler temperature=1")
	before, err := in.InstancePID(t.Context(), "north", "ingest")
	if err != nil {
		t.Fatal(err)
	}
	if err := in.KillInstance(t.Context(), "north", "ingest"); err != nil {
		t.Fatal(err)
	}
	soon(t, "ingest runs again", func() bool {
		pid, err := in.InstancePID(t.Context(), "north", "ingest")
		return err == nil && pid != before
	})
	in.Stop()

	lines := 0
	paths, err := filepath.Glob(filepath.Join(in.Data, "logs", "*"))
	if err != nil || len(paths) < 3 {
		t.Fatalf("the logs are %q, %v", paths, err)
	}
	for _, path := range append(paths, filepath.Join(dir, "serve.log")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pipeline := strings.HasPrefix(filepath.Base(path), "north")
		for line := range strings.Lines(string(text)) {
			if filepath.Base(path) == "serve.log" && !strings.HasPrefix(line, "{") {
				continue // what serve prints for people
			}
			lines++
			checkLine(t, path, line, pipeline)
			if strings.Contains(line, p.EnrolmentKey) || strings.Contains(line, "ln_") || strings.Contains(line, "bk_wrong") {
				t.Errorf("%s tells a secret: %s", path, line)
			}
		}
	}
	if lines < 10 {
		t.Errorf("only %d lines were written", lines)
	}
}

// checkLine checks one line of a log.
func checkLine(t *testing.T, path, line string, pipeline bool) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	if _, err := d.Token(); err != nil {
		t.Errorf("%s: no JSON: %s", path, line)
		return
	}
	seen := map[string]string{}
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		name, ok := key.(string)
		if err != nil || !ok {
			t.Errorf("%s: no object: %s", path, line)
			return
		}
		if _, twice := seen[name]; twice {
			t.Errorf("%s: %s is there twice: %s", path, name, line)
		}
		if value[0] == '{' || value[0] == '[' {
			t.Errorf("%s: %s is no plain value: %s", path, name, line)
		}
		seen[name] = strings.Trim(string(value), `"`)
		known := slices.ContainsFunc(logging.Keys(), func(k logging.Key) bool { return k.Name == name })
		if !known && name != "time" && name != "level" && name != "msg" {
			t.Errorf("%s: the key %s is not in the table: %s", path, name, line)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, seen["time"]); err != nil || seen["level"] == "" || seen["msg"] == "" || seen["service"] == "" {
		t.Errorf("%s: a line lacks what each has: %s", path, line)
	}
	if pipeline && (seen["provider"] != "north" || seen["instance"] == "") {
		t.Errorf("%s: a line of a pipeline does not say whose it is: %s", path, line)
	}
}

// soon waits until it is so.
func soon(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(recovery); !so(); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("it did not come to pass that %s", what)
		}
	}
}
