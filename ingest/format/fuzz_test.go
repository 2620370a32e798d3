package format_test

import (
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

// seeds adds the payloads of a format's cases.
func seeds(f *testing.F, name string) {
	f.Helper()
	for _, base := range caseFiles(f, name) {
		if payload := readPayload(f, base); len(payload) < 4096 {
			f.Add(payload)
		}
	}
}

// relayRequest is a request of a relay, which may name any gateway.
func relayRequest() *format.Request {
	r := newRequest()
	r.Sender.Relay = true
	return r
}

// remembered decodes the payload again: what the decoders remember of the first time must not change the readings.
func remembered(t *testing.T, decoders *format.Decoders, name string, payload []byte, first *batch.Rows) {
	t.Helper()
	second := &batch.Rows{}
	report, _ := decoders.Decode(name, payload, relayRequest(), second)
	consistent(t, second, report)
	if d := cmp.Diff(readings(first), readings(second), cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("%q (-first +second):\n%s", payload, d)
	}
}

// FuzzLine: whatever comes, rows and report fit each other; what is taken, written as lines again by the names of its
// sensors alone, is taken as the same.
func FuzzLine(f *testing.F) {
	seeds(f, "line")
	f.Fuzz(func(t *testing.T, payload []byte) {
		decoders := format.New(format.NewTable(format.TableOptions{}))
		out := &batch.Rows{}
		report, err := decoders.Decode("line", payload, relayRequest(), out)
		if err != nil {
			t.Fatalf("a payload of lines was refused whole: %v", err)
		}
		consistent(t, out, report)
		remembered(t, decoders, "line", payload, out)
		var lines strings.Builder
		for i := range out.Rows {
			writeLine(t, &lines, out, &out.Rows[i])
		}
		again := &batch.Rows{}
		report, err = decoders.Decode("line", []byte(lines.String()), relayRequest(), again)
		if err != nil || report.Rejected > 0 {
			t.Fatalf("%q: %v %+v", lines.String(), err, report)
		}
		if d := cmp.Diff(readings(out), readings(again), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%q (-first +again):\n%s", lines.String(), d)
		}
	})
}

// writeLine writes a row as a line of the line protocol.
func writeLine(t *testing.T, b *strings.Builder, out *batch.Rows, row *batch.Row) {
	t.Helper()
	for j, k := range row.Shape.Kinds {
		measurement, field, tags := takeApart(t, row.Shape.Sensors[j])
		if j == 0 {
			b.WriteString(escaped(measurement, ", ") + ",gateway=" + escaped(row.Shape.Gateway, ", ="))
			for i := 0; i < len(tags); i += 2 {
				b.WriteString("," + escaped(tags[i], ", =") + "=" + escaped(tags[i+1], ", ="))
			}
			b.WriteByte(' ')
		} else {
			b.WriteByte(',')
		}
		b.WriteString(escaped(field, ", =") + "=")
		v := out.Value(int(row.First)+j, k)
		switch k {
		case schema.Text:
			b.WriteString(`"` + escaped(v.Text(), `\"`) + `"`)
		case schema.Int:
			b.WriteString(v.String() + "i")
		default:
			b.WriteString(v.String())
		}
	}
	if !row.Arrival {
		b.WriteString(" " + strconv.FormatInt(row.Time, 10))
	}
	b.WriteByte('\n')
}

// takeApart is the inverse of a sensor's name in line protocol: that there is one shows that names are one-to-one.
func takeApart(t *testing.T, name string) (measurement, field string, tags []string) {
	t.Helper()
	part := func(ends string) string {
		var b strings.Builder
		for i := 0; i < len(name); i++ {
			switch {
			case name[i] == '\\' && i+1 < len(name):
				i++
			case strings.IndexByte(ends, name[i]) >= 0:
				name = name[i+1:]
				return b.String()
			}
			b.WriteByte(name[i])
		}
		name = ""
		return b.String()
	}
	measurement, field = part("."), part(",")
	for name != "" {
		tags = append(tags, part("="), part(","))
	}
	return measurement, field, tags
}

func escaped(s, special string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(special, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// FuzzJSON: what encoding/json takes for JSON is taken, and nothing else; what is taken, written anew, is taken as the
// same.
func FuzzJSON(f *testing.F) {
	seeds(f, "json")
	f.Fuzz(func(t *testing.T, payload []byte) {
		decoders := format.New(format.NewTable(format.TableOptions{}))
		out := &batch.Rows{}
		report, err := decoders.Decode("json", payload, relayRequest(), out)
		consistent(t, out, report)
		start := strings.TrimLeft(string(payload), " \t\r\n")
		valid := json.Valid(payload) && (start[0] == '{' || start[0] == '[')
		if deep := err != nil && strings.Contains(err.Error(), "nested too deep"); !deep && valid != (err == nil) {
			t.Fatalf("%q: error %v, but valid is %v", payload, err, valid)
		}
		if err != nil && out.Len() > 0 {
			t.Fatalf("%d rows of a payload refused whole: %v", out.Len(), err)
		}
		if err != nil {
			noTrace(t, payload)
		}
		remembered(t, decoders, "json", payload, out)
		var objects []string
		for i := range out.Rows {
			objects = append(objects, object(t, out, &out.Rows[i]))
		}
		rendered := "[" + strings.Join(objects, ",") + "]"
		again := &batch.Rows{}
		report, err = decoders.Decode("json", []byte(rendered), relayRequest(), again)
		if err != nil || report.Rejected > 0 {
			t.Fatalf("%s: %v %+v", rendered, err, report)
		}
		if d := cmp.Diff(readings(out), readings(again), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s (-first +again):\n%s", rendered, d)
		}
	})
}

// noTrace decodes a payload that is refused whole: it must have taken up no gateway.
func noTrace(t *testing.T, payload []byte) {
	t.Helper()
	decoders := format.New(format.NewTable(format.TableOptions{}))
	r := relayRequest()
	r.Settings.Limits.Gateways = 1
	_, _ = decoders.Decode("json", payload, r, &batch.Rows{}) // refused, as before
	for _, gateway := range []string{"one", "other"} {
		report, err := decoders.Decode("json", []byte(`{"gateway":"`+gateway+`","a":1}`), r, &batch.Rows{})
		if err != nil || (report.Accepted == 1) != (gateway == "one") {
			t.Fatalf("after %q: gateway %s: %v %+v", payload, gateway, err, report)
		}
	}
}

// object writes a row as a JSON object.
func object(t *testing.T, out *batch.Rows, row *batch.Row) string {
	t.Helper()
	quote := func(s string) string {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	var values []string
	for j, k := range row.Shape.Kinds {
		v := out.Value(int(row.First)+j, k)
		text := v.String()
		if k == schema.Text {
			text = quote(text)
		}
		values = append(values, quote(row.Shape.Sensors[j])+":"+text)
	}
	at := "null"
	if !row.Arrival {
		at = fmt.Sprintf("%d.%06d", row.Time/1e6, row.Time%1e6)
	}
	return fmt.Sprintf(`{"gateway":%s,"ts":%s,"values":{%s}}`, quote(row.Shape.Gateway), at, strings.Join(values, ","))
}
