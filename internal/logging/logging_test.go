package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestALineIsOneObjectWithWhatEveryLineHas(t *testing.T) {
	var out bytes.Buffer
	log := New(&out, Options{Service: "ingest", Provider: "north", Instance: "i1"})
	evil := "gw\x1b[2J\n{\"level\":\"ERROR\"}"
	log.Warn("a reject was not kept", "gateway", evil, "error", errors.New("away"), "took", 1500*time.Millisecond,
		"remote", netip.MustParseAddrPort("[::1]:99"))
	log.Debug("not asked for")
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Fatalf("%d lines:\n%s", n, out.String())
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339Nano, line["time"].(string))
	if err != nil || at.Location() != time.UTC {
		t.Errorf("the time is %v", line["time"])
	}
	delete(line, "time")
	for key, want := range map[string]any{
		"level": "WARN", "msg": "a reject was not kept", "service": "ingest", "provider": "north", "instance": "i1",
		"gateway": evil, "error": "away", "took": 1.5, "remote": "[::1]:99",
	} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
		delete(line, key)
	}
	if len(line) > 0 {
		t.Errorf("and more: %v", line)
	}
}

func TestRender(t *testing.T) {
	for line, want := range map[string]string{
		`{"time":"2026-01-02T03:04:05.678901Z","level":"INFO","msg":"accepting","service":"ingest","provider":"north","instance":"i","address":"127.0.0.1:6001","took":0.25,"why":""}`: `2026-01-02 03:04:05.678 INFO  accepting  address=127.0.0.1:6001  took=0.25  why=""`,
		`{"time":"x","level":"ERROR","msg":"a\u001b[2J","error":"b\nc d"}`: `x ERROR a\x1b[2J  error="b\nc d"`,
		`panic: something`: `panic: something`,
		`{"level":"INFO"`:  `{"level":"INFO"`,
		`{"a":1}`:          `{"a":1}`,
		``:                 ``,
	} {
		if got := string(Render([]byte(line))); got != want {
			t.Errorf("%s\n%s\nwant\n%s", line, got, want)
		}
	}
}

func TestForms(t *testing.T) {
	for form, want := range map[string]bool{"": true, JSON: true, Text: true, Auto: true, "xml": false} {
		if err := CheckForm(form); (err == nil) != want {
			t.Errorf("%q: %v", form, err)
		}
	}
	var out bytes.Buffer
	New(&out, Options{Service: "provisioner", Form: Auto}).Info("stopping") // no terminal
	New(&out, Options{Service: "provisioner", Form: Text}).Info("stopping")
	lines := strings.Split(out.String(), "\n")
	if !strings.HasPrefix(lines[0], `{"time":`) || !strings.HasPrefix(lines[1], "time=") {
		t.Errorf("%q", lines)
	}
}
