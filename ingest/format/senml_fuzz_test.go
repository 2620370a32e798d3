package format_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"berth/ingest/format"
	"berth/schema"
	"berth/schema/batch"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzSenMLJSON: what is no JSON is refused; and what must hold of all SenML holds.
func FuzzSenMLJSON(f *testing.F) {
	seeds(f, "senml+json")
	f.Fuzz(func(t *testing.T, payload []byte) {
		err := fuzzSenML(t, "senml+json", payload)
		array := json.Valid(payload) && bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("["))
		bad := err != nil && strings.HasPrefix(schema.Show(err), "JSON:") && !strings.Contains(err.Error(), "nested too deep")
		if array && bad || !array && err == nil {
			t.Fatalf("%q: error %v, but valid is %v", payload, err, array)
		}
	})
}

// FuzzSenMLCBOR: whatever comes, what must hold of all SenML holds.
func FuzzSenMLCBOR(f *testing.F) {
	seeds(f, "senml+cbor")
	f.Fuzz(func(t *testing.T, payload []byte) { _ = fuzzSenML(t, "senml+cbor", payload) })
}

// fuzzSenML decodes a payload: rows and report fit each other; a pack refused whole leaves no trace; what is refused of a
// pack is refused alike when it is a pack of its own; and what is taken, written as resolved records (RFC 8428 §4.6) in
// JSON and in CBOR, is taken as the same.
func fuzzSenML(t *testing.T, name string, payload []byte) error {
	t.Helper()
	decoders := format.New(format.NewTable(format.TableOptions{}))
	out := &batch.Rows{}
	report, err := decoders.Decode(name, payload, relayRequest(), out)
	consistent(t, out, report)
	if err != nil {
		if out.Len() > 0 {
			t.Fatalf("%d rows of a payload refused whole: %v", out.Len(), err)
		}
		noSenMLTrace(t, name, payload)
		return err
	}
	remembered(t, decoders, name, payload, out)
	if report.Accepted > 0 && report.Rejected > 0 {
		picked := report.Refusals(name, payload)
		again, err := decoders.Decode(name, picked, relayRequest(), &batch.Rows{})
		if err != nil || again.Accepted > 0 || again.Rejected != report.Rejected || cmp.Diff(report.Reasons, again.Reasons) != "" {
			t.Fatalf("of %q was refused %q, which alone: %v, %+v, want %+v", payload, picked, err, again, report)
		}
	}
	if out.Len() == 0 {
		return nil
	}
	pack := resolved(out)
	for kind, payload := range map[string][]byte{"senml+json": pack.asJSON(), "senml+cbor": pack.asCBOR(true)} {
		again := &batch.Rows{}
		report, err = decoders.Decode(kind, payload, relayRequest(), again)
		if err != nil || report.Rejected > 0 {
			t.Fatalf("%q: %v %+v", payload, err, report)
		}
		if d := cmp.Diff(readings(out), readings(again), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%q (-first +again):\n%s", payload, d)
		}
	}
	return nil
}

// noSenMLTrace decodes a payload that is refused whole: it must have taken up no sensor.
func noSenMLTrace(t *testing.T, name string, payload []byte) {
	t.Helper()
	decoders := format.New(format.NewTable(format.TableOptions{}))
	r := relayRequest()
	r.Settings.Limits.SensorsPerGateway = 1
	_, _ = decoders.Decode(name, payload, r, &batch.Rows{}) // refused, as before
	for _, sensor := range []string{"a.sensor.of.its.own", "another"} {
		report, err := decoders.Decode("senml+json", []byte(`[{"n":"`+sensor+`","v":1}]`), r, &batch.Rows{})
		if err != nil || (report.Accepted == 1) != (sensor != "another") {
			t.Fatalf("after %q: sensor %s: %v %+v", payload, sensor, err, report)
		}
	}
}

// resolved writes rows as resolved records, one a reading.
func resolved(out *batch.Rows) modelPack {
	var pack modelPack
	for _, row := range out.Rows {
		for j, k := range row.Shape.Kinds {
			record := map[string]any{}
			name, rest, _ := strings.Cut(row.Shape.Sensors[j], ",")
			record["n"] = name
			sum := rest == "sum" || strings.HasPrefix(rest, "sum,")
			if _, unit, ok := strings.Cut(","+rest, ",unit="); ok {
				record["u"] = strings.NewReplacer(`\\`, `\`, `\,`, `,`, `\=`, `=`).Replace(unit)
			}
			if row.Arrival {
				record["t"] = nanosecondsAs(row.Time - now)
			} else {
				record["t"] = nanosecondsAs(row.Time)
			}
			switch v := out.Value(int(row.First)+j, k); {
			case k == schema.Text:
				record["vs"] = v.Text()
			case k == schema.Bool:
				record["vb"] = v.Bool()
			case sum:
				record["s"] = literal(shortest(v.Float()))
			default:
				record["v"] = literal(shortest(v.Float()))
			}
			pack = append(pack, record)
		}
	}
	return pack
}

// nanosecondsAs is a time as seconds.
func nanosecondsAs(ns int64) literal {
	sign := ""
	if ns < 0 {
		sign, ns = "-", -ns
	}
	return literal(fmt.Sprintf("%s%d.%09d", sign, ns/1e9, ns%1e9))
}

// shortest is a float as a decimal whose digits fit an int64.
func shortest(f float64) string { return strconv.FormatFloat(f, 'e', -1, 64) }
