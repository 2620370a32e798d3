package api_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"berth/internal/api"
	"berth/schema"
)

// FuzzParseTime: a text is Invalid, or a time that nanoseconds in an int64 hold.
func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{"now", "now-6h", "now+100000s", "now-100000w", "1767225600000", "-9223372036854775808", "2026-01-31T12:00:00+14:00", "9999-12-31T23:59:59Z"} {
		f.Add(seed)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		at, err := api.ParseTime(s, now)
		switch {
		case err != nil && !schema.Is(err, schema.Invalid):
			t.Fatalf("%q: %v", s, err)
		case err == nil && !time.Unix(0, at.UnixNano()).Equal(at):
			t.Fatalf("%q is %v, which nanoseconds do not hold", s, at)
		}
	})
}

// FuzzValue: a value of an answer is refused, or read and written again as the same.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{`1.5`, `true`, `"text"`, `"NaN"`, `"-Inf"`, `null`, `[]`, `1e999`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v api.Value
		var n api.Number
		if json.Unmarshal(data, &n) == nil {
			written, err := json.Marshal(n)
			var m api.Number
			if err != nil || json.Unmarshal(written, &m) != nil || math.Float64bits(float64(m)) != math.Float64bits(float64(n)) && n == n {
				t.Fatalf("%q is the number %v, written %s, read %v (%v)", data, n, written, m, err)
			}
		}
		if json.Unmarshal(data, &v) != nil || !v.Kind().Valid() {
			return
		}
		written, err := json.Marshal(v)
		var w api.Value
		if err != nil || json.Unmarshal(written, &w) != nil || w.String() != v.String() {
			t.Fatalf("%q is %v, written %s, read %v (%v)", data, v, written, w, err)
		}
	})
}
