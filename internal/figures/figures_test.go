package figures

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestAgainst: what costs more is a fault, what costs less or a little more is none, what is not on both sides is one.
func TestAgainst(t *testing.T) {
	committed := Sheet{"a": 1, "b": 10, "c": 0, "gone": 1}
	faults := Sheet{"a": 1.09, "b": 11.5, "c": 0.1, "new": 0}.against(committed, Exact)
	text := strings.Join(faults, "\n")
	for _, name := range []string{"b is 11.5", "c is 0.1", "new is", "gone is"} {
		if !strings.Contains(text, name) {
			t.Errorf("%q is no fault in\n%s", name, text)
		}
	}
	if len(faults) != 4 {
		t.Errorf("%d faults:\n%s", len(faults), text)
	}
}

// TestSheet: what is written reads the same.
func TestSheet(t *testing.T) {
	want := Sheet{"line/one frame allocations/reading": 0.125, "x": 3}
	t.Chdir(t.TempDir())
	*update = true
	defer func() { *update = false }()
	want.Check(t, Exact)
	got, err := read(filepath.Join("testdata", "figures.txt"))
	if err != nil || got.text() != want.text() {
		t.Errorf("%v, %v", got, err)
	}
}

// TestOf: allocations are counted.
func TestOf(t *testing.T) {
	var keep []byte
	c := Of(func() { keep = make([]byte, 1<<10) })
	if len(keep) == 0 || c.Allocations < 0.9 || c.Bytes < 1000 || c.Allocations > 3 {
		t.Errorf("%+v", c)
	}
}
