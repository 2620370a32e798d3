package format_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/ingest/format"
	"berth/schema"
	"berth/schema/batch"

	"github.com/google/go-cmp/cmp"
)

func decode(t *testing.T, d *format.Decoders, name, payload string, r *format.Request) ([]string, format.Report) {
	t.Helper()
	out := &batch.Rows{}
	report, err := d.Decode(name, []byte(payload), r, out)
	if err != nil {
		t.Fatal(err)
	}
	consistent(t, out, report)
	return readings(out), report
}

func TestUnknownFormat(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	_, err := d.Decode("xml", []byte("<a/>"), newRequest(), &batch.Rows{})
	if !schema.Is(err, schema.Invalid) || !strings.Contains(schema.Show(err), "json, line, senml+cbor, senml+json") {
		t.Errorf("error %v, want an invalid one that names the formats", err)
	}
	if format.Known("xml") || !format.Known("line") {
		t.Error("Known knows other formats than Decode")
	}
}

// TestAppends: rows of one payload after another's, and nothing of one that is refused whole.
func TestAppends(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	out := &batch.Rows{}
	for _, p := range [][2]string{
		{"line", `m a=1,b="x" 1700000000000000000`}, {"json", `{"a":"y","b":2`}, {"json", `{"a":"y","b":2}`}, {"line", `m a=2,b="z"`},
	} {
		report, err := d.Decode(p[0], []byte(p[1]), newRequest(), out)
		if (err != nil) != (report.Accepted == 0) {
			t.Errorf("%s: %v %+v", p[1], err, report)
		}
	}
	want := []string{
		`gw | m.a | 2023-11-14T22:13:20Z | float 1`, `gw | m.b | 2023-11-14T22:13:20Z | text "x"`,
		`gw | a | on arrival | text "y"`, `gw | b | on arrival | float 2`,
		`gw | m.a | on arrival | float 2`, `gw | m.b | on arrival | text "z"`,
	}
	if d := cmp.Diff(want, readings(out)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestSettingsAreLive: lines seen before are named anew when the provider changes its tags, and limits count at once.
func TestSettingsAreLive(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	const line = "m,host=h,name=n,room=r v=1 1700000000000000000"
	for _, c := range []struct {
		tag        string
		attributes []string
		want       string
	}{
		{"", nil, "h | m.v,name=n,room=r | 2023-11-14T22:13:20Z | float 1"},
		{"name", nil, "n | m.v,host=h,room=r | 2023-11-14T22:13:20Z | float 1"},
		{"name", []string{"room", "host"}, `n | m.v | 2023-11-14T22:13:20Z | float 1 host="h" room="r"`},
		{"", []string{"room"}, `h | m.v,name=n | 2023-11-14T22:13:20Z | float 1 room="r"`},
		{"", nil, "h | m.v,name=n,room=r | 2023-11-14T22:13:20Z | float 1"},
	} {
		r := relayRequest()
		r.Settings.GatewayTag, r.Settings.AttributeTags = c.tag, c.attributes
		for range 2 {
			if got, _ := decode(t, d, "line", line, r); !slices.Equal(got, []string{c.want}) {
				t.Errorf("tag %q, attributes %v: %q, want %q", c.tag, c.attributes, got, c.want)
			}
		}
	}
}

// TestSenderIsAskedEachTime: what one sender was allowed, remembered with its lines, another is not.
func TestSenderIsAskedEachTime(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	for _, p := range [][2]string{{"line", "m,gateway=a v=1\nm,gateway=a v=1"}, {"json", `[{"gateway":"a","v":1},{"gateway":"a","v":1}]`}} {
		relay, plain, nameless := relayRequest(), newRequest(), newRequest()
		nameless.Sender.Gateway = ""
		asked := 0
		forbidden := func(string) error { asked++; return schema.Errorf(schema.Forbidden, "revoked") }
		for range 2 {
			for _, c := range []struct {
				name   string
				r      *format.Request
				allow  func(string) error
				reason string
			}{
				{"relay", relay, nil, ""},
				{"no relay", plain, nil, format.ReasonNotARelay},
				{"relay that may not", relay, forbidden, format.ReasonNotAllowed},
				{"nameless", nameless, nil, ""},
				{"nameless that may not", nameless, forbidden, format.ReasonNotAllowed},
			} {
				c.r.Sender.Allow = c.allow
				_, report := decode(t, d, p[0], p[1], c.r)
				if report.Reasons[c.reason] != report.Rejected || (c.reason == "") != (report.Accepted == 2) {
					t.Errorf("%s: %s: %+v, want reason %q", p[0], c.name, report, c.reason)
				}
			}
		}
		if asked != 8 {
			t.Errorf("%s: asked %d times about lines that were refused, want 8", p[0], asked)
		}
	}
}

// TestKnown: a gateway is looked up once, and what is known of it counts against the limits without being refused.
func TestKnown(t *testing.T) {
	asked := map[string]int{}
	known := map[string][]string{"old": {"m.b", "m.a"}, "unclear": nil}
	d := format.New(format.NewTable(format.TableOptions{Gateways: 2, Known: func(gateway string) ([]string, bool) {
		asked[gateway]++
		sensors, ok := known[gateway]
		return sensors, ok
	}}))
	r := relayRequest()
	r.Settings.Limits.Gateways, r.Settings.Limits.SensorsPerGateway = 3, 3
	lines := strings.Join([]string{
		"m,gateway=old a=1,b=2", "m,gateway=old c=3", "m,gateway=old d=4", // the fourth sensor is too much
		"m,gateway=new a=1", "m,gateway=newer a=1", "m,gateway=newer b=1", // the fourth gateway is too much
		"m,gateway=unclear a=1,b=2,c=3",
	}, "\n")
	for range 2 {
		got, report := decode(t, d, "line", lines, r)
		want := []string{
			"old | m.a | on arrival | float 1", "old | m.b | on arrival | float 2", "old | m.c | on arrival | float 3",
			"new | m.a | on arrival | float 1",
			"unclear | m.a | on arrival | float 1", "unclear | m.b | on arrival | float 2", "unclear | m.c | on arrival | float 3",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if d := cmp.Diff(map[string]int{format.ReasonSensorLimit: 1, format.ReasonGatewayLimit: 2}, report.Reasons); d != "" {
			t.Errorf("reasons (-want +got):\n%s", d)
		}
	}
	if d := cmp.Diff(map[string]int{"old": 1, "new": 1, "newer": 1, "unclear": 1}, asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	r.Settings.Limits.Gateways = 4 // raised: what was refused is taken
	if got, _ := decode(t, d, "line", "m,gateway=newer a=1", r); len(got) != 1 {
		t.Errorf("a limit was raised, but the gateway is still refused")
	}
}

// TestConcurrent: many connections at once decode the same as one, and limits hold among them.
func TestConcurrent(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	var payload strings.Builder
	for n := range 300 {
		fmt.Fprintf(&payload, "m,gateway=g%d a=%d,b=2i,c=\"x\" %d\n", n%30, n, now+int64(n))
	}
	want, _ := decode(t, d, "line", payload.String(), relayRequest())
	fresh := format.New(format.NewTable(format.TableOptions{}))
	limited := relayRequest()
	limited.Settings.Limits.Gateways = 20
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			got, _ := decode(t, fresh, "line", payload.String(), limited)
			if len(got) > len(want) {
				t.Errorf("%d readings, want at most %d", len(got), len(want))
			}
			decode(t, fresh, "json", `[{"gateway":"g0","a":1,"b":"x"},{"gateway":"g0","a":2}]`, limited)
		})
	}
	group.Wait()
	got, report := decode(t, fresh, "line", payload.String(), limited)
	if gateways := len(got) / 30; gateways != 20 || report.Reasons[format.ReasonGatewayLimit] != len(want)-len(got) {
		t.Errorf("%d gateways were taken up, want 20; %+v", gateways, report)
	}
}

// TestFieldsThatVary: a device that sends what has changed, ever other fields, does not make shapes without end.
func TestFieldsThatVary(t *testing.T) {
	for _, name := range []string{"line", "json"} {
		d := format.New(format.NewTable(format.TableOptions{}))
		out := &batch.Rows{}
		for n := 1; n < 1<<12; n++ {
			var fields []string
			for i := range 12 {
				if n>>i&1 == 1 {
					fields = append(fields, map[string]string{"line": fmt.Sprintf("f%d=%d", i, n), "json": fmt.Sprintf(`"f%d":%d`, i, n)}[name])
				}
			}
			payload := strings.Join(fields, ",")
			payload = map[string]string{"line": "m " + payload, "json": "{" + payload + "}"}[name]
			if report, err := d.Decode(name, []byte(payload), newRequest(), out); err != nil || report.Rejected > 0 {
				t.Fatalf("%s: %v %+v", payload, err, report)
			}
		}
		shapes := map[*batch.Shape]bool{}
		for _, row := range out.Rows {
			shapes[row.Shape] = true
		}
		if len(shapes) > 200 {
			t.Errorf("%s: %d shapes for 12 sensors", name, len(shapes))
		}
	}
}

// TestHostilePayloads decodes payloads that would take hours if any step looked twice at the same bytes.
func TestHostilePayloads(t *testing.T) {
	const size = schema.MaxFrame
	for name, payload := range map[string]string{
		"line/no spaces":              strings.Repeat("a\n", size/2),
		"line/one space at the end":   strings.Repeat("a\n", size/2) + " ",
		"line/escaped spaces":         strings.Repeat(`a\ `, size/3),
		"line/backslashes in a text":  `m a="` + strings.Repeat(`\\`, size/2) + `" 1`,
		"line/a text without an end":  strings.Repeat("m a=\"\\\n", size/7),
		"line/quotation marks":        "m a=" + strings.Repeat(`"`, size),
		"line/one number":             "m a=" + strings.Repeat("1", size),
		"line/one exponent":           "m a=1e" + strings.Repeat("1", size),
		"line/tags":                   "m" + strings.Repeat(",a=b", size/4) + " v=1",
		"line/fields":                 "m a=1" + strings.Repeat(",a=1", size/4),
		"line/bad lines":              strings.Repeat("m a=x 1\n", size/8),
		"json/open arrays":            strings.Repeat("[", size),
		"json/open objects":           strings.Repeat(`{"a":`, size/5),
		"json/wide":                   `{"a":1` + strings.Repeat(`,"a":1`, size/6) + `}`,
		"json/bad elements":           `[1` + strings.Repeat(`,1`, size/2) + `]`,
		"json/escapes":                `{"a":"` + strings.Repeat(`\u0041`, size/6) + `"}`,
		"json/one number":             `{"a":` + strings.Repeat("1", size) + `}`,
		"json/long keys in one other": `{"` + strings.Repeat("k", 1<<10) + `":{"a":1` + strings.Repeat(`,"a":1`, size/6) + `}}`,

		"senml+json/open arrays":       strings.Repeat("[", size),
		"senml+json/long base name":    `[{"bn":"` + strings.Repeat("b", size/2) + `"}` + strings.Repeat(`,{"v":1}`, size/16) + `]`,
		"senml+json/long escaped base": `[{"bn":"` + strings.Repeat(`\u0062`, size/12) + `"}` + strings.Repeat(`,{"v":1}`, size/16) + `]`,
		"senml+json/long base unit":    `[{"bn":"a","bu":"` + strings.Repeat("b", size/2) + `"}` + strings.Repeat(`,{"v":1}`, size/16) + `]`,
		"senml+json/labels":            `[{"n":"a","v":1` + strings.Repeat(`,"v":1`, size/6) + `}]`,
		"senml+json/unknown labels":    `[{"a":1` + strings.Repeat(`,"a":1`, size/6) + `}]`,
		"senml+json/bad records":       `[1` + strings.Repeat(`,1`, size/2) + `]`,
		"senml+json/one number":        `[{"n":"a","t":` + strings.Repeat("1", size) + `,"v":1}]`,
		"senml+json/one exponent":      `[{"n":"a","t":1e` + strings.Repeat("1", size) + `,"v":1}]`,
		"senml+json/bad late":          `[{"n":"a","v":1}` + strings.Repeat(`,{"n":"a","v":1}`, size/16) + `,{"x_":1}]`,
		"senml+cbor/open arrays":       strings.Repeat("\x81", size),
		"senml+cbor/open tags":         strings.Repeat("\xc4", size),
		"senml+cbor/open maps":         strings.Repeat("\xbf", size),
		"senml+cbor/bad records":       "\x9a\x00\x0f\xff\xff" + strings.Repeat("\x01", 0xfffff),
		"senml+cbor/unknown labels":    "\x81\xba\x00\x07\xff\xff" + strings.Repeat("\x18\x20\x01", 0x7ffff)[:3*0x7ffff],
		"senml+cbor/parts of a text":   "\x81\xa1\x61x\x7f" + strings.Repeat("\x60", size) + "\xff",
		"senml+cbor/a number of bytes": "\x81\xa2\x00\x61a\x02\xc4\x82\x00\xc2\x5a\x00\x0f\xff\xf0" + strings.Repeat("\x01", 0xffff0),
	} {
		d := format.New(format.NewTable(format.TableOptions{}))
		out := &batch.Rows{}
		kind, _, _ := strings.Cut(name, "/")
		report, err := d.Decode(kind, []byte(payload), newRequest(), out)
		consistent(t, out, report)
		if report.Accepted > 0 {
			t.Errorf("%s: %d readings were accepted", name, report.Accepted)
		}
		if err == nil && report.Rejected == 0 && name != "line/no spaces" {
			t.Errorf("%s: nothing was refused", name)
		}
	}
}
