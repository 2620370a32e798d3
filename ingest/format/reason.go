package format

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"berth/schema"
	"berth/schema/record"
)

// The reasons under which refused readings are counted. They are kept with the running totals and shown to the
// provider; they never change their meaning.
const (
	ReasonSyntax       = "syntax"        // the line or element cannot be read
	ReasonNumber       = "number_range"  // a number that is no finite float64 or no int64
	ReasonType         = "value_type"    // a value that is no reading: an array
	ReasonTimeWindow   = "time_window"   // older than the retention, or too far ahead
	ReasonNoGateway    = "no_gateway"    // neither the line nor the key names a gateway
	ReasonGatewayName  = "gateway_name"  // the gateway's name breaks the rules
	ReasonSensorName   = "sensor_name"   // a sensor's name breaks the rules
	ReasonAttribute    = "attribute"     // an attribute's name or value breaks the rules
	ReasonNotARelay    = "not_a_relay"   // names another gateway with a key that speaks for one alone
	ReasonNotAllowed   = "not_allowed"   // names a gateway that this key may not speak for
	ReasonPending      = "pending"       // names a new gateway, which waits for approval
	ReasonGatewayLimit = "gateway_limit" // the provider has as many gateways as it may
	ReasonSensorLimit  = "sensor_limit"  // the gateway has as many sensors as it may
	ReasonTextLength   = "text_length"   // a text beyond schema.MaxText
	ReasonTextEncoding = "text_encoding" // a text that is not UTF-8
	ReasonRowSize      = "row_size"      // too many values, or texts too long together, in one line or element
)

// refusal is why a line or element is refused.
type refusal struct {
	code     schema.Code
	reason   string
	format   string // of its text, which is only put together when it is shown
	args     []any
	readings int // how many it had as far as is known; at least one is counted
}

func refuse(code schema.Code, reason, format string, args ...any) *refusal {
	return &refusal{code: code, reason: reason, format: format, args: args}
}

func (f *refusal) text() string { return fmt.Sprintf(f.format, f.args...) }

// syntax refuses what cannot be read.
func syntax(format string, args ...any) *refusal {
	return refuse(schema.Invalid, ReasonSyntax, format, args...)
}

// show is what was sent, quoted and shortened when it is printed.
type show []byte

func (s show) String() string {
	const most = 40
	if len(s) > most {
		return strconv.QuoteToASCII(string(s[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(s))
}

// named refuses a name with what its check said.
func named(reason string, err error) *refusal {
	return refuse(schema.CodeOf(err), reason, "%s", schema.Show(err))
}

// add counts a refusal of the line or element of this number, which is these bytes of the payload. When it follows the one
// refused before it, the bytes between are taken to be refused too.
func (r *Report) add(what string, number int, f *refusal, at Span, follows bool) {
	if n := len(r.Refused); follows && n > 0 {
		r.Refused[n-1].To = at.To
	} else {
		r.Refused = append(r.Refused, at)
	}
	if r.Reasons == nil {
		r.Reasons = make(map[string]int)
		r.Code, r.Reason = f.code, fmt.Sprintf("%s %d: %s", what, number, f.text())
	}
	readings := max(1, f.readings)
	r.Rejected += readings
	r.Reasons[f.reason] += readings
	if len(r.Lines) < MaxLines {
		r.Lines = append(r.Lines, record.RejectLine{Line: number, Reason: f.text()})
	}
}

// outside refuses a time outside [from, to].
func outside(at, from, to int64, hint string) *refusal {
	switch {
	case at == math.MaxInt64, at == math.MinInt64:
		return refuse(schema.Invalid, ReasonTimeWindow, "its time is beyond the calendar%s", hint)
	case at < from:
		return refuse(schema.Invalid, ReasonTimeWindow, "its time %s is before %s, the oldest that is kept%s", showTime(at), showTime(from), hint)
	default:
		return refuse(schema.Invalid, ReasonTimeWindow, "its time %s is after %s, the latest that is taken%s", showTime(at), showTime(to), hint)
	}
}

// showTime is a time that is put into words when it is printed.
type showTime int64

func (at showTime) String() string { return time.Unix(0, int64(at)).UTC().Format(time.RFC3339Nano) }
