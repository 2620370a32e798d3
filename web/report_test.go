package web

import (
	"net/http"
	"strings"
	"testing"

	"berth/schema/record"
)

// aReport is a report as the API answers it: of one gateway, a sensor with a name that is no HTML, and a chart.
const aReport = `{"provider":"p1","period":"yesterday","from":"2026-11-20T00:00:00+01:00","to":"2026-11-21T00:00:00+01:00","until":"2026-11-21T00:00:00+01:00",
"zone":"Europe/Berlin","made":"2026-11-21T10:00:00+01:00","before":null,"step_seconds":600,"totals":{"gateways":1,"sensors":1,"silent":1,"expected":144,"readings":143,"rejected":2,"completeness":0.9999,"availability":1},
"gateways":[{"gateway":"<b>crane</b>","first_seen":null,"last_seen":null,"silent":true,"start":"2026-11-20T00:00:00+01:00","expected":144,"readings":143,"rejected":2,"completeness":0.9999,"availability":1,"gap_limit_seconds":1800,"gaps":1,"gap_seconds":1900,
"longest_gaps":[{"from":"2026-11-20T01:00:00+01:00","to":"2026-11-20T01:31:40+01:00","seconds":1900}],
"sensors":[{"sensor":"<i>load</i>","label":"Last 负载","unit":"t","decimals":1,"readings":143,"numbers":143,"expected":144,"interval_seconds":600,"first":{"time":"2026-11-20T00:00:00+01:00","time_ns":"1","kind":"int","value":9007199254740993},
"min":1,"max":9007199254740993,"mean":21.5,"p95":30,"sum":9007199254740999,"change":-0.25,"chart":{"sensor":"load","kind":"float","time_ms":[1795129200000,1795129800000,1795140000000],"min":[1,2,3],"max":[4,5,6],"mean":[2,3,4],"count":[1,1,1],"gap_seconds":1200}}],"complete":true}],
"methods":[],"complete":false,"complete_up_to":"2026-11-21T09:00:00+01:00","incomplete_reason":"ingest does not answer"}`

func TestReportIsShown(t *testing.T) {
	h := newHouse(t)
	h.reports["north"].answer("/reports/preview", aReport)
	b := h.signedIn(record.Admin, "north")
	for language, wants := range map[string][]string{
		"en": {"complete up to 2026-11-21 09:00:00 +01:00", "99.99 %", "-25.0 %", "9,007,199,254,740,993.0", "00:31:40", "How these numbers are computed"},
		"zh": {"完整至 2026-11-21 09:00:00 +01:00", "完整率", "这些数字如何计算"},
	} {
		wants = append(wants, "&lt;b&gt;crane&lt;/b&gt;", "Last 负载", "&lt;i&gt;load&lt;/i&gt;", `<svg class="report-chart" role="img"`, "format=xlsx", "period=yesterday")
		page := b.do(http.MethodGet, "/providers/north/reports?period=yesterday&gateway=crane&from=&to=", "", map[string]string{"Accept-Language": language}).body
		for _, want := range wants {
			if !strings.Contains(page, want) {
				t.Errorf("in %s the page lacks %q", language, want)
			}
		}
		if strings.Contains(page, "<b>crane</b>") || strings.Contains(page, "<i>load</i>") {
			t.Errorf("in %s a name is HTML", language)
		}
	}
	h.reports["north"].answer("/reports/preview", "{}")
	if page := b.get("/providers/north/reports?period=range&from=2026-11-21T10:00&to=2026-11-20T10:00").body; !strings.Contains(page, "This range cannot be") {
		t.Error("a range that ends before it begins is not named")
	}
	if page := b.get("/providers/north/reports/how").body; !strings.Contains(page, "nearest rank") {
		t.Error("the page does not say how numbers are computed")
	}
}
