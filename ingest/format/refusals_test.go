package format_test

import (
	"testing"
	"time"

	"berth/ingest/format"
	"berth/schema/batch"
)

// What was refused of a payload is a payload of its own: decoded by itself it is refused whole, for the same reasons.
func TestRefusalsAreAPayloadOfTheirOwn(t *testing.T) {
	for _, c := range []struct{ format, payload, want string }{
		{"line", "m a=1\nm b\nm c\n\nm d=1\nm e=x\n", "m b\nm c\nm e=x\n"},
		{"line", "m a=1\r\n  m b\r\n# note\nm c", "  m b\r\nm c"},
		{"line", "m a=1\nm t=\"never ends\nm b=1", "m t=\"never ends\nm b=1"},
		{"line", "m a\nm b", "m a\nm b"},
		{"json", `[{"a":1}, {"a":[1]}, 7 ,{"b":2},{"c":{"d":[]}} ]`, `[{"a":[1]}, 7,{"c":{"d":[]}}]`},
		{"json", `{"a":[1]}`, `{"a":[1]}`},
		{"senml+json", `[{"n":"a","v":"x"}]`, `[{"n":"a","v":"x"}]`},
		{"senml+json", `[{"n":"a","v":1}, {"n":"b"},7 ,{"n":"a","v":2},{"n":"b","vs":1} ]`, `[{"n":"b"},7,{"n":"b","vs":1}]`},
		{
			"senml+json",
			`[{"bver":10,"bn":"a","v":1},{"bn":"-", "bt" : 5},{"v":"x"},{"v":2},{"bn":"b","v":3},{"bt":6,"v":[4]}]`,
			`[{"bver":10,"bn":"-","bt" : 5},{"v":"x"},{"v":2},{"bver":10,"bn":"b","bt" : 5},{"bt":6,"v":[4]}]`,
		},
		{
			"senml+cbor", "\x84\xa2\x21\x61a\x02\x01" + "\xa1\x02\x60" + "\xa1\x02\x02" + "\x07",
			"\x84\xa1\x21\x61a" + "\xa1\x02\x60" + "\xa1\x21\x61a" + "\x07",
		},
	} {
		d := format.New(format.NewTable(format.TableOptions{}))
		_, report := decode(t, d, c.format, c.payload, newRequest())
		got := string(report.Refusals(c.format, []byte(c.payload)))
		if got != c.want {
			t.Errorf("of %q was refused %q, want %q", c.payload, got, c.want)
		}
		_, again := decode(t, d, c.format, got, newRequest())
		if again.Accepted != 0 || again.Rejected != report.Rejected {
			t.Errorf("%q alone: %d accepted, %d rejected, want %d", got, again.Accepted, again.Rejected, report.Rejected)
		}
	}
}

// What is fed again has the time of its first arrival, and is held against the window of now.
func TestArrivalIsNotNow(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	r := newRequest()
	r.Arrival = r.Now - int64(time.Hour)
	for name, payload := range map[string]string{
		"line": "m a=1", "json": `{"a":1}`, "senml+json": `[{"n":"a","v":1}]`, "senml+cbor": "\x81\xa2\x00\x61a\x02\x01",
	} {
		out := &batch.Rows{}
		report, err := d.Decode(name, []byte(payload), r, out)
		if err != nil || report.Timeless != 1 || out.Rows[0].Time != r.Arrival || !out.Rows[0].Arrival {
			t.Errorf("%s: %+v, %+v, %v", name, report, out.Rows, err)
		}
	}
}
