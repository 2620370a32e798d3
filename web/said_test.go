package web

import (
	"io"
	"strings"
	"testing"

	"berth/schema"
)

// refusesFiles checks that each file is refused, and by what it is told from others.
func refusesFiles[T any](t *testing.T, parse func(io.Reader) (T, error), named map[string]string) {
	t.Helper()
	for file, name := range named {
		if _, err := parse(strings.NewReader(file)); !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%q gave %v, which does not name %q", file, err, name)
		}
	}
}

// fuzzFiles: what a file says holds, or the file is Invalid.
func fuzzFiles[T any](f *testing.F, parse func(io.Reader) (T, error), holds func(t *testing.T, all T)) {
	f.Helper()
	f.Fuzz(func(t *testing.T, file string) {
		all, err := parse(strings.NewReader(file))
		if err == nil {
			holds(t, all)
		} else if !schema.Is(err, schema.Invalid) {
			t.Fatal(err)
		}
	})
}
