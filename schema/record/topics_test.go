package record

import (
	"strings"
	"testing"

	"berth/schema"
)

func TestTopicsMatch(t *testing.T) {
	for _, c := range []struct{ pattern, topic, want string }{
		{"a/b", "a/b", "yes"},
		{"a/b", "a", ""},
		{"a/b", "a/b/c", ""},
		{"a/b", "A/b", ""},
		{"a/+", "a/b", "yes"},
		{"a/+", "a/", "yes"}, // an empty level is a level
		{"a/+", "a", ""},
		{"+/b", "/b", "yes"},
		{"+/+", "/b", "yes"},
		{"+", "/b", ""},
		{"#", "a/b/c", "yes"},
		{"a/#", "a", "yes"}, // §4.7.1.2
		{"a/#", "a/b/c", "yes"},
		{"a/#", "ab", ""},
		{"a/+/#", "a", ""},
		{"a/+/#", "a/b", "yes"},
		{"#", "$SYS/a", ""}, // [MQTT-4.7.2-1]
		{"+/a", "$SYS/a", ""},
		{"{gateway}/a", "$SYS/a", ""},
		{"$SYS/#", "$SYS/a", "yes"},
		{"plant/{gateway}/data", "plant/gw1/data", "gw1:"},
		{"plant/{gateway}/data", "plant//data", ""}, // nobody's
		{"plant/{gateway}/#", "plant/gw1", "gw1:"},
		{"plant/{gateway}/#", "plant/gw1/a/b", "gw1:"},
		{"plant/{gateway}/{sensor}", "plant/gw1/t", "gw1:t"},
		{"plant/{gateway}/{sensor}", "plant/gw1/room/t", "gw1:room/t"},
		{"plant/{gateway}/{sensor}", "plant/gw1/", ""},
		{"plant/{gateway}/{sensor}", "plant/gw1", ""},
		{"{sensor}/of/{gateway}", "t/of/gw1", "gw1:t"},
		{"{sensor}/of/{gateway}", "room/t/of/gw1", ""},
		{"{sensor}/#", "t/a", ":t"},
		{"{sensor}", "a/b", ":a/b"},
		{"温室/{gateway}/{sensor}", "温室/一/温度", "一:温度"},
	} {
		r := TopicRule{Pattern: c.pattern}
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", c.pattern, err)
		}
		got := ""
		if gateway, sensor, ok := r.Match(c.topic); ok {
			if got = "yes"; gateway+sensor != "" {
				got = gateway + ":" + sensor
			}
		}
		if got != c.want {
			t.Errorf("%s against %s is %q, want %q", c.topic, c.pattern, got, c.want)
		}
		// What a broker is asked for has what the rule takes.
		if filter := (&TopicRule{Pattern: r.Filter()}); filter.Validate() != nil {
			t.Errorf("%s is asked for as %s", c.pattern, filter.Pattern)
		} else if _, _, ok := filter.Match(c.topic); c.want != "" && !ok {
			t.Errorf("%s of %s is not asked for by %s", c.topic, c.pattern, filter.Pattern)
		}
	}
}

func TestTopicsNameWhatCannotBe(t *testing.T) {
	for want, r := range map[string]TopicRule{
		"no pattern":              {},
		"longer than":             {Pattern: strings.Repeat("a", maxPattern+1)},
		"UTF-8":                   {Pattern: "a/\xff"},
		"# before its end":        {Pattern: "a/#/b"},
		"within a level":          {Pattern: "a/b#"},
		"+ or # within":           {Pattern: "a+/b"},
		"braces":                  {Pattern: "a/{device}"},
		"other than":              {Pattern: "a/x-{gateway}"},
		"twice":                   {Pattern: "{gateway}/{gateway}"},
		"names the gateway alr":   {Pattern: "a/{gateway}", Gateway: "g"},
		"senml+json does by its":  {Pattern: "a/{sensor}", Format: "senml+json"},
		"no sensor":               {Pattern: "a/+", Format: "value"},
		"that do not print":       {Pattern: "a", Gateway: "g\n"},
		"the pattern \"a/#/b\" h": {Pattern: "a/#/b"},
	} {
		if err := r.Validate(); !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	s := DefaultSettings()
	s.Topics = []TopicRule{{Pattern: "a"}, {Pattern: "a", Format: "json"}}
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("two of a pattern: %v", err)
	}
	for s.Topics = nil; len(s.Topics) <= MaxTopics; {
		s.Topics = append(s.Topics, TopicRule{Pattern: strings.Repeat("a/", len(s.Topics)) + "#"})
	}
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "more than 64") {
		t.Errorf("too many: %v", err)
	}
	if err := (&TopicRule{Pattern: "a", Format: "xml"}).CheckFormat(); err == nil || !strings.Contains(err.Error(), "senml+json") {
		t.Errorf("an unknown format: %v", err)
	}
}
