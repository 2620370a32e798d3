package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/api"
	"berth/internal/export"
	"berth/schema"
)

// cutReadings are what a part holds that is cut anywhere.
var cutReadings = []struct {
	api.Cursor
	value schema.Value
}{
	{api.Cursor{Gateway: "boiler/1 Süd", Time: 1, Sensor: "=a"}, schema.TextValue("two\nlines, \"quoted\"")},
	{api.Cursor{Gateway: "boiler/1 Süd", Time: 2, Sensor: "b"}, schema.FloatValue(-0.5)},
	{api.Cursor{Gateway: "温度", Time: -3, Sensor: "c"}, schema.TextValue("'\n\n=1")},
	{api.Cursor{Gateway: "温度", Time: 4, Sensor: "d"}, schema.BoolValue(true)},
}

// Wherever a file was cut, it goes on behind its last whole reading, and the whole is what it would have been.
func TestAPartGoesOnWhereverItWasCut(t *testing.T) {
	for _, name := range []string{"csv", "jsonl"} {
		write := func(after *api.Cursor, title bool) []byte {
			f, err := export.Find(name)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			w, err := f.New(&out, export.Options{Continue: !title})
			if err != nil {
				t.Fatal(err)
			}
			found := after == nil
			for _, r := range cutReadings {
				if found {
					if err := w.Reading(r.Gateway, r.Sensor, r.Time, r.value); err != nil {
						t.Fatal(err)
					}
				}
				found = found || r.Cursor == *after
			}
			if err := w.Close(nil); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
		whole := write(nil, true)
		path := filepath.Join(t.TempDir(), "out."+name)
		for cut := 0; cut <= len(whole); cut += 5 {
			p, err := newPart(path, exportRequest{Version: 1, Provider: "provider1", Format: name, From: time.Unix(0, 0), To: time.Unix(1, 0)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.file.Write(whole[:cut]); err != nil {
				t.Fatal(err)
			}
			p.close()
			if p, err = resumePart(path); err != nil {
				t.Fatalf("%s cut at %d: %v", name, cut, err)
			}
			if _, err := p.file.Write(write(p.last, p.last == nil)); err != nil {
				t.Fatal(err)
			}
			if err := p.finish(exportEnd{}); err != nil {
				t.Fatal(err)
			}
			p.close()
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(whole), string(got)); diff != "" {
				t.Fatalf("%s cut at %d (-want +got):\n%s", name, cut, diff)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if left, _ := filepath.Glob(path + "*"); left != nil {
				t.Fatalf("%q are left", left)
			}
		}
	}
}

func TestAnExportOverwritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	r := exportRequest{Version: 1, Provider: "provider1", Format: "csv"}
	if _, err := resumePart(path); !schema.Is(err, schema.NotFound) {
		t.Errorf("going on with nothing: %v", err)
	}
	p, err := newPart(path, r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if _, err := newPart(path, r); !schema.Is(err, schema.Conflict) {
		t.Errorf("a second one beside it: %v", err)
	}
	if !p.dropEmpty() {
		t.Error("an empty part stays")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newPart(path, r); !schema.Is(err, schema.Conflict) {
		t.Errorf("over a file: %v", err)
	}
}

func TestExportRequest(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	r, err := exportFlags{from: "2026-01-01", to: "now-1h", out: "x.parquet"}.request("provider1", now)
	want := exportRequest{Version: 1, Provider: "provider1", Format: "parquet", From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: now.Add(-time.Hour)}
	if diff := cmp.Diff(want, r); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, f := range []exportFlags{{format: "xml", from: "now", to: "now"}, {from: "yesterday", to: "now"}} {
		if _, err := f.request("provider1", now); !schema.Is(err, schema.Invalid) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
