package reportview

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/schema"
)

// evil is a text that would be markup, in an element and in an attribute.
const evil = `"><script>alert('&')</script>`

// TestTextsAreNoMarkup: whatever a report holds of others' texts, its page holds as text, and it is well-formed.
func TestTextsAreNoMarkup(t *testing.T) {
	at := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	digits := func(s string) *api.Digits { return new(api.Digits(s)) }
	value := &api.ReportValue{Value: api.Value{Value: schema.TextValue(evil)}}
	sensor := api.ReportSensor{
		Sensor: evil, Label: evil, Unit: evil, Min: digits("1"), Max: digits(evil), Mean: digits("1.5"), First: value, Last: value, Counter: true,
		Chart: &api.Series{Time: []int64{at.UnixMilli(), at.UnixMilli() + 1000}, Min: []api.Number{1, 2}, Max: []api.Number{2, 3}, Mean: []api.Number{1, 2}},
	}
	silent := api.ReportGateway{Name: evil, Silent: true, GapLimit: 60}
	busy := api.ReportGateway{
		Name: evil, Gaps: 1, GapLimit: 60, LongestGaps: []api.ReportGap{{From: at, To: at.Add(time.Minute), Seconds: 60}},
		Annotations: []api.Annotation{{From: at, To: at, Text: evil, Who: evil}}, Sensors: []api.ReportSensor{sensor},
	}
	r := &api.Report{
		Provider: evil, Zone: evil, Period: evil, Groups: []string{evil}, Tags: []string{evil}, From: at, To: at.Add(time.Hour), Until: at, Before: &api.Span{From: at, To: at}, Made: at, Step: 1,
		Gateways: []api.ReportGateway{silent, busy}, Complete: api.Complete{UpTo: &at, Reason: evil},
	}
	for _, language := range []string{"en", "zh"} {
		var b strings.Builder
		if err := view(t, r, language).WriteHTML(&b); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		if strings.Contains(page, "<script") || strings.Contains(page, `alert('`) || strings.Count(page, "alert(") < 10 {
			t.Errorf("in %s a text is markup, or absent:\n%s", language, page)
		}
		if !strings.Contains(page, view(t, r, language).Body()) {
			t.Errorf("in %s the body is not that of the page", language)
		}
		checkNesting(t, page)
	}
	empty := view(t, &api.Report{Complete: api.Complete{Complete: true}}, "en").Body()
	checkNesting(t, empty)
}

// TestThePageGroupsDigits: every number of thousands on a page, also of its charts and sentences, has the language's groups; times, ids
// and names have none.
func TestThePageGroupsDigits(t *testing.T) {
	at := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	n := uint64(1_234_567)
	value := &api.ReportValue{Value: api.Value{Value: schema.IntValue(1_234_567)}}
	d := new(api.Digits("1234567.5"))
	sensor := api.ReportSensor{
		Sensor: "a", Readings: n, Expected: &n, Min: d, Max: d, Mean: d, P95: d, Sum: d, First: value, Last: value, Change: new(api.Number(12345.6)),
		Chart: &api.Series{Time: []int64{at.UnixMilli(), at.UnixMilli() + 1000}, Min: []api.Number{10000, 20000}, Max: []api.Number{20000, 30000}, Mean: []api.Number{1e4, 2e4}},
	}
	g := api.ReportGateway{
		Name: "g", Readings: n, Expected: &n, Late: n, Rejected: n, Before: &n, Gaps: 1_234_567, LongestGaps: []api.ReportGap{{From: at, To: at, Seconds: 60}},
		Sensors: []api.ReportSensor{sensor},
	}
	r := &api.Report{From: at, To: at.Add(time.Hour), Until: at.Add(time.Hour), Made: at, Step: 1, Gateways: []api.ReportGateway{g}, Complete: api.Complete{Complete: true}}
	r.Totals = api.ReportTotals{Readings: n, Expected: &n, Late: n, Rejected: n, Gateways: 12345, Sensors: 12345, Silent: 12345}
	tag := regexp.MustCompile(`(?s)<style.*?</style>|<[^>]*>`)
	for _, language := range []string{"en", "zh"} {
		page := tag.ReplaceAllString(view(t, r, language).Body(), " ")
		if plain := regexp.MustCompile(`[0-9]{5,}`).FindString(page); plain != "" {
			t.Errorf("in %s a number has no groups: %s", language, plain)
		}
		for _, want := range []string{"1,234,567", "1,234,567.5", "+1,234,560.0 %", "10,000", "12,345"} {
			if !strings.Contains(page, want) {
				t.Errorf("in %s the page lacks %s", language, want)
			}
		}
	}
}

var element = regexp.MustCompile(`<(/?)([a-z0-9!]+)[^<>]*?(/?)>`)

// checkNesting says where elements do not end in the order in which they began.
func checkNesting(t *testing.T, page string) {
	t.Helper()
	var open []string
	for _, m := range element.FindAllStringSubmatch(page, -1) {
		switch name := m[2]; {
		case name == "!doctype" || name == "meta" || m[3] != "":
		case m[1] == "":
			open = append(open, name)
		case len(open) == 0 || open[len(open)-1] != name:
			t.Fatalf("</%s> ends %v", name, open)
		default:
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("%v do not end", open)
	}
}
