package format_test

import (
	"encoding/json"
	"strings"
	"testing"

	"berth/ingest/format"
	"berth/schema/batch"
)

// What was refused of many devices is a payload of its own, with the devices that it was of.
func TestRefusalsOfThingsBoardKeepTheirDevices(t *testing.T) {
	const payload = `{"a": [{"x": [1]}, 7, {"x": 1}], "b" : [{"y": 3}], "c": [{"y":2}, {"z":[]}, {"y":1}, 8], "d": [9]}`
	const want = `{"a": [{"x": [1]}, 7],"c": [{"z":[]},8],"d": [9]}`
	d := format.New(format.NewTable(format.TableOptions{}))
	_, report := decode(t, d, "thingsboard", payload, relayRequest())
	got := string(report.Refusals("thingsboard", []byte(payload)))
	if got != want || !json.Valid([]byte(got)) {
		t.Errorf("refused was %s, want %s", got, want)
	}
	_, again := decode(t, d, "thingsboard", got, relayRequest())
	if again.Accepted != 0 || again.Rejected != report.Rejected {
		t.Errorf("%s alone: %+v", got, again)
	}
}

// FuzzThingsBoard: what is taken is JSON, what is refused whole leaves no trace, and what was refused of it is refused again
// when it comes alone.
func FuzzThingsBoard(f *testing.F) {
	seeds(f, "thingsboard")
	f.Fuzz(func(t *testing.T, payload []byte) {
		decoders := format.New(format.NewTable(format.TableOptions{}))
		out := &batch.Rows{}
		report, err := decoders.Decode("thingsboard", payload, relayRequest(), out)
		consistent(t, out, report)
		if err != nil {
			if out.Len() > 0 {
				t.Fatalf("%d rows of a payload refused whole: %v", out.Len(), err)
			}
			return
		}
		if !json.Valid(payload) || !strings.HasPrefix(strings.TrimLeft(string(payload), " \t\r\n"), "{") {
			t.Fatalf("%q is taken and no object", payload)
		}
		remembered(t, decoders, "thingsboard", payload, out)
		if report.Rejected == 0 || report.Accepted == 0 {
			return
		}
		rest := report.Refusals("thingsboard", payload)
		again, err := decoders.Decode("thingsboard", rest, relayRequest(), &batch.Rows{})
		if err != nil || again.Accepted > 0 || again.Rejected != report.Rejected {
			t.Fatalf("of %q was refused %q: %+v, then %+v, %v", payload, rest, report, again, err)
		}
	})
}
