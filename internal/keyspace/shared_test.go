package keyspace

import (
	"testing"
	"time"
)

func TestSharedNames(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	if p, made, ok := CutShared(Shared("harbor", at)); p != "harbor" || made != "20260102T030405.000000006" || !ok {
		t.Errorf("got %q, %q, %v", p, made, ok)
	}
	if p, _, ok := CutShared("harbor"); p != "harbor" || ok {
		t.Errorf("one of its own is %q, %v", p, ok)
	}
	for _, name := range []string{"shared/", "shared/harbor", "shared/harbor/", "shared//1", "shared/a/b/1", "shared/harbor/x", "shared/../1", "shared/harbor/1/2"} {
		if p, made, ok := CutShared(name); p != "" || made != "" || !ok {
			t.Errorf("%q is taken for %q, %q", name, p, made)
		}
	}
}
