package cli

import (
	"testing"

	"berth/schema"
	"berth/schema/record"
)

func TestResourcesAreReadAsDockerDoes(t *testing.T) {
	for text, want := range map[string]int64{"128m": 128 << 20, "1g": 1 << 30, "128M": 128 << 20, "64k": 64 << 10, "128MiB": 128 << 20, "1000000": 1_000_000, "default": 0} {
		if got, err := parseResource("memory", text); err != nil || got != want {
			t.Errorf("memory of %s is %d, %v, want %d", text, got, err, want)
		}
	}
	if got, err := parseResource("milli_cpu", "0.5"); err != nil || got != 500 {
		t.Errorf("half a processor is %d, %v", got, err)
	}
}

// FuzzParseResource: what a flag says is Invalid, or read back as it is written.
func FuzzParseResource(f *testing.F) {
	for _, seed := range []string{"128m", "0.5", "1GiB", "default", "none", "0", "12b", "Bi", "1e9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, each := range record.EachResource() {
			n, err := parseResource(each.Name, s)
			if err != nil {
				if !schema.Is(err, schema.Invalid) {
					t.Fatalf("%s %q: %v", each.Name, s, err)
				}
				continue
			}
			if n == 0 {
				continue // the default, or so little of a processor that it is refused later
			}
			if again, err := parseResource(each.Name, formatResource(each.Name, n)); err != nil || again != n {
				t.Fatalf("%s %q is %d, written %s, read %d (%v)", each.Name, s, n, formatResource(each.Name, n), again, err)
			}
		}
	})
}
