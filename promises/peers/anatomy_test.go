package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestComponents: the files of a table's SSTables are added up by kind.
func TestComponents(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{
		"blocks-0a1b/nb-1-big-Data.db": 700, "blocks-0a1b/nb-12-big-Data.db": 500, "blocks-0a1b/nb-1-big-Filter.db": 24,
		"rollups-2c3d/nb-2-big-Data.db": 900,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := componentsOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []component{{"blocks", "Data.db", 2, 1200}, {"rollups", "Data.db", 1, 900}, {"blocks", "Filter.db", 1, 24}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(component{})); diff != "" {
		t.Error(diff)
	}
	if alone := (&stored{table: "blocks", parts: got}).alone(); alone != 1224 {
		t.Errorf("the table of readings has %d bytes", alone)
	}
}
