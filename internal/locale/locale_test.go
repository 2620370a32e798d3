package locale

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

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

func TestNumbersHaveGroups(t *testing.T) {
	for given, want := range map[string]string{
		"0": "0", "999": "999", "1000": "1,000", "-1000": "-1,000", "-100.25": "-100.25", "1234567.8901": "1,234,567.8901", "0.0001": "0.0001",
	} {
		if got := Languages[0].Number(given); got != want {
			t.Errorf("Number(%q) = %s, want %s", given, got, want)
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
