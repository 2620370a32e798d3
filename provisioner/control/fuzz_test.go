package control

import (
	"testing"

	"berth/schema"
)

// FuzzParseRetention: a span is Invalid, or read back as it is written.
func FuzzParseRetention(f *testing.F) {
	for _, seed := range []string{"400d", "52w", "5y", "36h", "100000y", "-1d", "d", "1.5h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseRetention(s)
		if err != nil {
			if !schema.Is(err, schema.Invalid) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if again, err := ParseRetention(FormatRetention(d)); err != nil || again != d {
			t.Fatalf("%q is %v, written %s, read %v (%v)", s, d, FormatRetention(d), again, err)
		}
	})
}
