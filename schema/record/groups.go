package record

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"berth/schema"
)

// GroupsPrefix begins the keys of Groups in the bucket "pipeline"; the shard follows, two hex digits.
const GroupsPrefix = "groups."

// groupShards is over how many records the gateways of a provider are spread: a record is one message of NATS.
const groupShards = 64

// GroupsKey returns the key of the Groups that a gateway is in: its shard is the first byte of the SHA-256 of its name, modulo 64.
func GroupsKey(gateway string) string {
	sum := sha256.Sum256([]byte(gateway))
	return fmt.Sprintf("%s%02x", GroupsPrefix, sum[0]%groupShards)
}

// Groups say of some of a provider's gateways, by their names, in which groups they are and how they are tagged. Gateways of
// which nothing is said are not in it. The provider's reports writes it.
type Groups struct {
	Version  int                 `json:"version"`
	Gateways map[string]Grouping `json:"gateways"`
}

// Grouping is what is said of one gateway. The zero Grouping says nothing.
type Grouping struct {
	Groups []string          `json:"groups,omitempty"` // sorted
	Tags   map[string]string `json:"tags,omitempty"`   // a tag may have no value
}

// Limits of what is said of one gateway.
const (
	mostGroups   = 32
	mostTags     = 32
	mostGroup    = 60 // characters, of a group's or a tag's name
	mostTagValue = 100
)

// GroupSeparator stands between groups, and between tags, where they are one text; TagSeparator between a tag's name and value.
const (
	GroupSeparator = ";"
	TagSeparator   = "="
)

// IsZero reports whether nothing is said.
func (g Grouping) IsZero() bool { return len(g.Groups) == 0 && len(g.Tags) == 0 }

// Normal returns it with its groups sorted, each once.
func (g Grouping) Normal() Grouping {
	g.Groups = slices.Compact(slices.Sorted(slices.Values(g.Groups)))
	return g
}

// Add returns it with the groups and tags of another, too.
func (g Grouping) Add(more Grouping) Grouping {
	g.Groups = slices.Concat(g.Groups, more.Groups)
	tags := maps.Clone(g.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	maps.Copy(tags, more.Tags)
	g.Tags = tags
	return g.Normal()
}

// Remove returns it without the groups of another, and without the tags whose names it has.
func (g Grouping) Remove(less Grouping) Grouping {
	g.Groups = slices.DeleteFunc(slices.Clone(g.Groups), func(name string) bool { return slices.Contains(less.Groups, name) })
	g.Tags = maps.Clone(g.Tags)
	for name := range less.Tags {
		delete(g.Tags, name)
	}
	return g
}

// In reports whether the gateway is in one of the groups, of which none means any, and has all of the tags, each a name, or a
// name with a value.
func (g Grouping) In(groups, tags []string) bool {
	if len(groups) > 0 && !slices.ContainsFunc(groups, func(name string) bool { return slices.Contains(g.Groups, name) }) {
		return false
	}
	for _, tag := range tags {
		name, value, valued := strings.Cut(tag, TagSeparator)
		if is, has := g.Tags[name]; !has || valued && is != value {
			return false
		}
	}
	return true
}

// Validate returns an Invalid error that names the first that cannot be.
func (g Grouping) Validate() error {
	if len(g.Groups) > mostGroups || len(g.Tags) > mostTags {
		return schema.Errorf(schema.Invalid, "a gateway is in at most %d groups and has at most %d tags", mostGroups, mostTags)
	}
	for _, name := range g.Groups {
		if err := CheckGroup(name); err != nil {
			return err
		}
	}
	for name, value := range g.Tags {
		switch {
		case name == "" || !plain(name, mostGroup) || strings.ContainsAny(name, GroupSeparator+TagSeparator) || strings.TrimSpace(name) != name:
			return schema.Errorf(schema.Invalid, "the tag %q is empty, longer than %d characters, or has one that it cannot have", name, mostGroup)
		case !plain(value, mostTagValue) || strings.Contains(value, GroupSeparator) || strings.TrimSpace(value) != value:
			return schema.Errorf(schema.Invalid, "the value %q of the tag %s is longer than %d characters, or has one that it cannot have", value, name, mostTagValue)
		}
	}
	return nil
}

// CheckGroup returns an Invalid error for what cannot name a group.
func CheckGroup(name string) error {
	if name == "" || !plain(name, mostGroup) || strings.Contains(name, GroupSeparator) || strings.TrimSpace(name) != name {
		return schema.Errorf(schema.Invalid, "the group %q is empty, longer than %d characters, or has one that it cannot have", name, mostGroup)
	}
	return nil
}
