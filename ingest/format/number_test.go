package format

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"berth/schema"

	"pgregory.net/rapid"
)

// decimals are texts of numbers: short ones, long ones, any float64 in each of its spellings.
func decimals() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`-?[0-9]{1,8}(\.[0-9]{0,8})?`),
		rapid.StringMatching(`-?[1-9][0-9]{9,13}\.[0-9]{1,6}`), // around 2^53
		rapid.StringMatching(`-?[0-9]{0,25}\.[0-9]{1,25}`),
		rapid.StringMatching(`[-+]?[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?`),
		rapid.Custom(func(t *rapid.T) string {
			f := rapid.Float64().Draw(t, "float")
			verb := rapid.SampledFrom([]byte("efg")).Draw(t, "verb")
			return strconv.FormatFloat(f, verb, rapid.IntRange(-1, 20).Draw(t, "digits"), 64)
		}),
	)
}

// TestFloatsAreExact: every number that a line or JSON may hold is read to the bit as strconv reads it, by the short
// way too.
func TestFloatsAreExact(t *testing.T) {
	check := func(t rapid.TB, text string) {
		t.Helper()
		want, err := strconv.ParseFloat(text, 64)
		d, next := scanDecimal([]byte(text), 0)
		if next != len(text) || d.digits == 0 {
			t.Fatalf("%s: read %d bytes of %d, %d digits", text, next, len(text), d.digits)
		}
		got, ok := d.float([]byte(text))
		if ok != (err == nil) || ok && math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("%s: read as %v %v, want %v %v", text, got, ok, want, err)
		}
		kind, bits, next := short([]byte(text+",x"), 0)
		if kind == 0 {
			return
		}
		if kind != schema.Float || bits != math.Float64bits(want) || next != len(text) {
			t.Fatalf("%s: read the short way as %v %v up to %d, want %v", text, kind, math.Float64frombits(bits), next, want)
		}
	}
	for _, text := range []string{
		"0", "-0", "0.0", "-0.0", "9007199254740992", "9007199254740993", "999999999999999", "0.999999999999999",
		"1e22", "1e23", "1e-22", "1e-23", "-3e-25", "7e-27",
		"1793215948861.2115", "10848760502060.357", "940931153562770.5", // rounded twice these would be wrong
		"123456789e15", "2.2250738585072011e-308", "4.9e-324", "1.7976931348623157e308", "1.7976931348623159e308",
		"00000000000000000000000001", "0.00000000000000000000000001", strings.Repeat("9", 400), "0." + strings.Repeat("0", 400) + "1",
		"1e99999999999", "1e-99999999999", "8.5e-5", "179769313486231580793728971405301e276", "36028797018963967", "0.000001",
	} {
		check(t, text)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, decimals().Draw(t, "number")) })
}

func TestIntsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`[-+]?[0-9]{1,22}`),
			rapid.Map(rapid.Int64(), func(i int64) string { return strconv.FormatInt(i, 10) }),
			rapid.Map(rapid.Uint64(), func(i uint64) string { return strconv.FormatUint(i, 10) }),
		).Draw(t, "number")
		want, err := strconv.ParseInt(text, 10, 64)
		d, _ := scanDecimal([]byte(text), 0)
		if got, ok := d.int([]byte(text)); ok != (err == nil) || ok && got != want {
			t.Fatalf("%s: read as %d %v, want %d %v", text, got, ok, want, err)
		}
		if kind, bits, _ := short([]byte(text+"i "), 0); kind != 0 && (kind != schema.Int || int64(bits) != want) {
			t.Fatalf("%s: read the short way as %v %d, want %d", text, kind, int64(bits), want)
		}
	})
}

func TestMilliseconds(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1e6, "-1": -1e6, "1.5": 1_500_000, "-1.5": -1_500_000, "1.7e12": 1_700_000_000_000_000_000,
		"17e11": 1_700_000_000_000_000_000, "1700000000000000e-3": 1_700_000_000_000_000_000,
		"1700000000000.123456789": 1_700_000_000_000_123_456, "0.0000001": 0, "1e-400": 0, "0e400": 0,
		"1e13": math.MaxInt64, "-1e13": math.MinInt64, "1e400": math.MaxInt64, "99999999999999999999": math.MaxInt64,
		"9223372036854.775807": math.MaxInt64, "9223372036854.775806": math.MaxInt64 - 1, "9300000000000.5": math.MaxInt64,
		"-9300000000000.5": math.MinInt64, "9300000000000000000.5": math.MaxInt64,
		fmt.Sprintf("1%s.0", strings.Repeat("0", 300)): math.MaxInt64,
	} {
		d, _ := scanDecimal([]byte(text), 0)
		if got := d.milliseconds([]byte(text)); got != want {
			t.Errorf("%s ms are %d ns, want %d", text, got, want)
		}
	}
}

// TestCacheKeepsWhatFits: series that are put are found, until far more are put than there is room for.
func TestCacheKeepsWhatFits(t *testing.T) {
	c, r := newCache(), &rules{}
	key := func(n int) []byte { return fmt.Appendf(nil, "measurement,tag=%d", n) }
	find := func(n int) *series { return c.find(c.hash(c.sender("s"), key(n)), "s", key(n), r) }
	const many = 20_000
	for n := range many {
		c.put(&series{hash: c.hash(c.sender("s"), key(n)), key: string(key(n)), sender: "s", rules: r})
	}
	lost := 0
	for n := range many {
		if s := find(n); s == nil {
			lost++
		} else if s.key != string(key(n)) {
			t.Fatalf("found %q for %q", s.key, key(n))
		}
	}
	if lost > many/100 {
		t.Errorf("%d of %d series were lost", lost, many)
	}
	if c.find(c.hash(c.sender("s"), key(1)), "s", key(1), &rules{}) != nil {
		t.Error("found a series of other rules")
	}
	if c.find(c.hash(c.sender("other"), key(1)), "other", key(1), r) != nil {
		t.Error("found a series of another sender")
	}
	if slots := len(*c.slots.Load()); slots > 16*many {
		t.Errorf("%d slots for %d series", slots, many)
	}
}
