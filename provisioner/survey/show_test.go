package survey

import (
	"strings"
	"testing"
	"time"

	"berth/internal/headapi"
	"berth/internal/houseapi"
	"berth/internal/metrics"
	"berth/provisioner/doctor"
	"berth/provisioner/runtime"
	"berth/schema/record"
)

// TestShow: figures are those that instances answered, what is not known is absent, the gravest is first, and all of it is
// bounded.
func TestShow(t *testing.T) {
	v := wellSurvey()
	v.put(metrics.LimitUsed, 42, "readings_per_second")
	v.put(metrics.KeyspaceBytes, 7<<20)
	v.put(metrics.Resident, 30<<20)
	v.put(metrics.BuildInfo, 1, "v9")
	for i := range v.Instances {
		if v.Instances[i].Provider == "south" {
			v.Instances[i].Up, v.Instances[i].Answer.Samples, v.Instances[i].Runtime = false, nil, runtime.Instance{}
		}
	}
	v.Providers = append(v.Providers, record.Provider{Name: "gone", Wanted: record.Removed})
	long := strings.Repeat("错", 2*textMost)
	v.World.Providers["north"].Services[record.RoleIngest] = record.Service{State: headapi.StateSlow, Since: time.Unix(1767225600, 0), Detail: long}
	v.Providers[0].Slot, v.Providers[1].Slot = 2, 1
	got := Show(v, 6000, []doctor.Check{
		doctor.Good("a", "fine"), doctor.Bad(doctor.Warn, "b", long, "%s", long), doctor.Bad(doctor.Fail, "c", "do c", "broken"),
	})
	if len(got.Providers) != 2 || got.Passed != 1 || got.More != 0 {
		t.Fatalf("it shows %+v", got)
	}
	if c := got.Checks; len(c) != 2 || !c[0].Fails || c[0].Next != "do c" || c[1].Fails || len([]rune(c[1].Text)) != textMost+1 || len([]rune(c[1].Next)) != textMost+1 {
		t.Errorf("checks %+v", c)
	}
	if p := got.Providers; p[0].Port != 6001 || p[1].Port != 6002 || len([]rune(p[1].Detail)) != textMost+1 {
		t.Errorf("providers %+v", p)
	}
	byName := map[string]houseapi.SurveyProvider{}
	for _, p := range got.Providers {
		byName[p.Provider] = p
	}
	north, south := byName["north"], byName["south"]
	ingest := north.Instances[0]
	if *north.Rate != 42 || *north.Keyspace != 7<<20 || *north.Log != 1<<20 || *north.LogQuota != 1<<30 || *north.LogAge != 3 || !ingest.Up || ingest.Version != "v9" || *ingest.Memory != 30<<20 {
		t.Errorf("north is %+v", north)
	}
	if south.Rate != nil || south.Log != nil || south.LogAge != nil || south.Keyspace != nil || len(south.Instances) != 2 || south.Instances[0].Up || south.Instances[0].Memory != nil {
		t.Errorf("south, which says nothing, is %+v", south)
	}
	many := make([]doctor.Check, 0, 3*houseapi.SurveyChecks)
	for range cap(many) {
		many = append(many, doctor.Bad(doctor.Fail, "c", "", "broken"))
	}
	if got := Show(nil, 6000, many); len(got.Checks) != houseapi.SurveyChecks || got.More != 2*houseapi.SurveyChecks || got.Providers == nil {
		t.Errorf("of %d checks %d are shown, %d more", len(many), len(got.Checks), got.More)
	}
}
