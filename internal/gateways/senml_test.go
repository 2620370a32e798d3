package gateways

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"berth/schema"
)

// packRecord is a record of a pack, in either form.
type packRecord struct {
	BaseName string   `json:"bn" cbor:"-2,keyasint"`
	BaseTime any      `json:"bt" cbor:"-3,keyasint"`
	Name     string   `json:"n" cbor:"0,keyasint"`
	Unit     string   `json:"u" cbor:"1,keyasint"`
	Value    *float64 `json:"v" cbor:"2,keyasint"`
	Text     *string  `json:"vs" cbor:"3,keyasint"`
	Bool     *bool    `json:"vb" cbor:"4,keyasint"`
	Time     any      `json:"t" cbor:"6,keyasint"`
}

// nanoseconds returns a time that is written in seconds: as JSON does, with nine decimals, or as a decimal fraction.
func nanoseconds(t *testing.T, v any) int64 {
	t.Helper()
	switch v := v.(type) {
	case nil:
		return 0
	case json.Number:
		var seconds, decimals int64
		if _, err := fmt.Sscanf(v.String(), "%d.%09d", &seconds, &decimals); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		return seconds*1e9 + decimals
	case cbor.Tag:
		parts, ok := v.Content.([]any)
		if !ok || v.Number != 4 || len(parts) != 2 || parts[0] != int64(-9) {
			t.Fatalf("%+v is no decimal fraction of nanoseconds", v)
		}
		n, ok := parts[1].(uint64)
		if !ok {
			t.Fatalf("%+v is no decimal fraction of nanoseconds", v)
		}
		return int64(n)
	default:
		t.Fatalf("%v is no time", v)
		return 0
	}
}

// What is sent as SenML must read back as the value that the check expects.
func TestPacksSayTheValues(t *testing.T) {
	for name, read := range map[string]func(data []byte, v any) error{
		"senml+json": decodeNumbers, "senml+cbor": cbor.Unmarshal,
	} {
		fleet, err := New(Options{Address: "127.0.0.1:1", Gateways: 3, Sensors: 9, PerFrame: 4, Format: name})
		if err != nil {
			t.Fatal(err)
		}
		var records []packRecord
		if err := read(fleet.appendFrame(nil, fleet.gateways[2], 5), &records); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(records) != 1+4*9 || records[0].BaseName != "unit." {
			t.Fatalf("%s: %d records, the first of them %+v", name, len(records), records[0])
		}
		base := nanoseconds(t, records[0].BaseTime)
		for i, r := range records[1:] {
			n, s := 20+i/9, i%9
			sensor := records[0].BaseName + r.Name
			if r.Unit != "" {
				sensor += ",unit=" + r.Unit
			}
			var got schema.Value
			switch {
			case r.Value != nil:
				got = schema.FloatValue(*r.Value)
			case r.Text != nil:
				got = schema.TextValue(*r.Text)
			case r.Bool != nil:
				got = schema.BoolValue(*r.Bool)
			}
			if at := base + nanoseconds(t, r.Time); sensor != fleet.sensorName(s) || at != fleet.timeAt(n) || got != fleet.valueAt(2, s, n) {
				t.Errorf("%s: timestamp %d sensor %d: %s at %d is %v, want %s at %d is %v", name, n, s, sensor, at, got, fleet.sensorName(s), fleet.timeAt(n), fleet.valueAt(2, s, n))
			}
		}
	}
	if _, err := New(Options{Format: "xml"}); !schema.Is(err, schema.Invalid) {
		t.Errorf("a format that is not simulated: %v", err)
	}
}

// decodeNumbers decodes JSON and keeps the digits of those numbers whose type is left open.
func decodeNumbers(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(v)
}
