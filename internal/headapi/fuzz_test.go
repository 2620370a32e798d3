package headapi_test

import (
	"testing"

	"berth/internal/headapi"
	"berth/schema"
)

// FuzzParsePosition: a text is a position or Invalid, and a position is read back as it is written.
func FuzzParsePosition(f *testing.F) {
	for _, seed := range []string{"0/0", "18446744073709551615/4294967295", "1/2/3", "+1/1", "", "/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := headapi.ParsePosition(s)
		if err != nil {
			if !schema.Is(err, schema.Invalid) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if q, err := headapi.ParsePosition(headapi.FormatPosition(p)); err != nil || q != p {
			t.Fatalf("%q is %v, which is read back as %v, %v", s, p, q, err)
		}
	})
}
