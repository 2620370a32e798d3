package reportview

import (
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/locale/localetest"
	"berth/schema"
)

func TestTexts(t *testing.T) {
	c, err := catalog()
	if err != nil {
		t.Fatal(err)
	}
	localetest.Check(t, c)
}

func view(t testing.TB, r *api.Report, language string) *View {
	t.Helper()
	v, err := New(r, language)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNumbersAreWrittenAsTheyAre(t *testing.T) {
	v := view(t, &api.Report{}, "en")
	digits := func(s string) *api.Digits { return new(api.Digits(s)) }
	for _, c := range []struct{ got, want string }{
		{v.Number(nil, nil), "–"},
		{v.Number(digits("21.5"), nil), "21.5"},
		{v.Number(digits("21.5"), new(0)), "22"},
		{v.Number(digits("-0.04"), new(1)), "0.0"},
		{v.Number(digits("0.30000000000000004"), nil), "0.3"},
		{v.Number(digits("9223372036854775807123"), nil), "9,223,372,036,854,775,807,123"},
		{v.Number(digits("9223372036854775807123"), new(2)), "9,223,372,036,854,775,807,123.00"},
		{v.Number(digits("1e+21"), new(0)), "1,000,000,000,000,000,000,000"},
		{v.Number(digits("NaN"), new(1)), "NaN"},
		{v.Mean(digits("21.533333333333335"), nil), "21.533333"},
		{v.Mean(digits("123456789.123"), nil), "123,456,789"},
		{v.Mean(digits("0.00001234567891"), nil), "1.2345679e-05"},
		{v.Share(new(api.Number(0.99999))), "99.99 %"},
		{v.Share(new(api.Number(1))), "100.00 %"},
		{v.Share(new(api.Number(0.07))), "7.00 %"},
		{v.Change(new(api.Number(0.031))), "+3.1 %"},
		{v.Change(new(api.Number(-0.5))), "-50.0 %"},
		{v.Change(new(api.Number(12345.6))), "+1,234,560.0 %"},
		{v.Count(new(uint64(86400))), "86,400"},
		{v.Number(digits("-1234.5"), nil), "-1,234.5"},
		{v.Value(&api.ReportValue{Value: api.Value{Value: schema.TextValue("12345")}}, nil), "12345"},
		{v.Duration(12.5), "12.5 s"},
		{v.Duration(3661), "01:01:01"},
		{v.Duration(2*86400 + 60), "2 d 00:01:00"},
		{v.Value(&api.ReportValue{Value: api.Value{Value: schema.TextValue("on")}}, new(2)), "on"},
		{v.Value(&api.ReportValue{Value: api.Value{Value: schema.IntValue(1<<62 + 1)}}, nil), "4,611,686,018,427,387,905"},
		{v.Time(time.Date(2026, 3, 29, 1, 2, 3, 0, time.FixedZone("", -12600))), "2026-03-29 01:02:03 -03:30"},
	} {
		if c.got != c.want {
			t.Errorf("written as %q, want %q", c.got, c.want)
		}
	}
}

func TestLimitsAreNamed(t *testing.T) {
	at := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	r := &api.Report{From: at, To: at.Add(2), Until: at, Kept: &at, Rejects: &at, Complete: api.Complete{UpTo: &at, Reason: "why"}}
	r.Totals.Silent = 3
	for _, language := range []string{"en", "zh"} {
		if got := view(t, r, language).Limits(); len(got) != 6 {
			t.Errorf("in %s: %q", language, got)
		}
	}
	if got := view(t, &api.Report{Complete: api.Complete{Complete: true}, Before: &api.Span{}}, "en").Limits(); len(got) != 0 {
		t.Errorf("of a whole report: %q", got)
	}
}
