package record

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"berth/schema"
)

func TestDefaultSettingsAreValid(t *testing.T) {
	if err := DefaultSettings().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesWhatCannotBe(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"timezone":  func(s *Settings) { s.Timezone = "Mars/Olympus" },
		"retention": func(s *Settings) { s.Retention = time.Hour },
		"future":    func(s *Settings) { s.Future = 0 },
		"limit":     func(s *Settings) { s.Limits.Gateways = 0 },
		"sensors":   func(s *Settings) { s.Limits.SensorsPerGateway = MostSensors + 1 },
		"attribute": func(s *Settings) { s.AttributeTags = []string{"site", ""} },
		"be its":    func(s *Settings) { s.GatewayTag, s.AttributeTags = "site", []string{"site"} },
	} {
		s := DefaultSettings()
		change(&s)
		if err := s.Validate(); !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	for _, zone := range []string{"", "Local"} {
		s := DefaultSettings()
		s.Timezone = zone
		if s.Validate() == nil {
			t.Errorf("the zone %q depends on the machine", zone)
		}
	}
}

// What other services and older releases read must not change its names.
func TestRecordsKeepTheirNames(t *testing.T) {
	p := Pipeline{Version: 1, Name: "p1", Slot: 1, Keyspace: "p1", Settings: DefaultSettings(), EnrolmentHash: "h", ReportsToken: "t"}
	got, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"version":1,"name":"p1","slot":1,"keyspace":"p1","settings":{"retention":34560000000000000,"future":86400000000000,` +
		`"timezone":"UTC","limits":{"connections":20000,"connections_per_address":20000,"sensors_per_gateway":1000,"gateways":100000}},` +
		`"enrolment_hash":"h","reports_token":"t"}`
	if string(got) != want {
		t.Errorf("written\n%s\nwant\n%s", got, want)
	}
	if key := (Service{Role: RoleIngest, Instance: "a1"}).Key(); key != "ingest.a1" {
		t.Errorf("the service's key is %s", key)
	}
}
