package frames

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"berth/schema"
)

func TestParseHello(t *testing.T) {
	for line, want := range map[string]hello{
		"HELLO boiler1 bk_x":         {"boiler1", "bk_x"},
		"HELLO boiler 1, cellar b k": {"boiler 1, cellar b", "k"},
		"HELLO g  k":                 {"g", "k"},
	} {
		if got, err := parseHello([]byte(line)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
	for _, line := range []string{"HELLO g", "HELLO  k", "HELLO ", "hello g k", "HELLO \x01 k", "HELLO " + strings.Repeat("g", 129) + " k"} {
		if got, err := parseHello([]byte(line)); !schema.Is(err, schema.Invalid) {
			t.Errorf("%q: %+v, %v, want Invalid", line, got, err)
		}
	}
}

// FuzzParseHello: a line is Invalid, or names a gateway that may be one, and both parts stand in it.
func FuzzParseHello(f *testing.F) {
	for _, seed := range []string{"HELLO g k", "HELLO g", "HELLO  ", "HELLO a b c", "HELLO \x00 k", "PUT 1 line 5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		h, err := parseHello([]byte(line))
		if err != nil {
			if !schema.Is(err, schema.Invalid) {
				t.Errorf("%q: %v", line, err)
			}
			return
		}
		if schema.CheckGateway(h.gateway) != nil || !strings.HasPrefix(line, "HELLO "+h.gateway+" ") || !strings.HasSuffix(line, " "+h.key) {
			t.Errorf("%q: %+v", line, h)
		}
	})
}

// FuzzParsePut: what is parsed is what was written, and nothing upsets the parser.
func FuzzParsePut(f *testing.F) {
	for _, seed := range []string{"PUT 1 line 20", "PUT 18446744073709551615 line 1", "PUT 1 line", "PUT  line 5", "PUT 1  5", "PUT 1 line -5", "PUT 1 line 5 6", "PUT 1 json 999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if !strings.HasPrefix(line, "PUT ") {
			return
		}
		p, err := parsePut([]byte(line))
		if err != nil {
			return
		}
		if p.length < 0 || p.length > maxSkipped+1 || p.format == "" || strings.Contains(p.format, " ") {
			t.Errorf("%q: %+v", line, p)
		}
		parts := strings.Split(line, " ")
		if len(parts) == 4 && p.length <= maxSkipped &&
			(fmt.Sprint(p.seq) != trimZeros(parts[1]) || p.format != parts[2] || fmt.Sprint(p.length) != trimZeros(parts[3])) {
			t.Errorf("%q: %+v", line, p)
		}
	})
}

func trimZeros(number string) string {
	if number = strings.TrimLeft(number, "0"); number == "" {
		return "0"
	}
	return number
}

func TestAnswersAreOneLine(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, reason := range []string{"a\nb\r\nc\x00", long, "x" + strings.Repeat("ü", 500), ""} {
		got := string(appendNak(nil, 7, schema.Invalid, reason))
		if !strings.HasPrefix(got, "NAK 7 invalid ") || strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") || len(got) > maxReason+20 ||
			strings.ContainsAny(got, "\r\x00") || !utf8.ValidString(got) {
			t.Errorf("%q", got)
		}
	}
}
