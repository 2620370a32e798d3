package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/api"
	"berth/schema/record"
)

func TestSensorsAreReadFromCSV(t *testing.T) {
	got, err := sensors.parse(strings.NewReader("\ufeffsensor,unit,label,counter,decimals\nmeter,kWh,'=Zähler,yes,0\n\"a,b\",°C,供水,,\n"))
	want := api.SaidSensors{Sensors: []api.SaidSensor{
		{Sensor: "meter", Label: "=Zähler", Unit: "kWh", Decimals: new(0), Counter: true}, {Sensor: "a,b", Label: "供水", Unit: "°C"},
	}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("read (-want +got):\n%s\n%v", d, err)
	}
	refusesFiles(t, sensors.parse, map[string]string{
		"": "row of titles", "label\nx\n": "no column sensor", "sensor,decimals\na,1.5\n": "row 2", "sensor,decimals\na,1\nb,99\n": "row 3",
		"sensor,counter\na,perhaps\n": "perhaps", "sensor,interval_seconds\na,-1\n": "interval", "sensor\n\"\"\n": "sensor", "sensor\n\"a": "CSV",
	})
}

// FuzzParseSensors: a file says something about sensors that can be, or is Invalid.
func FuzzParseSensors(f *testing.F) {
	f.Add("sensor,label,unit,decimals,interval_seconds,counter\na,b,c,1,2,true\n")
	f.Add("sensor\n'=x\n")
	fuzzFiles(f, sensors.parse, func(t *testing.T, all api.SaidSensors) {
		for _, s := range all.Sensors {
			if err := s.Record().Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSensorsPage(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	page := b.get("/providers/north/sensors?sensor=load")
	for _, want := range []string{`value="=Last"`, `value="0.5"`, " checked", "sensors?format=csv"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	h.reports["north"].asked()
	saved := b.post("/providers/north/sensors", url.Values{"form": {b.form()}, "sensor": {"load"}, "unit": {"kg"}, "decimals": {"2"}}, nil)
	if saved.status != http.StatusOK || !strings.Contains(saved.body, "It is saved") {
		t.Fatalf("saving is %d", saved.status)
	}
	posted := false
	for _, r := range h.reports["north"].asked() {
		posted = posted || r.Method == http.MethodPost && len(r.URL.Query().Get(api.DigestParameter)) == 64
	}
	if !posted {
		t.Error("nothing was posted to reports")
	}
	if wrong := b.post("/providers/north/sensors", url.Values{"form": {b.form()}, "sensor": {"load"}, "decimals": {"many"}}, nil); !strings.Contains(wrong.body, "is no number of decimals") {
		t.Errorf("what cannot be is not named: %d", wrong.status)
	}
	file := h.bearer(h.token("north", record.ScopeWrite)).get("/api/v1/providers/north/sensors?format=csv")
	if want := "sensor,label,unit,decimals,interval_seconds,counter\nload,'=Last,t,1,0.5,true\n"; file.body != want {
		t.Errorf("as CSV it is %q, want %q", file.body, want)
	}
}
