package control

import (
	"testing"

	"berth/schema"
	"berth/schema/record"
)

func TestOnlyKeyspacesInCassandraAreShared(t *testing.T) {
	for keyspaces, want := range map[string]map[record.Placement]bool{
		"sqlite:/var/keyspaces":  {record.Own: true, record.Shared: false, "corner": false},
		"cassandra://127.0.0.1/": {record.Own: true, record.Shared: true, "corner": false},
	} {
		s := &Server{o: Options{Status: Status{Keyspaces: keyspaces}}}
		for placement, ok := range want {
			if err := s.placeable(placement); (err == nil) != ok || err != nil && !schema.Is(err, schema.Invalid) {
				t.Errorf("%s, placement %q: %v", keyspaces, placement, err)
			}
		}
	}
}
