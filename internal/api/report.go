package api

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"berth/schema"
)

// A report is asked for by
//
//	GET /api/v1/providers/{p}/reports/preview   Report, or a file   ?gateway=… &group=… &tag=… &period= &from= &to= &format= &lang=
//
// Without a gateway it is of those in one of the groups that have all of the tags, without these of all. A period is today, yesterday, this-week, last-week, this-month, last-month, this-year,
// last-year, or a day, week, month or year by its name: 2026-03-29, 2026-W13, 2026-03, 2026. All are cut in the provider's
// zone; weeks begin on Monday. Without a period, from and to say the range. The format is json, html, csv, xlsx or pdf.

// Report is what a provider hands to its own customers: what gateways and sensors did over a period, and what is not
// known of it.
type Report struct {
	Provider string          `json:"provider"`
	Groups   []string        `json:"groups,omitempty"` // it is of gateways in one of these
	Tags     []string        `json:"tags,omitempty"`   // and with all of these
	Period   string          `json:"period"`           // as it was asked for; empty: a range
	From     time.Time       `json:"from"`             // in the provider's zone, as all times of a report
	To       time.Time       `json:"to"`               // the period is [from, to)
	Until    time.Time       `json:"until"`            // up to here readings are expected: to, or when it was made if that was before
	Zone     string          `json:"zone"`
	Made     time.Time       `json:"made"`
	Before   *Span           `json:"before"`              // the period that it is compared with; null: it is no longer kept
	Kept     *time.Time      `json:"kept_from,omitempty"` // readings measured before are no longer kept, though the period begins before
	Rejects  *time.Time      `json:"rejects_from"`        // rejects are counted from here on, when older ones are no longer kept; null: all are
	Position uint64          `json:"position"`            // the last sequence of the log that is surely in it; 0: not known
	Step     float64         `json:"step_seconds"`        // of the charts' points
	Gateways []ReportGateway `json:"gateways"`
	Totals   ReportTotals    `json:"totals"`
	Methods  []ReportMethod  `json:"methods"` // how each number is computed, in the language asked for
	Complete
}

// Span is a range of time [From, To).
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// ReportMethod says how a number is computed.
type ReportMethod struct {
	Name string `json:"name"` // of the number, as people read it
	Text string `json:"text"`
}

// ReportTotals sum up the gateways of a report.
type ReportTotals struct {
	Gateways     int     `json:"gateways"`
	Sensors      int     `json:"sensors"`
	Silent       int     `json:"silent"`       // gateways last heard before the period ended: what they measured since may still come
	Expected     *uint64 `json:"expected"`     // readings; null: no interval is known
	Readings     uint64  `json:"readings"`     // received
	Late         uint64  `json:"late"`         // of these, those that came more than an hour after they were measured
	Rejected     uint64  `json:"rejected"`     // refused, as far as rejects are kept
	Completeness *Number `json:"completeness"` // of the readings expected of each sensor, how many there are
	Availability *Number `json:"availability"` // the time that lies in no gap, of all gateways' time
}

// ReportGateway is what a gateway did. Shares are from 0 to 1.
type ReportGateway struct {
	Name         string         `json:"gateway"`
	FirstSeen    *time.Time     `json:"first_seen"` // arrivals; null: never
	LastSeen     *time.Time     `json:"last_seen"`
	Silent       bool           `json:"silent"`   // last heard before the period ended
	Start        time.Time      `json:"start"`    // from here on it is expected to measure
	Expected     *uint64        `json:"expected"` // readings of the sensors whose interval is known; null: of none
	Readings     uint64         `json:"readings"`
	Late         uint64         `json:"late"`            // of these, those that came more than an hour after they were measured
	Before       *uint64        `json:"readings_before"` // in the period before
	Rejected     uint64         `json:"rejected"`
	Completeness *Number        `json:"completeness"`
	Availability *Number        `json:"availability"`
	GapLimit     float64        `json:"gap_limit_seconds"` // 0: no interval is known
	Gaps         uint64         `json:"gaps"`
	GapTime      float64        `json:"gap_seconds"` // of all gaps
	LongestGaps  []ReportGap    `json:"longest_gaps"`
	Annotations  []Annotation   `json:"annotations"` // what people have noted on its charts
	Sensors      []ReportSensor `json:"sensors"`
	Complete
}

// ReportGap is a stretch without a reading that is longer than the gateway's gap limit.
type ReportGap struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Seconds float64   `json:"seconds"`
}

// ReportSensor is what a sensor did. Numbers are absent where no value is one.
type ReportSensor struct {
	Sensor   string        `json:"sensor"`
	Label    string        `json:"label,omitempty"` // how people call it
	Unit     string        `json:"unit,omitempty"`
	Decimals *int          `json:"decimals,omitempty"` // to show it with
	Counter  bool          `json:"counter"`
	Interval float64       `json:"interval_seconds"` // between readings; 0: not known
	Usual    bool          `json:"interval_usual"`   // it is not set, but what was usual
	Expected *uint64       `json:"expected"`
	Readings uint64        `json:"readings"`
	Late     uint64        `json:"late"`    // of these, those that came more than an hour after they were measured
	Numbers  uint64        `json:"numbers"` // readings whose value is a number
	First    *ReportValue  `json:"first"`
	Last     *ReportValue  `json:"last"`
	Min      *Digits       `json:"min"`
	Max      *Digits       `json:"max"`
	Mean     *Digits       `json:"mean"`
	P95      *Digits       `json:"p95"`
	Sum      *Digits       `json:"sum,omitempty"`      // of a sensor that is no counter
	Increase *Digits       `json:"increase,omitempty"` // of a counter
	Resets   uint64        `json:"resets,omitempty"`   // how often a counter began anew
	Before   *ReportBefore `json:"before"`             // null: there is nothing to compare with
	Change   *Number       `json:"change"`             // of the increase of a counter, else of the mean: 0.1 is a tenth more
	Chart    *Series       `json:"chart,omitempty"`    // a counter's mean is its increase in each step
}

// ReportBefore is what the sensor did in the period before.
type ReportBefore struct {
	Readings uint64  `json:"readings"`
	Min      *Digits `json:"min"`
	Max      *Digits `json:"max"`
	Mean     *Digits `json:"mean"`
	Sum      *Digits `json:"sum,omitempty"`
	Increase *Digits `json:"increase,omitempty"`
}

// ReportValue is a value and when it was measured.
type ReportValue struct {
	Time  time.Time `json:"time"`
	Nanos string    `json:"time_ns"`
	Kind  string    `json:"kind"`
	Value Value     `json:"value"`
}

// UnmarshalJSON reads a value; its kind tells an Int, whose digits all count, from a Float.
func (v *ReportValue) UnmarshalJSON(data []byte) error {
	type plain ReportValue
	if err := json.Unmarshal(data, (*plain)(v)); err != nil {
		return err
	}
	if v.Kind != schema.Int.String() {
		return nil
	}
	var exact struct{ Value int64 }
	if err := json.Unmarshal(data, &exact); err != nil {
		return err
	}
	v.Value.Value = schema.IntValue(exact.Value)
	return nil
}

// Digits is a number with all its digits, which may be more than a float64 holds. In JSON it is a number; NaN and
// infinities are texts, as those of [Number].
type Digits string

// MarshalJSON writes the number.
func (d Digits) MarshalJSON() ([]byte, error) {
	if !d.Finite() {
		return json.Marshal(string(d))
	}
	return []byte(d), nil
}

// Finite reports whether it is neither NaN nor infinite.
func (d Digits) Finite() bool { return d != "NaN" && d != "+Inf" && d != "-Inf" }

// UnmarshalJSON reads the number, digit by digit.
func (d *Digits) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*d = Digits(text)
		if d.Finite() {
			return schema.Errorf(schema.Invalid, "%q is no number", text)
		}
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(data, &n); err != nil {
		return err
	}
	*d = Digits(n)
	return nil
}

// FloatDigits returns the shortest digits that read back as f.
func FloatDigits(f float64) Digits {
	text, err := Number(f).MarshalJSON()
	if err != nil {
		return "NaN"
	}
	if len(text) > 0 && text[0] == '"' {
		return Digits(text[1 : len(text)-1])
	}
	return Digits(text)
}

// Float returns the nearest float64.
func (d Digits) Float() float64 {
	f, err := strconv.ParseFloat(string(d), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return math.NaN()
	}
	return f
}
