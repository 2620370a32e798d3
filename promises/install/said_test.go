package install

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheLastIsKept(t *testing.T) {
	var all strings.Builder
	s := said{to: &all}
	if _, err := fmt.Fprintln(&s, "first"); err != nil || s.last() != "first\n" {
		t.Errorf("%q, %v", s.last(), err)
	}
	for n := range 1000 {
		if _, err := fmt.Fprintln(&s, "line", n); err != nil {
			t.Fatal(err)
		}
	}
	last := s.last()
	if len(last) > saidMost || len(last) < saidMost/2 || !strings.HasPrefix(last, "line ") || !strings.HasSuffix(last, "line 999\n") {
		t.Errorf("%d bytes are kept: %q", len(last), last)
	}
	if !strings.HasPrefix(all.String(), "first\nline 0\n") || !strings.HasSuffix(all.String(), last) {
		t.Error("not all was passed on")
	}
}
