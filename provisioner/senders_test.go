package provisioner

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/provisioner/doctor"
	"berth/provisioner/house"
	"berth/schema/record"
)

func TestTheDoctorNamesGatewaysThatWaitForSomebody(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	p := &record.Provider{Name: "north", Settings: record.DefaultSettings()}
	p.Settings.Approve = true
	cert := func(gateway string, left time.Duration) house.Seen {
		return house.Seen{Gateway: gateway, Key: &record.GatewayKey{Gateway: gateway, Cert: &record.GatewayCert{Serial: "1", Until: now.Add(left)}}}
	}
	gone := cert("gone", 0)
	gone.Key.Revoked = now
	well := []house.Seen{cert("fresh", 31*24*time.Hour), gone, {Gateway: "keyed", Key: &record.GatewayKey{Hash: "h"}}}
	if got := sendersToName(p, well, now); len(got) != 0 {
		t.Errorf("of gateways that are well it says %+v", got)
	}
	all := append(well, cert("late", -time.Hour), cert("soon", 29*24*time.Hour))
	for n := range 7 {
		all = append(all, house.Seen{Gateway: fmt.Sprintf("new%d", n), Waiting: &record.Waiting{}})
	}
	got := sendersToName(p, all, now)
	want := []struct {
		state doctor.State
		text  string
	}{
		{doctor.Warn, "north: new gateways wait for approval: new0, new1, new2, new3, new4, 2 more"},
		{doctor.Fail, "north: certificates have ended, and their gateways are refused: late"},
		{doctor.Warn, "north: certificates end soon: soon on 2026-06-02"},
	}
	if len(got) != len(want) {
		t.Fatalf("it says %+v", got)
	}
	for i, w := range want {
		if got[i].State != w.state || got[i].Text != w.text || !strings.Contains(got[i].Next, "north") {
			t.Errorf("it says %+v, want %+v", got[i], w)
		}
	}
}
