package format_test

import (
	"fmt"
	"strings"
	"testing"

	"berth/ingest/format"
	"berth/schema"
	"berth/schema/batch"

	"github.com/google/go-cmp/cmp"
)

// wide returns a payload of one row with n sensors that have not been there before.
func wide(name, gateway, prefix string, n int) string {
	var fields []string
	for i := range n {
		fields = append(fields, map[string]string{"line": fmt.Sprintf("%s%d=1", prefix, i), "json": fmt.Sprintf(`"%s%d":1`, prefix, i)}[name])
	}
	if name == "json" {
		return fmt.Sprintf(`{"gateway":%q,"values":{%s}}`, gateway, strings.Join(fields, ","))
	}
	return "m,gateway=" + gateway + " " + strings.Join(fields, ",")
}

// wideFormats are the formats in which one line or element can name its gateway and many sensors.
var wideFormats = []string{"json", "line"}

// TestARefusedRowUsesUpNoSensors: it makes no difference to what comes after it, however many layouts its series has.
func TestARefusedRowUsesUpNoSensors(t *testing.T) {
	const limit = 30
	for _, name := range wideFormats {
		for _, layouts := range []int{0, 1, 7, 8, 20} {
			d := format.New(format.NewTable(format.TableOptions{}))
			r := relayRequest()
			r.Settings.Limits.SensorsPerGateway = limit
			for i := range layouts {
				if _, report := decode(t, d, name, wide(name, "g", fmt.Sprintf("f%d_", i), 1), r); report.Rejected > 0 {
					t.Fatalf("%+v", report)
				}
			}
			for range 3 {
				for _, bad := range []string{wide(name, "g", "x", limit+1), badName(name)} {
					if got, _ := decode(t, d, name, bad, r); len(got) > 0 {
						t.Fatalf("%s: with %d layouts %d readings of a bad row were taken", name, layouts, len(got))
					}
				}
			}
			if _, report := decode(t, d, name, wide(name, "g", "y", limit-layouts), r); report.Rejected > 0 {
				t.Errorf("%s: with %d layouts, after refused rows: %s", name, layouts, report.Reason)
			}
			if _, report := decode(t, d, name, wide(name, "g", "z", 1), r); report.Reasons[format.ReasonSensorLimit] != 1 {
				t.Errorf("%s: with %d layouts one sensor more than the limit was taken", name, layouts)
			}
		}
	}
}

// badName is a row whose last sensor has a name that cannot be.
func badName(name string) string {
	long := strings.Repeat("n", schema.MaxSensorName+1)
	if name == "json" {
		return `{"gateway":"g","values":{"n1":1,"n2":1,"` + long + `":1}}`
	}
	return "m,gateway=g n1=1,n2=1," + long + "=1"
}

// TestARefusedRowIsNoGateway: a gateway counts from its first reading that was taken, and Known is asked about it once.
func TestARefusedRowIsNoGateway(t *testing.T) {
	for _, name := range wideFormats {
		asked := map[string]int{}
		d := format.New(format.NewTable(format.TableOptions{Known: func(gateway string) ([]string, bool) {
			asked[gateway]++
			return nil, false
		}}))
		r := relayRequest()
		r.Settings.Limits.Gateways, r.Settings.Limits.SensorsPerGateway = 1, 10
		for range 2 {
			if _, report := decode(t, d, name, wide(name, "big", "x", 11), r); report.Reasons[format.ReasonSensorLimit] != 11 {
				t.Errorf("%s: %+v", name, report)
			}
		}
		if _, report := decode(t, d, name, wide(name, "first", "x", 1), r); report.Rejected > 0 {
			t.Errorf("%s: %s", name, report.Reason)
		}
		if _, report := decode(t, d, name, wide(name, "big", "x", 1), r); report.Reasons[format.ReasonGatewayLimit] != 1 {
			t.Errorf("%s: two gateways were taken up: %+v", name, report)
		}
		if d := cmp.Diff(map[string]int{"big": 1, "first": 1}, asked); d != "" {
			t.Errorf("%s: asked (-want +got):\n%s", name, d)
		}
	}
}

// TestAPayloadRefusedWholeHasNoEffect: good elements before what is no JSON take up no gateway and no sensors.
func TestAPayloadRefusedWholeHasNoEffect(t *testing.T) {
	good := `{"gateway":"bad","a":1,"\u0062":{"c":2}}`
	for _, payload := range []string{
		good + "x", "[" + good, "[" + good + ",", "[" + good + "]]", "[" + good + `,{"a":1}`, "[" + good + `,[[1,{"a":tru}]]]`,
		"[" + good + `,{"values":{"a":{"b":01}}}]`, "[" + good + `,{"a\u0062\x":1}]`, "[" + good + "," + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "]",
	} {
		d := format.New(format.NewTable(format.TableOptions{}))
		r := relayRequest()
		r.Settings.Limits.Gateways, r.Settings.Limits.SensorsPerGateway = 1, 2
		if _, err := d.Decode("json", []byte(payload), r, &batch.Rows{}); !schema.Is(err, schema.Invalid) {
			t.Fatalf("%s: %v, want it refused whole", payload, err)
		}
		if got, report := decode(t, d, "json", `[{"gateway":"good","x":1,"y":2},{"gateway":"good","x":3}]`, r); len(got) != 3 {
			t.Errorf("after %s: %s", payload, report.Reason)
		}
	}
}

// TestASensorNamedTwiceInARowIsOne: it counts once against the limit.
func TestASensorNamedTwiceInARowIsOne(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	r := relayRequest()
	r.Settings.Limits.SensorsPerGateway = 2
	if _, report := decode(t, d, "line", "m,gateway=g a=1,a=2,b=3,a=4", r); report.Rejected > 0 {
		t.Errorf("%+v", report)
	}
	if _, report := decode(t, d, "line", "m,gateway=g c=1", r); report.Reasons[format.ReasonSensorLimit] != 1 {
		t.Errorf("%+v", report)
	}
}
