package control_test

import (
	"testing"
	"time"

	"berth/provisioner/control"
	"berth/schema"
)

func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		in   string
		want time.Duration
		out  string
	}{
		{"400d", 400 * day, "400d"},
		{"52w", 364 * day, "364d"},
		{"5y", 1825 * day, "1825d"},
		{"36h", 36 * time.Hour, "36h0m0s"},
		{"", 0, ""},
		{"d", 0, ""},
		{"-1d", 0, ""},
		{"1.5d", 0, ""},
		{"99999999999d", 0, ""},
		{"soon", 0, ""},
	} {
		got, err := control.ParseRetention(c.in)
		if c.out == "" {
			if !schema.Is(err, schema.Invalid) {
				t.Errorf("ParseRetention(%q) = %v, %v, want Invalid", c.in, got, err)
			}
			continue
		}
		if err != nil || got != c.want || control.FormatRetention(got) != c.out {
			t.Errorf("ParseRetention(%q) = %v, %v, written %q, want %v and %q", c.in, got, err, control.FormatRetention(got), c.want, c.out)
		}
	}
}
