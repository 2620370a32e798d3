package record

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

var at = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// goldenProvider is a provider with all that a version can say.
func goldenProvider(version int) Provider {
	p := Provider{
		Name: "p1", Slot: 1, Keyspace: "p1", Created: at, Wanted: Active, Purge: true, Removed: at, Restart: 2, Freed: []Freed{{Slot: 7, At: at}},
		Settings: DefaultSettings(), EnrolmentHash: "h", EnrolmentSealed: []byte("sealed"), ReportsToken: "t", Account: "A",
	}
	if version == 2 {
		p.Wanted, p.KeyspaceSealed = Stopped, []byte("sealed too")
		p.Roles = map[string]Wish{
			RoleIngest: {
				Resources: Resources{Memory: 128 << 20, MilliCPU: 500, PIDs: 64, Files: 4096}, Image: "berth/ingest:v3",
				Trial: &Trial{Before: "berth/ingest:v2", Begun: at},
			},
			RoleReports: {Image: "berth/reports:v2", Reverted: &Reverted{Image: "berth/reports:v3", At: at, Why: "it ended"}},
		}
	}
	p.Stamp()
	return p
}

// TestProvidersKeepTheirShapes: each version is written as its golden file has it, and read from there as the same.
func TestProvidersKeepTheirShapes(t *testing.T) {
	for version, name := range map[int]string{1: "provider.v1.json", 2: "provider.v2.json"} {
		path, p := filepath.Join("testdata", name), goldenProvider(version)
		if p.Version != version {
			t.Errorf("%s is stamped as version %d", name, p.Version)
		}
		got, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(strings.TrimSpace(string(want)), string(got)); d != "" {
			t.Errorf("%s (-want +written):\n%s", path, d)
		}
		read := Provider{Settings: DefaultSettings()}
		if err := json.Unmarshal(want, &read); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, read); d != "" {
			t.Errorf("%s (-want +read):\n%s", path, d)
		}
	}
}

func TestATrialKnowsWhatToBringBack(t *testing.T) {
	first := Wish{Image: "i:1"}
	second := first.Try("i:2", at)
	third := second.Try("i:3", at.Add(time.Hour)) // the second was not healthy yet
	for what, c := range map[string]struct{ got, want Wish }{
		"the same image":               {first.Try("i:1", at), first},
		"one that is kept":             {second.Keep(), Wish{Image: "i:2"}},
		"one that fails":               {second.Revert("why", at), Wish{Image: "i:1", Reverted: &Reverted{Image: "i:2", At: at, Why: "why"}}},
		"one after one on trial":       {third.Revert("why", at), Wish{Image: "i:1", Reverted: &Reverted{Image: "i:3", At: at, Why: "why"}}},
		"back by hand":                 {second.Try("i:1", at), first},
		"nothing on trial":             {first.Revert("why", at), first},
		"another after one failed":     {second.Revert("why", at).Try("i:4", at), Wish{Image: "i:4", Trial: &Trial{Before: "i:1", Begun: at}}},
		"the runtime's own comes back": {Wish{}.Try("i:1", at).Revert("why", at), Wish{Reverted: &Reverted{Image: "i:1", At: at, Why: "why"}}},
	} {
		if d := cmp.Diff(c.want, c.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	if !second.OnTrial(second) || second.OnTrial(third) || first.OnTrial(first) || second.OnTrial(first) {
		t.Error("trials are not told apart")
	}
}

func TestWishesThatCannotBe(t *testing.T) {
	for want, w := range map[string]Wish{
		"memory=1":      {Resources: Resources{Memory: 1}},
		"milli_cpu=-1":  {Resources: Resources{MilliCPU: -1}},
		"pids=1":        {Resources: Resources{PIDs: 1}},
		"files=1":       {Resources: Resources{Files: 1}},
		"image's name":  {Image: "-v"},
		"is no image's": {Image: "a image"},
	} {
		if err := w.Validate(); !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v does not name %q", w, err, want)
		}
	}
	if err := (Wish{Image: "host:5000/berth/ingest@sha256:0123", Resources: Resources{Memory: 16 << 20}}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestEveryResourceIsInTheTable: each field of Resources has a line, under the name that JSON gives it.
func TestEveryResourceIsInTheTable(t *testing.T) {
	var r Resources
	for i, each := range EachResource() {
		*each.Field(&r) = int64(i + 1)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]int64
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for i, each := range EachResource() {
		if got[each.Name] != int64(i+1) || len(got) != len(EachResource()) {
			t.Errorf("the line of %s has another field: %s", each.Name, text)
		}
	}
}

// TestARoleIsChangedInARecordOfItsOwn: records that are copied share no wish.
func TestARoleIsChangedInARecordOfItsOwn(t *testing.T) {
	p := goldenProvider(2)
	q := p
	q.SetRole(RoleIngest, Wish{})
	q.SetRole(RoleReports, Wish{Image: "i:9"})
	if d := cmp.Diff(goldenProvider(2), p); d != "" {
		t.Errorf("the record that was copied is another (-before +after):\n%s", d)
	}
	if len(q.Roles) != 1 || q.Roles[RoleReports].Image != "i:9" {
		t.Errorf("changed to %+v", q.Roles)
	}
}
