package web

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/schema/record"
	"berth/web/assets"
	"berth/web/locale"
)

// everyPage names the data of each page: one struct a template.
var everyPage = map[string]func() page{
	"account":   func() page { return &accountData{} },
	"act":       func() page { return &actData{Act: "restart"} },
	"add":       func() page { return &addData{} },
	"operate":   func() page { return &operateData{} },
	"books":     func() page { return &booksData{} },
	"connect":   func() page { return &connectData{} },
	"error":     func() page { return &errorData{Code: "internal"} },
	"gateway":   func() page { return &gatewayData{Gateway: gatewayRow{State: api.Never}} },
	"gateways":  func() page { return &gatewaysData{} },
	"home":      func() page { return &homeData{} },
	"logs":      func() page { return &logsData{Roles: []string{"web"}} },
	"keys":      func() page { return &keysData{} },
	"people":    func() page { return &peopleData{} },
	"rejects":   func() page { return &rejectsData{} },
	"settings":  func() page { return &settingsData{} },
	"signin":    func() page { return &signInData{} },
	"reports":   func() page { return &reportData{} },
	"sensors":   func() page { return &sensorsData{} },
	"reporthow": func() page { return &reportHowData{} },
	"reference": func() page { return &referenceData{} },
	"audit":     func() page { return &auditData{} },
	"tokens":    func() page { return &tokensData{} },
	"usage":     func() page { return &usageData{} },
	"shares":    func() page { return &sharesData{} },
	"shared":    func() page { return &sharedData{} },
	"schedules": func() page { return &schedulesData{} },
	"exports":   func() page { return &exportsData{} },
	"groups":    func() page { return &groupsData{} },
}

// words are what a text field is set to where its value is a part of a text's key.
var words = map[string]string{
	"Code": "internal", "Problem": "range.wrong", "Kind": "float", "ID": "nc", "Span": "1h", "State": "late", "Role": "viewer", "Roles": "admin", "Said": "change.kept.feed", "Done": "account.done.end", "Late": "taken.waits", "Wrong": "wrong.invalid", "Act": "remove", "Acts": "stop",
}

// setAll sets every field of a struct, and what it refers to, to something.
func setAll(v reflect.Value, name string) {
	switch v.Kind() { //nolint:exhaustive // the kinds that pages have
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setAll(v.Elem(), name)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Name != "Printer" {
				setAll(f, v.Type().Field(i).Name)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			setAll(v.Index(i), name)
		}
	case reflect.String:
		if w, ok := words[name]; ok {
			v.SetString(w)
		} else {
			v.SetString("<i>" + name + "</i>")
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(1234567)
	}
}

func testPages(t *testing.T) *pages {
	t.Helper()
	catalog, err := locale.Load()
	check(t, err)
	p, err := loadPages(assets.Files{}, catalog)
	check(t, err)
	return p
}

// TestEveryTemplateFitsItsStruct renders every page twice in each language: with nothing in its struct, and with
// something in every field. Each text must be in the catalogue, and everything must come out escaped.
func TestEveryTemplateFitsItsStruct(t *testing.T) {
	p := testPages(t)
	if len(p.byName) != len(everyPage) {
		t.Errorf("%d templates, %d structs", len(p.byName), len(everyPage))
	}
	missing := regexp.MustCompile(`\[[a-z_]+(\.[a-z_0-9]*)+\]`)
	for name, fresh := range everyPage {
		for _, l := range locale.Languages {
			for _, full := range []bool{false, true} {
				d := fresh()
				if full {
					setAll(reflect.ValueOf(d).Elem(), "")
				}
				prepare := func(f *frame) {
					f.Printer, f.home, f.zone, f.files = p.catalog.Printer(l.Code), time.UTC, time.UTC, p.files
				}
				prepare(d.base())
				switch d := d.(type) {
				case *connectData:
					if full {
						prepare(&d.Connect.Panel.frame)
					}
				case *gatewaysData:
					if full {
						prepare(&d.Connect.Panel.frame)
					}
				}
				var out bytes.Buffer
				if p.byName[name] == nil {
					t.Errorf("%s has no template", name)
					continue
				}
				if err := p.byName[name].ExecuteTemplate(&out, "layout.html", d); err != nil {
					t.Errorf("%s (all fields set: %v): %v", name, full, err)
				}
				if m := missing.FindString(out.String()); m != "" {
					t.Errorf("%s in %s lacks the text %s", name, l.Code, m)
				}
				if strings.Contains(out.String(), "<i>") {
					t.Errorf("%s puts out what it was given unescaped", name)
				}
				if found := inline.FindString(out.String()); found != "" {
					t.Errorf("%s has inline script or style: %s", name, found)
				}
			}
		}
	}
}

var (
	action         = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	tag            = regexp.MustCompile(`(?s)<[^>]*>`)
	shownAttribute = regexp.MustCompile(`(?:title|alt|placeholder|aria-label|aria-description)="([^"]*)"`)
	letters        = regexp.MustCompile(`\pL{2,}`)
	keyInTemplate  = regexp.MustCompile(`\.(?:T|Has) (?:\(print )?"([a-z_0-9.]+)"( \.)?`)
	keyInGo        = regexp.MustCompile(`"((?:[a-z_]+\.)+[a-z_0-9]+)"`)
)

// names are the words that no language translates.
var names = map[string]bool{
	"Berth": true, "provisioner": true, "doctor": true, "link": true, "bin": true, "add": true, "rm": true, "logs": true, "purge": true, "data": true, "provider": true, "UTC": true,
	"PDF": true, "XLSX": true, "CSV": true, "JSON": true, "Parquet": true,
}

// TestTextsAreInTheCatalog finds words in templates and scripts that are not from the catalogue.
func TestTextsAreInTheCatalog(t *testing.T) {
	files, err := filepath.Glob("templates/*.html")
	check(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		check(t, err)
		text := action.ReplaceAllString(string(source), "")
		for _, m := range shownAttribute.FindAllStringSubmatch(text, -1) {
			if w := letters.FindString(m[1]); w != "" && !names[w] {
				t.Errorf("%s: the attribute %s has a text of its own", file, m[0])
			}
		}
		for _, w := range letters.FindAllString(tag.ReplaceAllString(text, " "), -1) {
			if !names[w] {
				t.Errorf("%s: the word %q is not from the catalogue", file, w)
			}
		}
	}
	shown := regexp.MustCompile("(?:textContent|innerText|title|label:|placeholder) ?=? ?[\"'`]\\s*\\pL[^\"'`]*")
	for _, file := range []string{"src/berth.js", "src/chart.js", "src/logs.js"} {
		source, err := os.ReadFile(file)
		check(t, err)
		if m := shown.Find(source); m != nil {
			t.Errorf("%s shows a text of its own: %s", file, m)
		}
	}
}

// TestEveryReasonHasATextInEachLanguage finds reasons under which ingest counts what it refuses, or slows, that pages would show by their
// names alone.
func TestEveryReasonHasATextInEachLanguage(t *testing.T) {
	catalog, err := locale.Load()
	check(t, err)
	reason, found := regexp.MustCompile(`(?m)^(?:const)?\s+Reason\w+\s*=\s*"(\w+)"`), 0
	check(t, filepath.WalkDir("../ingest", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range reason.FindAllStringSubmatch(string(source), -1) {
			found++
			for _, l := range locale.Languages {
				if !catalog.Printer(l.Code).Has("reason." + m[1]) {
					t.Errorf("%s: the reason %s has no text in %s", path, m[1], l.Name)
				}
			}
		}
		return err
	}))
	if found < 30 {
		t.Errorf("only %d reasons are found", found)
	}
}

// TestCatalogIsUsedAndComplete finds keys that templates, handlers or scripts use and the catalogue lacks, and texts that
// nothing uses.
func TestCatalogIsUsedAndComplete(t *testing.T) {
	catalog, err := locale.Load()
	check(t, err)
	texts := catalog.Texts("en")
	used, prefixes := map[string]bool{}, []string{"ahead.", "ago.", "error.", "chart.", "account.done.", "people.done.", "keys.done.", "tokens.done.", "change.", "schedules.done.", "schedules.run.", "schedules.letter.", "shares.done.", "operate.done.", "act.title.", "step.", "why.", "wrong."}
	templateFiles, _ := filepath.Glob("templates/*.html")
	for _, file := range templateFiles {
		source, err := os.ReadFile(file)
		check(t, err)
		for _, m := range keyInTemplate.FindAllStringSubmatch(string(source), -1) {
			if m[2] != "" || strings.HasSuffix(m[1], ".") {
				prefixes = append(prefixes, m[1])
				continue
			}
			if used[m[1]] = true; texts[m[1]] == "" {
				t.Errorf("%s uses %s, which has no text", file, m[1])
			}
		}
	}
	goFiles, _ := filepath.Glob("*.go")
	for _, file := range goFiles {
		source, err := os.ReadFile(file)
		check(t, err)
		for _, m := range keyInGo.FindAllStringSubmatch(string(source), -1) {
			used[m[1]] = true
		}
	}
	script, err := os.ReadFile("src/chart.js")
	check(t, err)
	for _, m := range regexp.MustCompile(`text\((?:c\.raw \? )?"(\w+)"`).FindAllStringSubmatch(string(script), -1) {
		if texts["chart."+m[1]] == "" {
			t.Errorf("chart.js uses %s, which has no text", m[1])
		}
	}
	for key := range texts {
		known := used[key]
		for _, p := range prefixes {
			known = known || strings.HasPrefix(key, p)
		}
		if !known {
			t.Errorf("nothing uses the text %s", key)
		}
	}
}

func TestLanguageAndZoneAreSwitchedInPlace(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	if a := b.do(http.MethodGet, "/providers/north", "", map[string]string{"Accept-Language": "fr, zh-CN;q=0.8, en;q=0.5"}); !strings.Contains(a.body, `<html lang="zh-Hans">`) || !strings.Contains(a.body, "最近上报") {
		t.Errorf("a Chinese browser got %s", a.body)
	}
	a := b.get("/providers/north?q=crane&lang=zh")
	if a.status != 303 || a.header.Get("Location") != "/providers/north?q=crane" {
		t.Fatalf("switching: status %d to %q", a.status, a.header.Get("Location"))
	}
	if a := b.get(a.header.Get("Location")); !strings.Contains(a.body, `<html lang="zh-Hans">`) || !strings.Contains(a.body, "lang=en&amp;q=crane") {
		t.Errorf("after switching: %s", a.body)
	}
	// Where there is nothing to see the language is switched all the same.
	a = b.get("/providers/north/gateways/nobody?lang=en&from=now-6h")
	if a.status != 303 || a.header.Get("Location") != "/providers/north/gateways/nobody?from=now-6h" {
		t.Errorf("switching on the page of an error: status %d to %q", a.status, a.header.Get("Location"))
	}
	if a := b.get(a.header.Get("Location")); a.status != 404 || !strings.Contains(a.body, "Not found") {
		t.Errorf("the page of an error in English: %d %s", a.status, a.body)
	}

	const path = "/providers/north/gateways/crane?from=now-7d&to=now"
	if a := b.get(path).body; !strings.Contains(a, "now CET (UTC&#43;01:00)") && !strings.Contains(a, "now CEST (UTC&#43;02:00)") || !strings.Contains(a, "21 Nov 2026, 11:00:00") {
		t.Errorf("in the provider's zone: %s", a)
	}
	a = b.get(path + "&zone=Asia/Shanghai")
	if a.status != 303 || a.header.Get("Location") != path {
		t.Fatalf("another zone: status %d to %q", a.status, a.header.Get("Location"))
	}
	page := b.get(path).body
	for _, want := range []string{
		"21 Nov 2026, 18:00:00", "Asia/Shanghai, now CST (UTC&#43;08:00)", "The provider’s zone is Europe/Berlin", "&#34;zone&#34;:&#34;Asia/Shanghai&#34;",
		`href="?from=now-7d&amp;to=now&amp;zone="`, `<input type="hidden" name="from" value="now-7d">`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("in a zone of one's own the page lacks %q", want)
		}
	}
	if body := b.get("/providers/north/reports?from=2026-11-20T10:00&to=2026-11-20T12:00").body; !strings.Contains(body, "2026-11-20T12:00") {
		t.Errorf("the report's form: %s", body)
	}
	if !slices.ContainsFunc(h.reports["north"].asked(), func(r *http.Request) bool { return r.URL.Query().Get("from") == "2026-11-20T10:00:00+01:00" }) {
		t.Error("a report was not asked for in the provider's zone")
	}
	for _, wrong := range []string{"Mars/Olympus", "Local", "../zone", strings.Repeat("x", 100)} {
		if a := b.get(path + "&zone=" + wrong); a.status != 400 || !strings.Contains(a.body, "there is no time zone") {
			t.Errorf("zone %s: status %d", wrong, a.status)
		}
	}
	if a := b.get(path + "&zone="); a.status != 303 || !strings.Contains(b.get(path).body, "21 Nov 2026, 11:00:00") {
		t.Error("the provider's zone did not come back")
	}
	if a := b.do(http.MethodGet, path, "", map[string]string{"Cookie": zoneCookie + "=../../etc/passwd"}); a.status == 500 {
		t.Errorf("a zone that cannot be: %s", a.body)
	}
}

func TestGatewaysPage(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	h.reports["north"].asked()
	a := b.get("/providers/north?q=cr&after=a")
	for _, want := range []string{"crane &lt;1&gt;", "/providers/north/gateways/crane%20%3C1%3E", "quay &amp; co", `class="badge online"`, "three times its usual interval", "Next page", "Europe/Berlin", "CET (UTC&#43;01:00)"} {
		if !strings.Contains(strings.ReplaceAll(a.body, "CEST (UTC&#43;02:00)", "CET (UTC&#43;01:00)"), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if asked := h.reports["north"].asked(); len(asked) != 2 || asked[0].URL.RawQuery != "after=a&day=true&limit=100&q=cr" {
		t.Errorf("asked %v", asked)
	}
	a = b.get("/providers/north?q=cr&state=online&sort=-rate")
	for _, want := range []string{
		`<th scope="col" class="number" aria-sort="descending"><a href="?q=cr&amp;sort=rate&amp;state=online"`, `<th scope="col"><a href="?q=cr&amp;sort=-last_seen&amp;state=online">Last seen</a>`,
		`<option value="online" selected>`, `<input type="hidden" name="sort" value="-rate">`, `<td class="number">12,345</td>`, `<td class="number"><a href="/providers/north/rejects">7</a></td>`,
		"after=crane&#43;%3C1%3E&amp;q=cr&amp;sort=-rate&amp;state=online", "gateways?format=csv&amp;q=cr&amp;sort=-rate&amp;state=online",
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the sorted page lacks %q", want)
		}
	}
	if asked := h.reports["north"].asked(); len(asked) != 2 || asked[0].URL.RawQuery != "day=true&limit=100&q=cr&sort=-rate&state=online" {
		t.Errorf("asked %v", asked)
	}
	h.remove("services", "north.reports.one")
	h.soon("no instance is known", func() bool { return len(h.web.dir.reports("north")) == 0 })
	if a := b.get("/providers/north"); a.status != 200 || !strings.Contains(a.body, "keeps asking") {
		t.Errorf("while reports is away: status %d, %s", a.status, a.body)
	}
	if a := b.get("/providers/north/books"); a.status != 503 || !strings.Contains(a.body, "Not available right now") || a.header.Get("Retry-After") == "" {
		t.Errorf("books while reports is away: status %d, %s", a.status, a.body)
	}
}

// A provider's pages say what is out of the ordinary and since when, in the visitor's language, and by themselves.
func TestPagesSayWhatIsOutOfTheOrdinarySinceWhen(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	if a := b.get("/providers/north"); !strings.Contains(a.body, "Nothing is heard of the instance that takes readings") {
		t.Errorf("without an ingest the page says %s", a.body)
	}
	p, err := h.web.dir.provider("south")
	check(t, err)
	ended := *p
	ended.Version, ended.Wanted = record.ProviderVersion, record.Stopped
	h.put("providers", "south", ended)
	of := h.signedIn(record.Admin, "south")
	h.soon("a provider that is stopped is said to be", func() bool {
		return strings.Contains(of.get("/providers/south").body, "It is stopped: gateways cannot connect")
	})
	h.remove("services", "south.reports.one")
	h.soon("what it cannot be asked is said to be so for that", func() bool {
		return strings.Contains(of.get("/providers/south").body, "south is stopped; its readings are here again once the operator starts it")
	})
	s := record.Service{Version: 1, Provider: "north", Role: record.RoleIngest, Instance: "i1", State: "full", Episodes: []record.Episode{
		{State: "full", Detail: "the log is full", From: time.Date(2026, 11, 26, 9, 40, 0, 0, time.UTC)},
		{State: "slow", Detail: "the keyspace <is> away", From: time.Date(2026, 11, 26, 9, 32, 0, 0, time.UTC)},
	}}
	h.put("services", "north."+s.Key(), s)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit) && strings.Contains(b.get("/providers/north/troubles").body, "Nothing is heard"); {
		<-tick.C
	}
	for _, path := range []string{"/providers/north", "/providers/north/connect", "/providers/north/troubles"} {
		for language, want := range map[string][]string{
			"en": {"Gateways wait since 26 Nov 2026, 10:40:00", "Readings are stored with delay since 26 Nov 2026, 10:32:00", "the keyspace &lt;is&gt; away"},
			"zh": {"自 2026年11月26日 10:40:00 起，网关需要等待", "自 2026年11月26日 10:32:00 起，读数延迟入库"},
		} {
			a := b.do(http.MethodGet, path, "", map[string]string{"Accept-Language": language})
			for _, text := range want {
				if !strings.Contains(a.body, text) {
					t.Errorf("%s in %s does not say %q: %s", path, language, text, a.body)
				}
			}
		}
	}
}

func TestGatewayPageKeepsItsRange(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	for query, want := range map[string][]string{
		"":                    {"&#34;from&#34;:&#34;now-1h&#34;", "/live&#34;", "&lt;b&gt;fine&lt;/b&gt;", "12.5", `<span>=Last <small class="muted">t</small></span>`, `data-decimals="1"`, "Complete only up to", "250ms", "quay=" /* never */},
		"?from=now-7d&to=now": {"&#34;from&#34;:&#34;now-7d&#34;", `aria-current="true">7 d`},
		"?from=2026-11-20T10:00&to=2026-11-20T12:00":       {"2026-11-20T10:00:00&#43;01:00", "&#34;live&#34;:&#34;&#34;", `value="2026-11-20T12:00"`, "Fixed range"},
		"?from=1795255200000&to=1795258800000":             {`value="2026-11-21T11:00"`},
		"?from=1795255200000&to=1795258800000&sensor=load": {"?from=1795253400000&amp;sensor=load&amp;to=1795257000000"},
		"?from=now-2h&to=now-1m":                           {`href="?from=now-7140s&amp;to=now" aria-label="Later"`},
		"?from=2026-01-20T10:00&to=2026-01-20T12:00":       {"?from=1768903200000&amp;to=1768910400000"},
		"?from=tomorrow":                                   {"The last hour is shown instead"},
		"?from=now&to=now-1h":                              {"The last hour is shown instead"},
		"?sensor=load&from=now-6h":                         {"format=csv&amp;from=now-6h&amp;sensor=load&amp;to=now", "from=now-1h&amp;sensor=load&amp;to=now"},
	} {
		a := b.get("/providers/north/gateways/crane" + query)
		for _, w := range want {
			body := strings.ReplaceAll(a.body, `\u002b`, "&#43;")
			if w == "quay=" {
				if strings.Contains(body, w) {
					t.Errorf("%q shows an attribute that it does not have", query)
				}
				continue
			}
			if a.status != 200 || !strings.Contains(body, w) {
				t.Errorf("%q: status %d, the page lacks %q", query, a.status, w)
			}
		}
	}
	if a := b.get("/providers/north/gateways/nobody"); a.status != 404 || !strings.Contains(a.body, "Not found") {
		t.Errorf("an unknown gateway: status %d", a.status)
	}
}

// Without script the page leads to what its charts show as tables.
func TestChartsAreTablesWithoutScript(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	b.do(http.MethodGet, "/providers/north/gateways/crane?lang=zh&from=now-6h", "", nil) // in Chinese from here on
	a := b.get("/providers/north/gateways/crane?from=now-6h&sensor=load")
	if !strings.Contains(a.body, `<a href="?from=now-6h&amp;sensor=load&amp;tables=true">以表格显示</a></p></noscript>`) {
		t.Error("the page leads to no tables")
	}
	if !strings.Contains(a.body, `<noscript><meta http-equiv="refresh" content="0; url=?from=now-6h&amp;sensor=load&amp;tables=true"></noscript>`) {
		t.Error("the page does not go on to its tables")
	}
	r := h.reports["north"]
	for series, want := range map[string]string{
		`"raw":true,"time_ms":[1795255200000,1795255201000],"min":[1,2.26],"max":[1,2.26],"mean":[1,2.26],"count":[1,1]`: "时间|值|2026年11月21日 11:00:01|2.3|2026年11月21日 11:00:00|1.0",
		`"raw":false,"time_ms":[1795255200000],"min":[-12345],"max":[3],"mean":[1234567.26],"count":[9]`:                 "时间|平均|最小值|最大值|2026年11月21日 11:00:00|1,234,567.3|-12,345.0|3.0",
	} {
		r.answer("/gateways/crane/series", `{"gateway":"crane","series":[{"sensor":"load","kind":"float",`+series+`}],"complete":true}`)
		r.asked()
		a := b.get("/providers/north/gateways/crane?from=now-6h&sensor=load&tables=true")
		asked := r.asked()
		if q := asked[len(asked)-1].URL.Query(); q.Get("points") != "200" || q.Get("from") != "now-6h" || q.Get("sensor") != "load" {
			t.Errorf("asked for %v", q)
		}
		_, table, _ := strings.Cut(a.body, `<figure class="chart"`)
		_, table, _ = strings.Cut(table, "<table")
		table, _, _ = strings.Cut(table, "</table>")
		var cells []string
		for _, m := range regexp.MustCompile(`>([^<>\n]+)<`).FindAllStringSubmatch(table, -1) {
			cells = append(cells, m[1])
		}
		if got := strings.Join(cells, "|"); got != want {
			t.Errorf("the table has %s, want %s", got, want)
		}
		if strings.Contains(a.body, `http-equiv="refresh"`) {
			t.Error("the tables go on for ever")
		}
	}
}

func TestAGatewayWhoseClockIsAheadIsNamedOnItsPages(t *testing.T) {
	h := newHouse(t)
	r := h.reports["north"]
	row := `{"name":"crane","state":"online","last_seen":"2026-11-21T10:00:00Z","sensors":1,"attributes":{},"clock_ahead_seconds":%d}`
	b := h.signedIn(record.Admin, "north")
	for seconds, want := range map[int][2]string{
		180: {"clock 3 min ahead", "时钟快 3 分钟"}, 3 * 3600: {"clock 3 h ahead", "时钟快 3 小时"}, 72 * 3600: {"clock 3 days ahead", "时钟快 3 天"},
	} {
		one := fmt.Sprintf(row, seconds)
		r.answer("/gateways", `{"gateways":[`+one+`],"complete":true}`)
		r.answer("/gateways/crane", one)
		for n, language := range []string{"en", "zh"} {
			for _, path := range []string{"/providers/north", "/providers/north/gateways/crane"} {
				a := b.do(http.MethodGet, path, "", map[string]string{"Accept": "text/html", "Accept-Language": language})
				if !strings.Contains(a.body, want[n]) {
					t.Errorf("%s in %s lacks %q", path, language, want[n])
				}
			}
		}
	}
	r.answer("/gateways/crane", strings.ReplaceAll(fmt.Sprintf(row, 0), `,"clock_ahead_seconds":0`, ""))
	if a := b.get("/providers/north/gateways/crane"); a.status != 200 || strings.Contains(a.body, " ahead<") {
		t.Error("a clock that is right is named")
	}
}

func TestFirstReading(t *testing.T) {
	h := newHouse(t)
	r := h.reports["north"]
	r.answer("/gateways", `{"gateways":[],"complete":true}`)
	b := h.signedIn(record.Admin, "north")
	a := b.do(http.MethodGet, "/providers/north", "", map[string]string{"Accept": "text/html"})
	for _, want := range []string{"bk_of_north", "6001", "127.0.0.1", "PUT 1 line 23", "mosquitto_pub -h 127.0.0.1 -p 6001 -u first-gateway -P bk_of_north", "/readings/first-gateway?key=bk_of_north", "Waiting for the first frame"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	since := time.Now().UnixMilli()
	panel := func() string { return b.get(fmt.Sprintf("/providers/north/first?since=%d&strangers=4", since)).body }
	later := time.Now().Add(time.Second).UTC().Format(time.RFC3339)
	r.answer("/books", `{"strangers":5}`)
	if got := panel(); !strings.Contains(got, `class="panel bad"`) || !strings.Contains(got, "without a valid key") || !strings.Contains(got, "hx-get") {
		t.Errorf("after a stranger: %s", got)
	}
	r.answer("/rejects", `{"rejects":[{"time":"`+later+`","gateway":"first-gateway","code":"invalid","reason":"\"warm\" is no value"}],"kept":1}`)
	if got := panel(); !strings.Contains(got, `class="panel bad"`) || !strings.Contains(got, "&#34;warm&#34; is no value") || !strings.Contains(got, "hx-get") {
		t.Errorf("after a reject: %s", got)
	}
	r.answer("/gateways", `{"gateways":[{"name":"old","state":"online","last_seen":"2026-01-01T00:00:00Z"},{"name":"new","state":"online","last_seen":"`+later+`"}],"complete":true}`)
	if got := panel(); !strings.Contains(got, `class="panel good"`) || !strings.Contains(got, "/gateways/new") || strings.Contains(got, "hx-get") {
		t.Errorf("after a frame: %s", got)
	}
}

func TestSnippetsHoldNothingOfTheRequestThatAShellWouldRun(t *testing.T) {
	for host, plain := range map[string]bool{
		"127.0.0.1": true, "berth.example.org": true, "::1": true, "a'b": false, "$(id)": false, "a b": false, "-x": false, "": false, "a;b": false, "`id`": false,
	} {
		if httpserver.PlainHost(host) != plain {
			t.Errorf("PlainHost(%q) = %v", host, !plain)
		}
	}
}

func TestAssetsAreKeptForEver(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	for _, name := range assets.Wanted {
		f := h.web.pages.files[name]
		a := b.get(f.Path())
		if a.status != 200 || a.body != string(f.Data) || !strings.Contains(a.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: status %d, header %v", name, a.status, a.header)
		}
		if a := b.get("/assets/000000000000/" + name); a.status != 404 {
			t.Errorf("%s under another hash: status %d", name, a.status)
		}
	}
}

// TestPagesAreLight: what a page with charts makes a browser load that has nothing yet, as it comes over the wire.
func TestPagesAreLight(t *testing.T) {
	const most = 80_000
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	b.client.Transport.(*http.Transport).DisableCompression = true
	page := b.get("/providers/north/gateways/crane")
	total, count := 0, 0
	for _, m := range regexp.MustCompile(`(?:src|href)="(/assets/[^"]+\.(?:js|css))"`).FindAllStringSubmatch(page.body, -1) {
		plain := b.do(http.MethodGet, m[1], "", map[string]string{"Accept-Encoding": "br, gzip;q=0"})
		a := b.do(http.MethodGet, m[1], "", map[string]string{"Accept-Encoding": "gzip, deflate, br"})
		if a.status != 200 || a.header.Get("Content-Encoding") != "gzip" || plain.header.Get("Content-Encoding") != "" || !slices.Contains(a.header.Values("Vary"), "Accept-Encoding") {
			t.Errorf("%s: status %d, %v and %v", m[1], a.status, a.header, plain.header)
		}
		r, err := gzip.NewReader(strings.NewReader(a.body))
		check(t, err)
		if text, err := io.ReadAll(r); err != nil || string(text) != plain.body {
			t.Errorf("%s is another when it is compressed: %v", m[1], err)
		}
		total, count = total+len(a.body), count+1
	}
	t.Logf("%d files of %d bytes", count, total)
	if count < 6 || total > most {
		t.Errorf("script and style of the page are %d files of %d bytes, more than %d", count, total, most)
	}
}
