package record

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/schema"
)

func goldenGroups() Groups {
	return Groups{Version: Version, Gateways: map[string]Grouping{
		"boiler/1 Süd": {Groups: []string{"north", "北区"}, Tags: map[string]string{"site": "Kai 3", "leased": ""}},
		"gw1":          {Groups: []string{"north"}},
	}}
}

// TestGroupsKeepTheirShape: they are written as the golden file has them, and read from there as the same, under a key that
// every release finds.
func TestGroupsKeepTheirShape(t *testing.T) {
	golden(t, "groups.v1.json", goldenGroups())
	for gateway, want := range map[string]string{"gw1": "groups.14", "boiler/1 Süd": "groups.09"} {
		if got := GroupsKey(gateway); got != want {
			t.Errorf("the key of %s is %s, want %s", gateway, got, want)
		}
	}
}

func TestGroupingsThatCannotBeAreNamed(t *testing.T) {
	long := strings.Repeat("é", mostGroup+1)
	for want, g := range map[string]Grouping{
		`group ""`:    {Groups: []string{""}},
		`group "a;b"`: {Groups: []string{"a;b"}},
		`group " a"`:  {Groups: []string{" a"}},
		"longer":      {Groups: []string{long}},
		`tag "a=b"`:   {Tags: map[string]string{"a=b": ""}},
		`tag "x\n"`:   {Tags: map[string]string{"x\n": ""}},
		`value "1;2"`: {Tags: map[string]string{"x": "1;2"}},
		"at most":     {Groups: make([]string, mostGroups+1)},
	} {
		if err := g.Validate(); !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
}

func TestGroupingsAreAddedRemovedAndAsked(t *testing.T) {
	g := Grouping{Groups: []string{"b"}, Tags: map[string]string{"site": "1", "old": ""}}
	more := g.Add(Grouping{Groups: []string{"a", "b"}, Tags: map[string]string{"site": "2"}})
	if d := cmp.Diff(Grouping{Groups: []string{"a", "b"}, Tags: map[string]string{"site": "2", "old": ""}}, more); d != "" || g.Tags["site"] != "1" {
		t.Errorf("added (-want +got):\n%s and what it was added to is %v", d, g)
	}
	less := more.Remove(Grouping{Groups: []string{"b", "c"}, Tags: map[string]string{"old": "", "new": ""}})
	if d := cmp.Diff(Grouping{Groups: []string{"a"}, Tags: map[string]string{"site": "2"}}, less); d != "" || len(more.Groups) != 2 {
		t.Errorf("removed (-want +got):\n%s and what it was removed from is %v", d, more)
	}
	for _, c := range []struct {
		groups, tags string
		want         bool
	}{
		{"", "", true},
		{"a", "", true},
		{"b a", "", true},
		{"b", "", false},
		{"", "site", true},
		{"", "site=2", true},
		{"", "site=1", false},
		{"a", "site=2 site", true},
		{"a", "site old", false},
		{"b", "site", false},
	} {
		if got := less.In(strings.Fields(c.groups), strings.Fields(c.tags)); got != c.want {
			t.Errorf("in %q with %q: %v", c.groups, c.tags, got)
		}
	}
}
