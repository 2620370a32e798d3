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
		"timezone":                 func(s *Settings) { s.Timezone = "Mars/Olympus" },
		"retention":                func(s *Settings) { s.Retention = time.Hour },
		"future":                   func(s *Settings) { s.Future = 0 },
		"gateways=0":               func(s *Settings) { s.Limits.Gateways = 0 },
		"log_bytes":                func(s *Settings) { s.Limits.LogBytes = 0 },
		"readings_per_second=-1":   func(s *Settings) { s.Limits.ReadingsPerSecond = -1 },
		"0 is no limit":            func(s *Settings) { s.Limits.KeyspaceBytes = 1 },
		"sensors_per_gateway=1000": func(s *Settings) { s.Limits.SensorsPerGateway = MostSensors + 1 },
		"attribute":                func(s *Settings) { s.AttributeTags = []string{"site", ""} },
		"be its":                   func(s *Settings) { s.GatewayTag, s.AttributeTags = "site", []string{"site"} },
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
		`"timezone":"UTC","limits":{"connections":20000,"connections_per_address":20000,"connections_per_gateway":100,` +
		`"sensors_per_gateway":1000,"gateways":100000,"readings_per_second":20000000,"bytes_per_second":1073741824,` +
		`"gateway_readings_per_second":10000000,"gateway_bytes_per_second":536870912,"log_bytes":1073741824,"keyspace_bytes":1099511627776}},` +
		`"enrolment_hash":"h","reports_token":"t"}`
	if string(got) != want {
		t.Errorf("written\n%s\nwant\n%s", got, want)
	}
	if key := (Service{Role: RoleIngest, Instance: "a1"}).Key(); key != "ingest.a1" {
		t.Errorf("the service's key is %s", key)
	}
}

func TestWhatIsKeptKeepsItsNames(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for want, v := range map[string]any{
		`{"version":1,"time":"2026-01-02T03:04:05.000000006Z","gateway":"g1","relay":true,"protocol":"http","format":"line","precision":1000000,` +
			`"address":"127.0.0.1:5","code":"invalid","reason":"why","lines":[{"line":2,"reason":"why"}],"readings":3,"size":40,"refused":20,"part":true}`: Reject{
			Version: 1, Time: at, Gateway: "g1", Relay: true, Protocol: "http", Format: "line", Precision: time.Millisecond, Address: "127.0.0.1:5",
			Code: schema.Invalid, Reason: "why", Lines: []RejectLine{{2, "why"}}, Readings: 3, Size: 40, Refused: 20, Part: true,
		},
		`{"version":1,"time":"2026-01-02T03:04:05.000000006Z","gateway":"g1","what":"log","form":"message","sequence":7,"readings":3,` +
			`"code":"invalid","reason":"why","size":40}`: Aside{
			Version: 1, Time: at, Gateway: "g1", What: "log", Form: FormMessage, Sequence: 7, Readings: 3, Code: schema.Invalid, Reason: "why", Size: 40,
		},
		`{"name":"s","kind":"mqtt","url":"tcp://b:1883","topics":[{"pattern":"a/+","gateway":"g","format":"json"}],"left":["b"],"client_id":"c",` +
			`"user":"u","sealed":"AQ==","ca":"p","created":"2026-01-02T03:04:05.000000006Z","changed":"2026-01-02T03:04:05.000000006Z"}`: Source{
			Name: "s", Kind: SourceMQTT, URL: "tcp://b:1883", Topics: []TopicRule{{Pattern: "a/+", Gateway: "g", Format: "json"}}, Left: []string{"b"},
			ClientID: "c", User: "u", Sealed: []byte{1}, CA: "p", Created: at, Changed: at,
		},
		`{"version":1,"certificate":"c","key":"k","made":"m","renew":"2026-01-02T03:04:05.000000006Z"}`: PortCertificate{
			Version: 1, Certificate: "c", Key: "k", Made: "m", Renew: at,
		},
		`{"version":1,"name":"jane","role":"viewer","provider":"p1","of":"2026-01-02T03:04:05.000000006Z","hash":"h",` +
			`"created":"2026-01-02T03:04:05.000000006Z","changed":"2026-01-02T03:04:05.000000006Z","since":"2026-01-02T03:04:05.000000006Z"}`: Person{
			Version: 1, Name: "jane", Role: Viewer, Provider: "p1", Of: at, Hash: "h", Created: at, Changed: at, Since: at,
		},
		`{"version":1,"kind":"reset","role":"admin","provider":"p1","person":"jane","created":"2026-01-02T03:04:05.000000006Z",` +
			`"expires":"2026-01-02T03:04:05.000000006Z"}`: Link{
			Version: 1, Kind: Reset, Role: Admin, Provider: "p1", Person: "jane", Created: at, Expires: at,
		},
		`{"version":1,"provider":"p1","name":"ci","scope":"read","created":"2026-01-02T03:04:05.000000006Z",` +
			`"expires":"2026-01-02T03:04:05.000000006Z","used":"2026-01-02T03:04:05.000000006Z"}`: Token{
			Version: 1, Provider: "p1", Name: "ci", Scope: ScopeRead, Created: at, Expires: at, Used: at,
		},
		`{"version":1,"episodes":[{"state":"full","detail":"why","from":"2026-01-02T03:04:05.000000006Z"},` +
			`{"state":"slow","from":"2026-01-02T03:04:05.000000006Z","to":"2026-01-02T03:04:05.000000006Z","times":2}]}`: Episodes{
			Version: 1, Episodes: []Episode{{State: "full", Detail: "why", From: at}, {State: "slow", From: at, To: at, Times: 2}},
		},
	} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("written\n%s\nwant\n%s (%v)", got, want, err)
		}
	}
}

// TestEveryLimitIsInTheTable: each field of Limits has a line, under the name that JSON gives it.
func TestEveryLimitIsInTheTable(t *testing.T) {
	var l Limits
	for i, each := range EachLimit() {
		*each.Field(&l) = int64(i + 1)
	}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]int64
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(EachLimit()) {
		t.Errorf("%d fields, %d lines", len(got), len(EachLimit()))
	}
	for i, each := range EachLimit() {
		if got[each.Name] != int64(i+1) {
			t.Errorf("the line of %s has another field: %s", each.Name, text)
		}
	}
}

// TestWhatARecordLacksHasItsDefault is of records that were written before a limit was there.
func TestWhatARecordLacksHasItsDefault(t *testing.T) {
	p := Pipeline{Settings: DefaultSettings()}
	if err := json.Unmarshal([]byte(`{"settings":{"timezone":"UTC","limits":{"gateways":7,"readings_per_second":0}}}`), &p); err != nil {
		t.Fatal(err)
	}
	want := DefaultLimits()
	want.Gateways, want.ReadingsPerSecond = 7, 0
	if p.Settings.Limits != want {
		t.Errorf("read %+v", p.Settings.Limits)
	}
}
