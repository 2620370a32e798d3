package record

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzRecords: whatever a bucket holds, a record of it is read or refused, its settings are judged, and what was read,
// written again, is read as the same.
func FuzzRecords(f *testing.F) {
	for _, v := range []any{
		Provider{Version: Version, Name: "p1", Slot: 1, Wanted: Active, Settings: DefaultSettings(), Freed: []Freed{{Slot: 2, At: time.Unix(1, 0).UTC()}}},
		Provider{Version: ProviderVersion, Wanted: Stopped, Roles: map[string]Wish{RoleIngest: {Image: "i:2", Trial: &Trial{Begun: time.Unix(1, 0).UTC()}}}},
		Pipeline{Version: Version, Name: "p1", Slot: 1, Settings: DefaultSettings(), Sources: []Source{{Name: "s", URL: "tcp://b:1", Topics: []TopicRule{{Pattern: "a/{gateway}"}}}}},
		Source{Name: "s", Kind: SourceMQTT, URL: "tls://b:1", Topics: []TopicRule{{Pattern: "a/{gateway}/{sensor}"}}, ClientID: "c", User: "u", Sealed: []byte{1}, CA: "c"},
		GatewayKey{Version: Version, Gateway: "g", Relay: true},
		PortCertificate{Version: Version, Certificate: "c", Key: "k", Made: "m", Renew: time.Unix(1, 0).UTC()},
		Link{Version: Version, Role: Admin, Provider: "p1"},
		Person{Version: Version, Name: "jane", Role: Viewer, Provider: "p1", Of: time.Unix(1, 0).UTC(), Since: time.Unix(2, 0).UTC()},
		Token{Version: Version, Provider: "p1"},
		Service{Version: Version, Role: RoleWeb},
		goldenSensors(),
		goldenGroups(),
		goldenAnnotations(),
		Schedule{Version: Version, Every: Daily, Recipients: []Recipient{{Address: "a@example.com", Language: "zh"}}, Created: time.Unix(1, 0).UTC()},
		ScheduleRun{Version: Version, State: RunMade, Letters: []Letter{{State: LetterSending, At: time.Unix(1, 0).UTC()}}},
		Episodes{Version: Version, Episodes: []Episode{{State: "slow", From: time.Unix(1, 0).UTC()}}},
	} {
		data, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		again[Provider](t, data)
		again[Pipeline](t, data)
		again[GatewayKey](t, data)
		again[PortCertificate](t, data)
		again[Link](t, data)
		again[Person](t, data)
		again[Token](t, data)
		again[Service](t, data)
		again[Episodes](t, data)
		again[Sensors](t, data)
		again[Groups](t, data)
		again[Annotations](t, data)
		again[Schedule](t, data)
		again[ScheduleRun](t, data)
		var s Settings
		if json.Unmarshal(data, &s) == nil {
			_ = s.Validate()
		}
		var all Sensors
		if json.Unmarshal(data, &all) == nil {
			_ = all.Validate()
		}
		var source Source
		if json.Unmarshal(data, &source) == nil && source.Validate() == nil {
			for _, r := range append(source.Topics, source.Rules()...) {
				_, _, _ = r.Match(string(data))
			}
			if address, _ := source.Address(); address == "" || len(source.Filters()) == 0 {
				t.Fatalf("a good source has the address %q", address)
			}
		}
		var w Wish
		if json.Unmarshal(data, &w) == nil {
			_ = w.Validate()
		}
	})
}

// again reads a record, and compares it with what it is read as when it was written anew.
func again[T any](t *testing.T, data []byte) {
	t.Helper()
	var first, second T
	if json.Unmarshal(data, &first) != nil {
		return
	}
	written, err := json.Marshal(first)
	if err != nil {
		return // a year that JSON cannot hold
	}
	if err := json.Unmarshal(written, &second); err != nil {
		t.Fatalf("%s was written as %s, which is refused: %v", data, written, err)
	}
	rewritten, err := json.Marshal(second)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(written), string(rewritten)); d != "" {
		t.Fatalf("%s (-first +second):\n%s", data, d)
	}
}
