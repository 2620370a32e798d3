package format_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/ingest/format"
	"berth/schema"
	"berth/schema/batch"

	"github.com/google/go-cmp/cmp"
)

// The symbols of the units' registries: RFC 8428 §12.1, what RFC 8798 §2 adds to it, and RFC 8798 §3, the secondary units.
const (
	unitsOf8428      = "m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat m2 m3 l m/s m/s2 m3/s l/s W/m2 cd/m2 bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL 1/s 1/min beat/min beats S/m"
	unitsOf8798      = "B VA VAs var vars J/m kg/m3 deg NTU"
	secondaryOf8798  = "ms min h MHz kW kVA kvar Ah Wh kWh varh kvarh kVAh Wh/km KiB GB Mbit/s B/s MB/s mV mA dBm ug/m3 mm/h m/h ppm /100 /1000 hPa mm cm km km/h"
	knownUnitSymbols = unitsOf8428 + " " + unitsOf8798 + " " + secondaryOf8798
)

// TestSenMLUnits: the readings of one name in each unit that there is are series of their own, with the values as sent.
func TestSenMLUnits(t *testing.T) {
	for _, version := range []literal{"10", "26"} {
		var pack modelPack
		var want []string
		for i, unit := range strings.Fields(knownUnitSymbols) {
			pack = append(pack, map[string]any{"bver": version, "n": "a", "u": unit, "v": literal(fmt.Sprint(i))})
			want = append(want, fmt.Sprintf("gw | a,unit=%s | on arrival | float %d", unit, i))
		}
		for name, payload := range map[string][]byte{"senml+json": pack.asJSON(), "senml+cbor": pack.asCBOR(false)} {
			got, report := decode(t, format.New(format.NewTable(format.TableOptions{})), name, string(payload), newRequest())
			if d := cmp.Diff(want, got); d != "" || report.Rejected > 0 {
				t.Errorf("%s, bver %s: %s (-want +got):\n%s", name, version, report.Reason, d)
			}
		}
	}
}

// TestSenMLIsRelativeToItsArrival: what is fed again days later has the times it had when it came.
func TestSenMLIsRelativeToItsArrival(t *testing.T) {
	pack := modelPack{{"n": "a", "t": literal("-5"), "v": literal("1")}, {"n": "a", "bt": literal("-60"), "t": literal("0.25"), "v": literal("2")}}
	r := newRequest()
	r.Arrival = r.Now - 3*24*int64(time.Hour)
	for name, payload := range map[string][]byte{"senml+json": pack.asJSON(), "senml+cbor": pack.asCBOR(false)} {
		out := &batch.Rows{}
		report, err := format.New(format.NewTable(format.TableOptions{})).Decode(name, payload, r, out)
		if err != nil || report.Timeless != 2 || out.Rows[0].Time != r.Arrival-5e9 || out.Rows[1].Time != r.Arrival-59_750_000_000 {
			t.Errorf("%s: %v, %+v, %+v", name, err, report, out.Rows)
		}
	}
}

// TestASenMLPackRefusedWholeHasNoEffect: good records before what refuses the pack take up no sensors.
func TestASenMLPackRefusedWholeHasNoEffect(t *testing.T) {
	good := map[string]any{"n": "bad", "v": literal("1")}
	for what, bad := range map[string]map[string]any{
		"a label to be understood": {"n": "x", "v": literal("1"), "x_": literal("1")},
		"another version":          {"bver": literal("5")},
		"a bad base field":         {"bn": literal("1")},
	} {
		pack := modelPack{good, good, bad}
		for name, payload := range map[string][]byte{
			"senml+json": pack.asJSON(), "senml+cbor": pack.asCBOR(false),
		} {
			noSenMLTrace(t, name, payload)
			_, err := format.New(format.NewTable(format.TableOptions{})).Decode(name, payload, newRequest(), &batch.Rows{})
			if !schema.Is(err, schema.Invalid) || !strings.Contains(schema.Show(err), "record 3") {
				t.Errorf("%s: %s: %v, want it refused whole and the record named", what, name, err)
			}
		}
	}
	for _, payload := range []string{`[{"n":"bad","v":1}`, `[{"n":"bad","v":1},{]`, `[{"n":"bad","v":1}]]`, `[{"n":"bad","v":1},{"n":"a","vs":"\x"}]`} {
		noSenMLTrace(t, "senml+json", []byte(payload))
	}
}

// TestSenMLOfTwoSenders: what is remembered of one sender's names is not taken for another's.
func TestSenMLOfTwoSenders(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	for range 2 {
		for _, gateway := range []string{"one", "two"} {
			r := newRequest()
			r.Sender.Gateway = gateway
			got, _ := decode(t, d, "senml+json", `[{"n":"a","v":1}]`, r)
			if d := cmp.Diff([]string{gateway + " | a | on arrival | float 1"}, got); d != "" {
				t.Error(d)
			}
		}
	}
}

// TestSenMLHasSoManyRecordsAtMost: a body of tiny records must not become ten times as much in memory.
func TestSenMLHasSoManyRecordsAtMost(t *testing.T) {
	const most = 1 << 20
	d := format.New(format.NewTable(format.TableOptions{}))
	for _, n := range []int{most, most + 1} {
		payload := fmt.Appendf(nil, "\x9a%c%c%c%c\xa2\x21\x61a\x02\x00", 0, 0, 0, 0)
		for i := range 4 {
			payload[1+i] = byte(n >> (24 - 8*i))
		}
		payload = append(payload, strings.Repeat("\xa1\x02\x00", n-1)...)
		out := &batch.Rows{}
		report, err := d.Decode("senml+cbor", payload, newRequest(), out)
		if n == most && (err != nil || report.Accepted != n) || n > most && !schema.Is(err, schema.TooLarge) {
			t.Errorf("%d records: %v, %d accepted", n, err, report.Accepted)
		}
	}
}

// TestSenMLTexts: as long as a text may be, also as the base64 of data.
func TestSenMLTexts(t *testing.T) {
	const data = schema.MaxText / 4 * 3 // as base64 they are as long as a text may be
	for _, c := range []struct {
		field string
		value any
		taken bool
	}{
		{"vs", strings.Repeat("x", schema.MaxText), true},
		{"vs", strings.Repeat("x", schema.MaxText+1), false},
		{"vd", make([]byte, data), true},
		{"vd", make([]byte, data+1), false},
	} {
		pack := modelPack{{"n": "a", c.field: c.value}}
		for name, payload := range map[string][]byte{"senml+json": pack.asJSON(), "senml+cbor": pack.asCBOR(false)} {
			_, report := decode(t, format.New(format.NewTable(format.TableOptions{})), name, string(payload), newRequest())
			if (report.Accepted == 1) != c.taken || (report.Reasons[format.ReasonTextLength] == 1) == c.taken {
				t.Errorf("%s: %s: %+v, want it taken: %v", name, c.field, report, c.taken)
			}
		}
	}
}
