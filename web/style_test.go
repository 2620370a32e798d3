package web

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	variable = regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`)
	dark     = "@media (prefers-color-scheme: dark)"
)

// luminance is the relative luminance of WCAG 2.1.
func luminance(t *testing.T, color string) float64 {
	t.Helper()
	var sum float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(color[2*i:2*i+2], 16, 8)
		check(t, err)
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// TestColorsHaveContrast computes the contrast of every pair of colors that carries text (WCAG 2.1, 1.4.3) or marks a
// control (1.4.11), light and dark.
func TestColorsHaveContrast(t *testing.T) {
	source, err := os.ReadFile("src/berth.css")
	check(t, err)
	light, rest, ok := strings.Cut(string(source), dark)
	if !ok {
		t.Fatal("there are no dark colors")
	}
	night, _, _ := strings.Cut(rest, "*, *::before")
	text := [][2]string{
		{"text", "page"},
		{"text", "card"},
		{"text", "code"},
		{"text", "idle-soft"},
		{"text", "good-soft"},
		{"text", "bad-soft"},
		{"muted", "page"},
		{"muted", "card"},
		{"accent", "page"},
		{"accent", "card"},
		{"accent", "code"},
		{"accent-strong", "soft"},
		{"on-accent", "accent"},
		{"on-accent", "accent-strong"},
		{"on-accent", "bad"},
		{"bad", "code"},
		{"warn", "code"},
		{"muted", "code"},
		{"good", "good-soft"},
		{"good", "page"},
		{"bad", "page"},
		{"warn", "warn-soft"},
		{"bad", "bad-soft"},
		{"idle", "idle-soft"},
	}
	for name, part := range map[string]string{"light": light, "dark": night} {
		colors := map[string]string{}
		for _, m := range variable.FindAllStringSubmatch(part, -1) {
			colors[m[1]] = m[2]
		}
		measure := func(a, b string, least float64) {
			if colors[a] == "" || colors[b] == "" {
				t.Fatalf("%s: no color %s or %s", name, a, b)
			}
			x, y := luminance(t, colors[a]), luminance(t, colors[b])
			if got := (max(x, y) + 0.05) / (min(x, y) + 0.05); got < least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, less than %.1f", name, a, b, got, least)
			}
		}
		for _, pair := range text {
			measure(pair[0], pair[1], 4.5)
		}
		measure("strong-line", "card", 3)
		measure("strong-line", "page", 3)
	}
}
