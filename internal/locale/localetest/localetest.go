// Package localetest tests a catalogue of texts.
package localetest

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"berth/internal/locale"
)

var place = regexp.MustCompile(`\{\w+\}`)

// Check says where the languages of a catalogue differ in texts or places, and finds Chinese texts that were left
// untranslated.
func Check(t *testing.T, c *locale.Catalog) {
	t.Helper()
	first := c.Texts(locale.Languages[0].Code)
	keys := slices.Sorted(maps.Keys(first))
	for _, l := range locale.Languages {
		texts := c.Texts(l.Code)
		if d := cmp.Diff(keys, slices.Sorted(maps.Keys(texts))); d != "" {
			t.Errorf("keys of %s (-%s +%s):\n%s", l.Code, locale.Languages[0].Code, l.Code, d)
		}
		for key, text := range texts {
			if d := cmp.Diff(slices.Sorted(slices.Values(place.FindAllString(first[key], -1))), slices.Sorted(slices.Values(place.FindAllString(text, -1)))); d != "" {
				t.Errorf("places of %s in %s:\n%s", key, l.Code, d)
			}
			if strings.TrimSpace(text) != text || text == "" {
				t.Errorf("%s in %s is empty or has white space at an end: %q", key, l.Code, text)
			}
		}
	}
	for key, text := range c.Texts("zh") {
		if !strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%s has no Chinese in it: %q", key, text)
		}
	}
}
