package locale

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var place = regexp.MustCompile(`\{\w+\}`)

func TestAllLanguagesHaveTheSameTexts(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	first := c.Texts(Languages[0].Code)
	keys := slices.Sorted(maps.Keys(first))
	for _, l := range Languages {
		texts := c.Texts(l.Code)
		if d := cmp.Diff(keys, slices.Sorted(maps.Keys(texts))); d != "" {
			t.Errorf("keys of %s (-%s +%s):\n%s", l.Code, Languages[0].Code, l.Code, d)
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
}

// TestChineseIsChinese finds texts that were left untranslated.
func TestChineseIsChinese(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for key, text := range c.Texts("zh") {
		if !strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%s has no Chinese in it: %q", key, text)
		}
	}
}

func TestChoose(t *testing.T) {
	for header, want := range map[string]string{
		"": "en", "zh": "zh", "zh-CN,zh;q=0.9,en;q=0.8": "zh", "en-GB,en;q=0.9,zh;q=0.8": "en", "fr": "en", "fr;q=1, zh;q=0.1": "zh",
		"en;q=0.2, zh-Hans;q=0.3": "zh", "zh;q=0": "en", "zh;q=x": "en", "ZH-TW": "zh", ";;;,,": "en",
	} {
		if got := Choose(header); got != want {
			t.Errorf("Choose(%q) = %s, want %s", header, got, want)
		}
	}
}

func TestPrinterFillsPlaces(t *testing.T) {
	p := &Printer{texts: map[string]string{"a.b": "{x} of {y}, {x}"}}
	if got := p.T("a.b", "x", 1, "y", "two"); got != "1 of two, 1" {
		t.Errorf("T = %q", got)
	}
	if got := p.T("a.c"); got != "[a.c]" || p.Has("a.c") {
		t.Errorf("T of a key without text = %q", got)
	}
	if d := cmp.Diff(map[string]string{"b": "{x} of {y}, {x}"}, p.Group("a.")); d != "" {
		t.Errorf("Group (-want +got):\n%s", d)
	}
}
