package control

import (
	"testing"

	"berth/schema"
)

func TestAmounts(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "none": 0, "1": 1, "20000": 20_000, "20k": 20_000, "1.5M": 1_500_000, "2GB": 2_000_000_000, "512MiB": 512 << 20,
		"512Mi": 512 << 20, "1TiB": 1 << 40, "7B": 7, "0.5K": 500,
	} {
		if got, err := ParseAmount(text); err != nil || got != want {
			t.Errorf("%s is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "B", "k", "-1", "1e3", "0x10", "many", "NaN", "Inf", "1 000", "99999999T", "9223372036854775807"} {
		if got, err := ParseAmount(text); !schema.Is(err, schema.Invalid) {
			t.Errorf("%s is %d, %v", text, got, err)
		}
	}
	for _, n := range []int64{0, 1, 999, 1000, 1024, 20_000_000, 16 << 20, 1 << 40, 1<<40 + 1} {
		for _, bytes := range []bool{false, true} {
			text := FormatAmount(n, bytes)
			if got, err := ParseAmount(text); err != nil || got != n {
				t.Errorf("%d is written %s and read %d, %v", n, text, got, err)
			}
		}
	}
}
