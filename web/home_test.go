package web

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/internal/houseapi"
	"berth/schema"
	"berth/schema/record"
)

// surveyOf returns a survey with all figures of north, and none of south.
func surveyOf(checks ...houseapi.SurveyCheck) *houseapi.Survey {
	n := func(v uint64) *uint64 { return &v }
	return &houseapi.Survey{
		At: time.Now(), Passed: 21, Checks: checks,
		Disks: []houseapi.SurveyDisk{{Holds: "nats", Free: 12 << 30, Size: 50 << 30}},
		Providers: []houseapi.SurveyProvider{
			{
				Provider: "north", Port: 6001, State: "ready", Rate: n(1234), Log: n(5 << 20), LogQuota: n(1 << 30), LogAge: n(180), Keyspace: n(7 << 30),
				Instances: []houseapi.SurveyInstance{{Role: "ingest", Up: true, Version: "v1.2", Memory: n(30 << 20)}, {Role: "reports", Up: true, Version: "v1.3", Memory: n(12 << 20)}},
			},
			{Provider: "south", Port: 6002, State: "degraded", Detail: "its port is <held>", Instances: []houseapi.SurveyInstance{{Role: "ingest"}}},
		},
	}
}

// TestTheOperatorIsToldWhetherAllIsWell: the operator's page says it in one sentence, with what to do.
func TestTheOperatorIsToldWhetherAllIsWell(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Operator, "")
	warn := houseapi.SurveyCheck{Name: "log", Provider: "north", Text: "60 % full", Next: "provisioner logs north --role ingest"}
	fail := houseapi.SurveyCheck{Name: "nats", Fails: true, Text: "it does not <answer>", Next: "free disk space"}
	var many []houseapi.SurveyCheck
	for range 12 {
		many = append(many, warn)
	}
	many = append([]houseapi.SurveyCheck{fail}, many...)
	long := surveyOf(many...)
	long.More = 40
	for name, c := range map[string]struct {
		survey *houseapi.Survey
		lang   string
		want   []string
	}{
		"well": {surveyOf(), "en", []string{
			`notice good`, "All is well: 21 checks", "1,234</td>", "42.0\u00a0MiB</td>", "5.0\u00a0MiB<br>", "7.0\u00a0GiB</td>", "v1.2, v1.3", "3 min",
			"12.0\u00a0GiB of 50.0\u00a0GiB free", "degraded: its port is &lt;held&gt;",
		}},
		"well, in Chinese": {surveyOf(), "zh", []string{"一切正常：21", "剩余 12.0"}},
		"a warning": {surveyOf(warn), "en", []string{
			`Everything works; things to look at: 1.`, `<a href="/providers/north">north</a>`, "60 % full", "provisioner logs north --role ingest",
		}},
		"a failure":       {surveyOf(fail, warn), "en", []string{`notice bad`, "Not all is well; things to mend: 2.", "it does not &lt;answer&gt;", "free disk space", "<li>"}},
		"more than fits":  {long, "en", []string{"things to mend: 53.", "43 more:"}},
		"nobody answers":  {nil, "en", []string{"Whether all is well cannot be said", "provisioner doctor", "nobody is there", `<a href="/providers/north">north</a>`, "6001</td>"}},
		"nobody, Chinese": {nil, "zh", []string{"无法判断", `<a href="/providers/south">south</a>`}},
	} {
		h.survey.Store(c.survey)
		a := b.do("GET", "/", "", map[string]string{"Accept-Language": c.lang})
		for _, text := range c.want {
			if a.status != 200 || !strings.Contains(a.body, text) {
				t.Errorf("%s: status %d, lacks %q: %s", name, a.status, text, a.body)
			}
		}
	}
}

// TestMemoryIsToldWhenAllOfItIsKnown: of one instance of two is not that of the provider.
func TestMemoryIsToldWhenAllOfItIsKnown(t *testing.T) {
	of := surveyOf().Providers[0]
	if f := figuresOf(&of, time.Now()); f.Memory == nil || *f.Memory != 42<<20 {
		t.Errorf("it is %+v", f)
	}
	if of.Instances[1].Memory = nil; figuresOf(&of, time.Now()).Memory != nil {
		t.Error("that of one instance is told")
	}
}

// TestTwoHundredProvidersAreOneQuestion: the operator's page does not ask for each provider.
func TestTwoHundredProvidersAreOneQuestion(t *testing.T) {
	h := newHouse(t)
	s := surveyOf()
	for i := range 200 {
		name := fmt.Sprintf("p%03d", i)
		h.addProvider(name, schema.Slot(i+3), time.Now())
		one := s.Providers[0]
		one.Provider, one.Port = name, 6003+i
		s.Providers = append(s.Providers, one)
	}
	h.survey.Store(s)
	h.soon("the providers are known", func() bool { return len(h.web.dir.all()) == 202 })
	b := h.signedIn(record.Operator, "")
	before := h.asked.Load()
	begun := time.Now()
	a := b.get("/")
	t.Logf("%d bytes in %v", len(a.body), time.Since(begun))
	if n := h.asked.Load() - before; n != 1 || strings.Count(a.body, "v1.2, v1.3") != 201 {
		t.Errorf("%d questions, %d providers with figures", n, strings.Count(a.body, "v1.2, v1.3"))
	}
	for name, reports := range h.reports {
		if asked := reports.asked(); len(asked) > 0 {
			t.Errorf("reports of %s were asked: %s", name, asked[0].URL)
		}
	}
}

// TestTheSurveyByAPI: what the operator's page shows is to be had as JSON.
func TestTheSurveyByAPI(t *testing.T) {
	h := newHouse(t)
	h.survey.Store(surveyOf(houseapi.SurveyCheck{Name: "nats", Fails: true, Text: "away", Next: "start it"}))
	b := h.signedIn(record.Operator, "")
	var got houseapi.Survey
	a := b.get("/api/v1/survey")
	check(t, json.Unmarshal([]byte(a.body), &got))
	if a.status != 200 || len(got.Providers) != 2 || *got.Providers[0].Rate != 1234 || got.Providers[1].Rate != nil || got.Checks[0].Next != "start it" {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	h.survey.Store(nil)
	if a := b.get("/api/v1/survey"); a.status != 503 {
		t.Errorf("status %d while the provisioner is away: %s", a.status, a.body)
	}
	for name, stranger := range map[string]*browser{"an admin": h.signedIn(record.Admin, "north"), "a token": h.bearer(h.token("north", record.ScopeManage))} {
		if a := stranger.get("/api/v1/survey"); a.status != 403 {
			t.Errorf("status %d for %s", a.status, name)
		}
	}
}
