package api

import (
	"maps"
	"slices"
	"strings"
	"time"

	"berth/schema"
	"berth/schema/record"
)

// Groups and tags of gateways, and what people have noted on their charts, are asked and changed by
//
//	GET    /api/v1/providers/{p}/groups       Groups: which there are
//	GET    /api/v1/providers/{p}/groupings    Groupings, or CSV   ?gateway=… &format=json|csv
//	POST   /api/v1/providers/{p}/groupings    Groupings, or CSV   answers with the Groupings of the gateways that it names
//	GET    /api/v1/providers/{p}/gateways/{g}/annotations        Annotations   ?from= &to=
//	POST   /api/v1/providers/{p}/gateways/{g}/annotations        Annotation    answers with the one that was made
//	DELETE /api/v1/providers/{p}/gateways/{g}/annotations/{id}   Done
//
// Gateways, reports and exports are asked of groups by ?group=… (those in one of them) and &tag=… (those that have all of
// them; a tag is a name, or name=value).

// Groups are the groups that a provider's gateways are in, in order of their names, and their tags.
type Groups struct {
	Groups []Group `json:"groups"`
	Tags   []Tag   `json:"tags"` // each name with each of its values, the first thousand
}

// Group is a group and how many gateways are said to be in it.
type Group struct {
	Group    string `json:"group"`
	Gateways int    `json:"gateways"`
}

// Tag is a tag as it is asked for, name=value or a name without a value, and how many gateways are said to have it.
type Tag struct {
	Tag      string `json:"tag"`
	Gateways int    `json:"gateways"`
}

// Groupings say in which groups gateways are, and how they are tagged.
type Groupings struct {
	Change   string     `json:"change,omitempty"` // of what is posted: see the constants; empty: Replace
	Gateways []Grouping `json:"gateways"`
}

// What is posted as Groupings does one of these.
const (
	Replace = "replace" // what was said of the gateways that are named
	Add     = "add"     // groups and tags to what was said of them
	Remove  = "remove"  // groups, and tags of these names, from what was said of them
)

// Grouping is in which groups a gateway is, and how it is tagged.
type Grouping struct {
	Gateway string            `json:"gateway"`
	Groups  []string          `json:"groups"`
	Tags    map[string]string `json:"tags"`
}

// GroupingOf returns a record's grouping as the API has it.
func GroupingOf(gateway string, g record.Grouping) Grouping {
	out := Grouping{Gateway: gateway, Groups: slices.Clone(g.Groups), Tags: maps.Clone(g.Tags)}
	if out.Groups == nil {
		out.Groups = []string{}
	}
	if out.Tags == nil {
		out.Tags = map[string]string{}
	}
	return out
}

// Record returns it as the record has it.
func (g Grouping) Record() record.Grouping {
	return record.Grouping{Groups: g.Groups, Tags: g.Tags}.Normal()
}

// GroupsText returns the groups as one text, and TagsText the tags.
func (g Grouping) GroupsText() string { return strings.Join(g.Groups, record.GroupSeparator) }

// TagsText returns the tags as one text: name=value;name.
func (g Grouping) TagsText() string {
	all := make([]string, 0, len(g.Tags))
	for _, name := range slices.Sorted(maps.Keys(g.Tags)) {
		all = append(all, TagText(name, g.Tags[name]))
	}
	return strings.Join(all, record.GroupSeparator)
}

// TagText returns a tag as one text.
func TagText(name, value string) string {
	if value == "" {
		return name
	}
	return name + record.TagSeparator + value
}

// ParseGrouping reads groups and tags that are texts, as GroupsText and TagsText write them.
func ParseGrouping(gateway, groups, tags string) (Grouping, error) {
	g := Grouping{Gateway: gateway, Groups: []string{}, Tags: map[string]string{}}
	for text := range strings.SplitSeq(groups, record.GroupSeparator) {
		if text = strings.TrimSpace(text); text != "" {
			g.Groups = append(g.Groups, text)
		}
	}
	for text := range strings.SplitSeq(tags, record.GroupSeparator) {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		name, value, _ := strings.Cut(text, record.TagSeparator)
		g.Tags[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if err := schema.CheckGateway(gateway); err != nil {
		return g, err
	}
	return g, g.Record().Validate()
}

// Annotations are what people have noted on a gateway's charts, in order of time.
type Annotations struct {
	Gateway     string       `json:"gateway"`
	Annotations []Annotation `json:"annotations"`
}

// Annotation is a note about a stretch of time, or about a moment: then it ends where it begins.
type Annotation struct {
	ID   string    `json:"id"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Text string    `json:"text"`
	Who  string    `json:"who"` // has written it; reports believes web, and web nobody
	Made time.Time `json:"made"`
}
