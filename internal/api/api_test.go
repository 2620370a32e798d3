package api

import (
	"encoding/json"
	"maps"
	"math"
	"testing"
	"time"

	"berth/schema"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"now":                            now,
		"now-6h":                         now.Add(-6 * time.Hour),
		"now-30d":                        now.AddDate(0, 0, -30),
		"now+1w":                         now.AddDate(0, 0, 7),
		"now-90s":                        now.Add(-90 * time.Second),
		"1772366400000":                  now,
		"-1000":                          time.Unix(-1, 0),
		"2026-03-01T13:00:00+01:00":      now,
		"2026-03-01T12:00:00.000000001Z": now.Add(1),
	} {
		if got, err := ParseTime(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%s is %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "today", "now-", "now-6", "now-h", "now-6y", "now6h", "now--6h", "now-100001h", "2026-03-01", "1e12", "9999999999999999", "3000-01-01T00:00:00Z"} {
		if got, err := ParseTime(in, now); !schema.Is(err, schema.Invalid) {
			t.Errorf("%q gave %v, %v; want Invalid", in, got, err)
		}
	}
}

func TestStateOf(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		silent, interval time.Duration
		want             State
	}{
		{time.Second, 0, Online},
		{2 * time.Minute, time.Second, Online},
		{3 * time.Minute, time.Second, Late},
		{3 * time.Minute, time.Minute, Online},
		{16 * time.Minute, time.Minute, Offline},
		{40 * time.Minute, 15 * time.Minute, Online},
		{2 * time.Hour, 15 * time.Minute, Late},
		{3 * time.Hour, 15 * time.Minute, Offline},
		{-time.Minute, 0, Online},
	} {
		if got := StateOf(now, now.Add(-c.silent), c.interval); got != c.want {
			t.Errorf("silent %v, usually %v: %s, want %s", c.silent, c.interval, got, c.want)
		}
	}
	if got := StateOf(now, time.Time{}, 0); got != Never {
		t.Errorf("a gateway that never sent is %s", got)
	}
}

func TestValueInJSON(t *testing.T) {
	for want, v := range map[string]schema.Value{
		"21.5":                schema.FloatValue(21.5),
		"-0":                  schema.FloatValue(math.Copysign(0, -1)),
		`"NaN"`:               schema.FloatValue(math.NaN()),
		`"+Inf"`:              schema.FloatValue(math.Inf(1)),
		"9223372036854775807": schema.IntValue(math.MaxInt64),
		"true":                schema.BoolValue(true),
		`"a \"b\""`:           schema.TextValue(`a "b"`),
	} {
		got, err := json.Marshal(Value{v})
		if err != nil || string(got) != want {
			t.Errorf("%v is %s, %v; want %s", v, got, err, want)
		}
	}
	var back struct {
		A, B, C, D Value
		N          []Number
	}
	if err := json.Unmarshal([]byte(`{"A":21.5,"B":"x","C":false,"D":9007199254740993,"N":[1,"NaN","-Inf"]}`), &back); err != nil {
		t.Fatal(err)
	}
	if back.A.Float() != 21.5 || back.B.Text() != "x" || back.C.Kind() != schema.Bool || back.D.Int() != 9007199254740993 || !math.IsNaN(float64(back.N[1])) || !math.IsInf(float64(back.N[2]), -1) {
		t.Errorf("read back %+v", back)
	}
}

func TestEveryKindOfErrorHasItsStatus(t *testing.T) {
	want := map[schema.Code]int{
		schema.Invalid: 400, schema.Unauthorized: 401, schema.Forbidden: 403, schema.NotFound: 404, schema.Conflict: 409,
		schema.TooLarge: 413, schema.Limited: 429, schema.Unavailable: 503, schema.Internal: 500, "something else": 500,
	}
	got := map[schema.Code]int{}
	for code := range want {
		got[code] = Status(code)
	}
	if !maps.Equal(want, got) {
		t.Errorf("statuses are %v, want %v", got, want)
	}
}
