package reports

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/schema"
	"berth/schema/record"
)

// shards hold the records that are many of a kind, decoded, each by its key. One is decoded once for each of its revisions.
// The zero value is ready.
type shards[T any] struct {
	mu  sync.RWMutex // guards all; what is in it does not change
	all map[string]shard[T]
}

// shard is one record of many.
type shard[T any] struct {
	revision uint64
	value    *T
}

// take takes over the records of a bucket whose keys begin with a prefix. One that was read newer already stays, and one that
// cannot be read stays as it was; bad is told of it.
func (s *shards[T]) take(entries map[string]bus.Entry, prefix string, bad func(key string, err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]shard[T]{}
	for key, e := range entries {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		one, has := s.all[key]
		if !has || one.revision < e.Revision {
			var about struct{ Version int }
			read := new(T)
			err := json.Unmarshal(e.Value, &about)
			if err == nil && about.Version > record.Version {
				err = schema.Errorf(schema.Invalid, "version %d is of a later release", about.Version)
			}
			if err == nil {
				err = json.Unmarshal(e.Value, read)
			}
			if err != nil {
				bad(key, err)
			} else {
				one, has = shard[T]{e.Revision, read}, true
			}
		}
		if has {
			all[key] = one
		}
	}
	s.all = all
}

// put takes over one that was written just now.
func (s *shards[T]) put(key string, revision uint64, value *T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[key].revision >= revision {
		return
	}
	s.all = maps.Clone(s.all)
	if s.all == nil {
		s.all = map[string]shard[T]{}
	}
	s.all[key] = shard[T]{revision, value}
}

// get returns one by its key; nil when there is none.
func (s *shards[T]) get(key string) *T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[key].value
}

// each calls fn for all of them.
func (s *shards[T]) each(fn func(*T)) {
	s.mu.RLock()
	all := s.all
	s.mu.RUnlock()
	for _, one := range all {
		fn(one.value)
	}
}

// grouping returns what is said of a gateway.
func (r *Reports) grouping(gateway string) record.Grouping {
	if g := r.groups.get(record.GroupsKey(gateway)); g != nil {
		return g.Gateways[gateway]
	}
	return record.Grouping{}
}

// mostTagsListed is how many tags are listed.
const mostTagsListed = 1000

// listGroups answers with the groups and tags that there are.
func (r *Reports) listGroups(w http.ResponseWriter, _ *http.Request) error {
	groups, tags := map[string]int{}, map[string]int{}
	r.groups.each(func(g *record.Groups) {
		for _, of := range g.Gateways {
			for _, name := range of.Groups {
				groups[name]++
			}
			for name, value := range of.Tags {
				tags[api.TagText(name, value)]++
			}
		}
	})
	answer := api.Groups{Groups: make([]api.Group, 0, len(groups)), Tags: []api.Tag{}}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		answer.Groups = append(answer.Groups, api.Group{Group: name, Gateways: groups[name]})
	}
	sorted := slices.Sorted(maps.Keys(tags))
	for _, text := range sorted[:min(len(sorted), mostTagsListed)] {
		answer.Tags = append(answer.Tags, api.Tag{Tag: text, Gateways: tags[text]})
	}
	return writeJSON(w, &answer)
}

// groupings answers with what is said of the gateways that are named, of all of which something is when none is.
func (r *Reports) groupings(w http.ResponseWriter, req *http.Request) error {
	answer := api.Groupings{Gateways: []api.Grouping{}}
	if names := req.URL.Query()["gateway"]; len(names) > 0 {
		for _, name := range names {
			answer.Gateways = append(answer.Gateways, api.GroupingOf(name, r.grouping(name)))
		}
		return writeJSON(w, &answer)
	}
	r.groups.each(func(g *record.Groups) {
		for name, of := range g.Gateways {
			answer.Gateways = append(answer.Gateways, api.GroupingOf(name, of))
		}
	})
	slices.SortFunc(answer.Gateways, func(a, b api.Grouping) int { return cmp.Compare(a.Gateway, b.Gateway) })
	return writeJSON(w, &answer)
}

// sayGroupings takes over what is said of the gateways that the request names. All of it is checked before any of it is kept.
func (r *Reports) sayGroupings(w http.ResponseWriter, req *http.Request) error {
	var said api.Groupings
	if err := readSaid(req, &said); err != nil {
		return err
	}
	change := record.Grouping.Add
	switch said.Change {
	case "", api.Replace:
		change = func(_, now record.Grouping) record.Grouping { return now }
	case api.Add:
	case api.Remove:
		change = record.Grouping.Remove
	default:
		return schema.Errorf(schema.Invalid, "the change %q is unknown", said.Change).WithNext("use %s, %s or %s", api.Replace, api.Add, api.Remove)
	}
	byKey := map[string][]api.Grouping{}
	for _, g := range said.Gateways {
		if err := schema.CheckGateway(g.Gateway); err != nil {
			return err
		}
		if err := change(r.grouping(g.Gateway), g.Record()).Validate(); err != nil {
			return err
		}
		key := record.GroupsKey(g.Gateway)
		byKey[key] = append(byKey[key], g)
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if err := r.sayShard(req, key, byKey[key], change); err != nil {
			return err
		}
	}
	answer := api.Groupings{Gateways: make([]api.Grouping, 0, len(said.Gateways))}
	for _, g := range said.Gateways {
		answer.Gateways = append(answer.Gateways, api.GroupingOf(g.Gateway, r.grouping(g.Gateway)))
	}
	return writeJSON(w, &answer)
}

// sayShard changes what one record says of gateways.
func (r *Reports) sayShard(req *http.Request, key string, said []api.Grouping, change func(before, said record.Grouping) record.Grouping) error {
	var groups *record.Groups
	revision, err := r.sayRecord(req.Context(), key, func(before []byte) (any, error) {
		groups = &record.Groups{}
		if before != nil && (json.Unmarshal(before, groups) != nil || groups.Version > record.Version) {
			return nil, laterRelease("gateways' groups")
		}
		groups.Version = record.Version
		if groups.Gateways == nil {
			groups.Gateways = map[string]record.Grouping{}
		}
		for _, g := range said {
			now := change(groups.Gateways[g.Gateway], g.Record())
			if err := now.Validate(); err != nil {
				return nil, err
			}
			if groups.Gateways[g.Gateway] = now; now.IsZero() {
				delete(groups.Gateways, g.Gateway)
			}
		}
		return groups, nil
	})
	if err != nil {
		return err
	}
	r.groups.put(key, revision, groups)
	return nil
}
