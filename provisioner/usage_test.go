package provisioner

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/metrics"
	"berth/provisioner/meter"
	"berth/provisioner/runtime"
	"berth/provisioner/survey"
	"berth/schema/record"
)

// TestWhatIsUsedIsWhatIngestAnswers: of each provider whose ingest answers all of it, and of no other.
func TestWhatIsUsedIsWhatIngestAnswers(t *testing.T) {
	made, started := time.Unix(1767225600, 0).UTC(), time.Unix(1767312000, 5).UTC()
	var sink metrics.Sink
	sink.Put(metrics.Readings, 1, "accepted")
	sink.Put(metrics.Readings, 2, "rejected")
	sink.Put(metrics.FramesReceived, 3)
	sink.Put(metrics.FramesEnded, 4, "rejected")
	sink.Put(metrics.FramesEnded, 400, "committed")
	sink.Put(metrics.KeyspaceBytes, 5)
	sink.Put(metrics.Gateways, 6)
	sink.Put(metrics.Resident, 600)
	sink.Put(metrics.LogWritten, 7)
	all := sink.Samples()
	at := func(provider, role string, up bool, samples []metrics.Sample) survey.Instance {
		return survey.Instance{
			Provider: provider, Role: role, Up: up, Runtime: runtime.Instance{ID: "i", Started: started},
			Answer: metrics.Answer{Provider: provider, Role: role, Samples: samples},
		}
	}
	v := &survey.Survey{
		Providers: []record.Provider{{Name: "north", Created: made}, {Name: "south", Created: made}, {Name: "west", Created: made}},
		Instances: []survey.Instance{
			at("north", record.RoleIngest, true, all), at("north", record.RoleReports, true, all), at("south", record.RoleIngest, false, all),
			at("west", record.RoleIngest, true, all[1:]), at("gone", record.RoleIngest, true, all),
		},
	}
	want := []meter.Now{{
		Provider: "north", Of: made, Used: record.Used{Readings: 1, Rejected: 2, Frames: 3, Refused: 4, Bytes: 7}, Storage: 5, Gateways: 6,
		Instance: ofLog,
	}}
	if d := cmp.Diff(want, usedOf(v)); d != "" {
		t.Errorf("used (-want +got):\n%s", d)
	}
}
