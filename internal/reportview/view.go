// Package reportview shows a report's numbers to people: its texts in each language, how numbers and times are written, and
// charts as lines and areas that pages draw as SVG and files as they can. What the numbers are is left to others.
//
// Its one invariant: what is shown says nothing that the report does not say: a share is never rounded up to whole, a time
// always has its offset.
package reportview

import (
	"embed"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/api"
	"berth/internal/locale"
	"berth/schema"
)

//go:embed *.json
var texts embed.FS

var catalog = sync.OnceValues(func() (*locale.Catalog, error) { return locale.Load(texts) })

// View shows one report in one language.
type View struct {
	*locale.Printer
	Report *api.Report
}

// New returns a View in the language with the given code, the default if it is unknown. The report may be nil, for what is
// said of all reports.
func New(r *api.Report, language string) (*View, error) {
	c, err := catalog()
	if err != nil {
		return nil, err
	}
	return &View{Printer: c.Printer(language), Report: r}, nil
}

// methods are the numbers whose computation is explained, in order.
var methods = []string{"readings", "expected", "completeness", "late", "rejected", "availability", "values", "mean", "p95", "increase", "change", "chart"}

// Methods says how each number is computed.
func (v *View) Methods() []api.ReportMethod {
	all := make([]api.ReportMethod, 0, len(methods))
	for _, m := range methods {
		all = append(all, api.ReportMethod{Name: v.T("method." + m + ".name"), Text: v.T("method." + m)})
	}
	return all
}

// absent stands where there is no number.
const absent = "–"

// Time writes a time to the second, with its offset.
func (v *View) Time(t time.Time) string { return t.Format("2006-01-02 15:04:05 -07:00") }

// When writes a time that may not be.
func (v *View) When(t *time.Time) string {
	if t == nil {
		return absent
	}
	return v.Time(*t)
}

// Span writes a period.
func (v *View) Span(from, to time.Time) string {
	return v.T("period.span", "from", v.minute(from), "to", v.minute(to))
}

// minute writes a time without seconds where it has none.
func (v *View) minute(t time.Time) string {
	if t.Second() == 0 && t.Nanosecond() == 0 {
		return t.Format("2006-01-02 15:04 -07:00")
	}
	return v.Time(t)
}

// Name names the period: as it was asked for, else by nothing.
func (v *View) Name() string {
	if v.Has("period." + v.Report.Period) {
		return v.T("period." + v.Report.Period)
	}
	return v.Report.Period
}

// Duration writes seconds as days, hours, minutes and seconds.
func (v *View) Duration(seconds float64) string {
	d := time.Duration(math.Round(seconds * float64(time.Second)))
	switch {
	case seconds == 0:
		return absent
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
	}
	s := int64(math.Round(d.Seconds()))
	text := pad(s/3600%24) + ":" + pad(s/60%60) + ":" + pad(s%60)
	if days := s / 86400; days > 0 {
		text = v.T("days", "n", days) + " " + text
	}
	return text
}

func pad(n int64) string {
	if n < 10 {
		return "0" + strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10)
}

// Share writes a share in percent, rounded down, so that only the whole is 100 %.
func (v *View) Share(share *api.Number) string {
	if share == nil {
		return absent
	}
	hundredths := math.Floor(float64(*share)*10_000 + 1e-9)
	return strconv.FormatFloat(hundredths/100, 'f', 2, 64) + " %"
}

// Change writes by which share something changed.
func (v *View) Change(share *api.Number) string {
	if share == nil {
		return absent
	}
	text := v.grouped(strconv.FormatFloat(float64(*share)*100, 'f', 1, 64))
	if text = strings.Replace(text, "-0.0", "0.0", 1); !strings.HasPrefix(text, "-") {
		text = "+" + text
	}
	return text + " %"
}

// Count writes a count that may not be known.
func (v *View) Count(n *uint64) string {
	if n == nil {
		return absent
	}
	return v.Whole(*n)
}

// Whole writes a count.
func (v *View) Whole(n uint64) string { return v.Language.Count(n) }

// Number writes a number with the decimals that are set, else with as many as it has, at most twelve digits.
func (v *View) Number(d *api.Digits, decimals *int) string { return v.grouped(number(d, decimals, 12)) }

// Mean writes a mean, which has as many digits as there is room for, to eight of them where no decimals are set.
func (v *View) Mean(d *api.Digits, decimals *int) string { return v.grouped(number(d, decimals, 8)) }

// grouped groups the digits of a number as the language does, unless it has an exponent, or is none.
func (v *View) grouped(text string) string {
	if strings.Trim(text, "-.0123456789") != "" || text == absent {
		return text
	}
	return v.Language.Number(text)
}

func number(d *api.Digits, decimals *int, most int) string {
	if d == nil {
		return absent
	}
	text := string(*d)
	if !d.Finite() {
		return text
	}
	if decimals != nil {
		x, ok := new(big.Rat).SetString(text)
		if !ok {
			return text
		}
		fixed := x.FloatString(*decimals)
		if strings.Trim(fixed, "-0.") == "" {
			fixed = strings.TrimPrefix(fixed, "-")
		}
		return fixed
	}
	if !strings.ContainsAny(text, ".eE") {
		return text
	}
	return significant(d.Float(), most)
}

// significant writes a number to so many digits, without zeros at its end.
func significant(f float64, most int) string {
	size := math.Abs(f)
	if f == 0 || size < 1e-4 || size >= 1e15 {
		return strconv.FormatFloat(f, 'g', most, 64)
	}
	before := int(math.Floor(math.Log10(size))) + 1
	text := strconv.FormatFloat(f, 'f', max(most-before, 0), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// Value writes the value of a reading.
func (v *View) Value(r *api.ReportValue, decimals *int) string {
	if r == nil {
		return absent
	}
	switch r.Value.Kind() {
	case schema.Float:
		d := api.FloatDigits(r.Value.Float())
		return v.Number(&d, decimals)
	case schema.Int:
		d := api.Digits(r.Value.String())
		return v.Number(&d, decimals)
	default:
		return r.Value.String()
	}
}

// Label returns how people call a sensor: its name to show, else its own.
func (v *View) Label(s *api.ReportSensor) string {
	if s.Label != "" {
		return s.Label
	}
	return s.Sensor
}

// SumOrIncrease writes what a sensor summed up to.
func (v *View) SumOrIncrease(s api.ReportSensor) string {
	if s.Increase != nil {
		return v.T("increase.value", "value", v.Number(s.Increase, s.Decimals))
	}
	return v.Number(s.Sum, s.Decimals)
}

// Longest returns the length of a gateway's longest gap.
func (v *View) Longest(g api.ReportGateway) string {
	if len(g.LongestGaps) == 0 {
		return absent
	}
	return v.Duration(g.LongestGaps[0].Seconds)
}

// Noted writes when something was that people have noted.
func (v *View) Noted(a api.Annotation) string {
	if a.To.Equal(a.From) {
		return v.minute(a.From)
	}
	return v.Span(a.From, a.To)
}

// Of says which gateways the report is of, where groups or tags were asked for; empty where not.
func (v *View) Of() string {
	r := v.Report
	var all []string
	if len(r.Groups) > 0 {
		all = append(all, v.T("of.groups", "groups", strings.Join(r.Groups, ", ")))
	}
	if len(r.Tags) > 0 {
		all = append(all, v.T("of.tags", "tags", strings.Join(r.Tags, ", ")))
	}
	return strings.Join(all, " · ")
}

// Limits says what the report could not know.
func (v *View) Limits() []string {
	r := v.Report
	var all []string
	if !r.Complete.Complete {
		if r.UpTo != nil {
			all = append(all, v.T("limits.incomplete.up_to", "time", v.Time(*r.UpTo)))
		} else {
			all = append(all, v.T("limits.incomplete"))
		}
		all[0] += " (" + r.Reason + ")"
	}
	if r.Until.Before(r.To) {
		all = append(all, v.T("limits.lasts", "to", v.Time(r.To), "made", v.Time(r.Made)))
	}
	if r.Kept != nil {
		all = append(all, v.T("limits.kept", "time", v.Time(*r.Kept)))
	}
	if r.Rejects != nil {
		all = append(all, v.T("limits.rejects", "time", v.Time(*r.Rejects)))
	}
	if r.Totals.Late > 0 {
		all = append(all, v.T("limits.late", "n", v.Whole(r.Totals.Late)))
	}
	if r.Totals.Silent > 0 {
		all = append(all, v.T("limits.silent", "n", v.Whole(uint64(r.Totals.Silent))))
	}
	if r.Before == nil {
		all = append(all, v.T("limits.before"))
	}
	return slices.Clip(all)
}
