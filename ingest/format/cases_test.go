package format_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/ingest/format"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/record"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the .want files anew")

// now is the arrival time of every test's payload: 2023-11-14T22:13:20Z.
const now = int64(1_700_000_000_000_000_000)

// caseRequest is the .req file beside a case: who sends it, and the provider's settings.
type caseRequest struct {
	Gateway    string   `json:"gateway"`
	Relay      bool     `json:"relay"`
	Precision  string   `json:"precision"`
	GatewayTag string   `json:"gateway_tag"`
	Attributes []string `json:"attribute_tags"`
	Sensors    int64    `json:"sensors_per_gateway"`
	Gateways   int64    `json:"gateways"`
	Forbidden  string   `json:"forbidden"`      // a gateway that the sender may not speak for
	Retention  int64    `json:"retention_days"` // so that examples of long ago are within it
}

func (c caseRequest) request(t *testing.T) *format.Request {
	t.Helper()
	settings := record.DefaultSettings()
	settings.GatewayTag, settings.AttributeTags = c.GatewayTag, c.Attributes
	if c.Sensors > 0 {
		settings.Limits.SensorsPerGateway = c.Sensors
	}
	if c.Gateways > 0 {
		settings.Limits.Gateways = c.Gateways
	}
	if c.Retention > 0 {
		settings.Retention = time.Duration(c.Retention) * 24 * time.Hour
	}
	precision, err := format.Precision(c.Precision)
	if err != nil {
		t.Fatal(err)
	}
	r := &format.Request{Sender: format.Sender{Gateway: c.Gateway, Relay: c.Relay}, Precision: precision, Now: now, Settings: &settings}
	if c.Forbidden != "" {
		r.Sender.Allow = func(gateway string) error {
			if gateway == c.Forbidden {
				return schema.Errorf(schema.Forbidden, "gateway %q has a key of its own", gateway)
			}
			return nil
		}
	}
	return r
}

// newRequest is a request of the gateway named "gw" with default settings.
func newRequest() *format.Request {
	settings := record.DefaultSettings()
	return &format.Request{Sender: format.Sender{Gateway: "gw"}, Now: now, Settings: &settings}
}

// caseFiles returns the cases of a format, without their endings.
func caseFiles(tb testing.TB, name string) []string {
	tb.Helper()
	var bases []string
	for _, ending := range []string{".in", ".hex"} {
		files, err := filepath.Glob(filepath.Join("testdata", name, "*"+ending))
		if err != nil {
			tb.Fatal(err)
		}
		for _, file := range files {
			bases = append(bases, strings.TrimSuffix(file, ending))
		}
	}
	if len(bases) == 0 {
		tb.Fatalf("no cases for %s", name)
	}
	return bases
}

// TestCases decodes every testdata/<format>/<what>.in, or .hex, and compares with <what>.want. It does so twice with one
// table: what is remembered of the first time must not change the second.
func TestCases(t *testing.T) {
	for _, name := range format.Names() {
		for _, base := range caseFiles(t, name) {
			t.Run(name+"/"+filepath.Base(base), func(t *testing.T) {
				c := readCase(t, base)
				decoders := format.New(format.NewTable(format.TableOptions{}))
				out := &batch.Rows{}
				report, err := decoders.Decode(name, c.payload, c.request.request(t), out)
				consistent(t, out, report)
				got := listing(out, report, err)
				if *update {
					writeFile(t, base+".want", []byte(got))
				}
				if d := cmp.Diff(string(readFile(t, base+".want")), got); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
				again := &batch.Rows{}
				second, _ := decoders.Decode(name, c.payload, c.request.request(t), again)
				consistent(t, again, second)
				if d := cmp.Diff(readings(out), readings(again)); d != "" || second.Rejected != report.Rejected {
					t.Errorf("the second time %d were refused, not %d (-first +second):\n%s", second.Rejected, report.Rejected, d)
				}
			})
		}
	}
}

type testCase struct {
	payload []byte
	request caseRequest
}

func readCase(tb testing.TB, base string) testCase {
	tb.Helper()
	c := testCase{payload: readPayload(tb, base), request: caseRequest{Gateway: "gw"}}
	if data, err := os.ReadFile(base + ".req"); err == nil {
		c.request = caseRequest{}
		if err := json.Unmarshal(data, &c.request); err != nil {
			tb.Fatal(err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		tb.Fatal(err)
	}
	return c
}

// readPayload reads a case's payload: <what>.in as it is, or <what>.hex, whose lines are bytes in hexadecimal up to a #.
func readPayload(tb testing.TB, base string) []byte {
	tb.Helper()
	if data, err := os.ReadFile(base + ".in"); err == nil {
		return data
	}
	var digits strings.Builder
	for line := range strings.Lines(string(readFile(tb, base+".hex"))) {
		bytes, _, _ := strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(bytes), ""))
	}
	payload, err := hex.DecodeString(digits.String())
	if err != nil {
		tb.Fatalf("%s: %v", base, err)
	}
	return payload
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// listing shows what became of a payload.
func listing(out *batch.Rows, r format.Report, err error) string {
	var b strings.Builder
	for _, line := range readings(out) {
		b.WriteString(line + "\n")
	}
	if err != nil {
		fmt.Fprintf(&b, "error %s: %s\n", schema.CodeOf(err), schema.Show(err))
	}
	fmt.Fprintf(&b, "accepted %d, rejected %d, without a time %d\n", r.Accepted, r.Rejected, r.Timeless)
	if r.Code != "" {
		fmt.Fprintf(&b, "first refusal %s: %s\n", r.Code, r.Reason)
	}
	for _, line := range r.Lines {
		fmt.Fprintf(&b, "refused %d: %s\n", line.Line, line.Reason)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
		fmt.Fprintf(&b, "reason %s: %d\n", reason, r.Reasons[reason])
	}
	return b.String()
}

// readings shows readings, one a line.
func readings(out *batch.Rows) []string {
	var lines []string
	for _, row := range out.Rows {
		s := row.Shape
		var attributes strings.Builder
		for _, a := range s.Attributes {
			fmt.Fprintf(&attributes, " %s=%q", a.Name, a.Value)
		}
		at := time.Unix(0, row.Time).UTC().Format(time.RFC3339Nano)
		if row.Arrival {
			at = "on arrival"
			if row.Time != now {
				at += fmt.Sprintf(" %+d ns", row.Time-now)
			}
		}
		for j, k := range s.Kinds {
			v := out.Value(int(row.First)+j, k)
			text := v.String()
			if k == schema.Text {
				text = strconv.Quote(text)
			}
			lines = append(lines, fmt.Sprintf("%s | %s | %s | %s %s%s", s.Gateway, s.Sensors[j], at, k, text, attributes.String()))
		}
	}
	return lines
}

// consistent checks what must hold of all rows and reports.
func consistent(tb testing.TB, out *batch.Rows, r format.Report) {
	tb.Helper()
	next, timeless, texts := 0, 0, 0
	for i, row := range out.Rows {
		if int(row.First) != next {
			tb.Fatalf("row %d begins at value %d, want %d", i, row.First, next)
		}
		for j, k := range row.Shape.Kinds {
			if err := schema.CheckSensor(row.Shape.Sensors[j]); err != nil {
				tb.Fatal(err)
			}
			if k == schema.Text {
				texts += len(out.Value(next+j, k).Text())
			}
		}
		if err := schema.CheckGateway(row.Shape.Gateway); err != nil {
			tb.Fatal(err)
		}
		next += len(row.Shape.Kinds)
		if row.Arrival {
			timeless += len(row.Shape.Kinds)
		}
	}
	reasons := 0
	for _, n := range r.Reasons {
		reasons += n
	}
	if next != len(out.Bits) || texts != len(out.Text) {
		tb.Fatalf("%d values and %d bytes of text, of which rows have %d and %d", len(out.Bits), len(out.Text), next, texts)
	}
	if r.Accepted != next || r.Timeless != timeless || r.Rejected != reasons || (r.Rejected > 0) != (r.Code != "") {
		tb.Fatalf("the report %+v does not fit %d readings, %d of them without a time", r, next, timeless)
	}
	if len(r.Lines) > format.MaxLines || (len(r.Lines) > 0) != (r.Rejected > 0) {
		tb.Fatalf("%d refusals named of %d readings", len(r.Lines), r.Rejected)
	}
}

// TestCutCases cuts every case at every byte: what was taken of the whole before the cut is taken of the piece too.
func TestCutCases(t *testing.T) {
	for _, name := range format.Names() {
		for _, file := range caseFiles(t, name) {
			c := readCase(t, file)
			whole := &batch.Rows{}
			decoders := format.New(format.NewTable(format.TableOptions{}))
			report, err := decoders.Decode(name, c.payload, c.request.request(t), whole)
			if len(c.payload) > 4096 {
				continue // a case about lengths
			}
			all := readings(whole)
			for n := range c.payload {
				out := &batch.Rows{}
				cut, cutErr := decoders.Decode(name, c.payload[:n], c.request.request(t), out)
				consistent(t, out, cut)
				if name != "line" {
					if err == nil && cutErr == nil && !blank(c.payload[n:]) {
						t.Errorf("%s: cut to %d bytes it was still read", file, n)
					}
					continue
				}
				// Only the last line can be otherwise than in the whole.
				if n > 0 && c.payload[n-1] == '\n' && report.Rejected == 0 && cut.Rejected == 0 {
					got := readings(out)
					if d := cmp.Diff(all[:len(got)], got, cmpopts.EquateEmpty()); d != "" {
						t.Errorf("%s: cut to %d bytes (-whole +cut):\n%s", file, n, d)
					}
				}
			}
		}
	}
}

func blank(p []byte) bool { return len(bytes.TrimSpace(p)) == 0 }
