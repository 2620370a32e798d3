// Package format turns payloads into readings: a decoder for each format, in a file of its own, independent of the
// protocol that carried the payload.
//
// It gives [Decoders], which checks what decoders find (names, times, lengths, limits, who may speak for whom) and
// reports what was taken and what was refused and why. It leaves to others who the sender is, where the payload ends
// and what becomes of the rows. Its one invariant: a line, or an element of an array, is taken whole or refused whole,
// and what is refused is counted under a reason.
//
// Adding a format is a file with its decoder and a line in the table below.
package format

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/schema"
	"berth/schema/batch"
	"berth/schema/record"
)

// decoder reads a payload of one format and hands each row it finds to the task. It returns an error when the payload
// as a whole cannot be read; then nothing of it is taken. It is for concurrent use.
type decoder interface {
	decode(t *task, payload []byte) error
	// pick returns a payload of some of the payload's lines or elements alone.
	pick(payload []byte, spans []Span) []byte
}

// formats is the table of the formats.
var formats = map[string]decoder{
	"json":        jsonDecoder{},
	"line":        lineDecoder{},
	"senml+cbor":  senmlCBORDecoder{},
	"senml+json":  senmlJSONDecoder{},
	"thingsboard": thingsBoardDecoder{},
	bare:          valueDecoder{},
}

// bare is the format of a value whose sensor is named beside it.
const bare = "value"

// Names returns the names of the formats that a sender may name, sorted.
func Names() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(formats)), func(name string) bool { return name == bare })
}

// Known reports whether there is a format of this name.
func Known(format string) bool { return formats[format] != nil }

// Sender is who sent a payload, as authenticated.
type Sender struct {
	// Gateway is the sender's own name. It is empty when the sender showed a key that is not a gateway's own: then every
	// line must name its gateway.
	Gateway string
	// Relay says that the sender may speak for gateways other than itself.
	Relay bool
	// Allow is asked about each gateway other than Gateway that a relay, or a sender without a name, speaks for; an error
	// refuses the line, and its text is shown. It must be quick. nil allows all.
	Allow func(gateway string) error
}

// Request is what Decode must know beside the payload.
type Request struct {
	Sender    Sender
	Sensor    string        // that the value is of, in the value format
	Precision time.Duration // the unit of times in the line format; 0 is nanoseconds
	Now       int64         // nanoseconds: the window of times is around it
	Arrival   int64         // of the payload, nanoseconds; 0: Now
	Settings  *record.Settings
}

// Report says what became of a payload's readings. A line or element that cannot be read counts as one reading.
type Report struct {
	Accepted int // readings
	Rejected int // readings
	Timeless int // of those accepted: came without a time
	// Code and Reason are those of the first refusal; Reason can be shown to the sender.
	Code   schema.Code
	Reason string
	// Lines are the first refusals: of the line format the line's number from 1, of JSON that of the array's element.
	Lines   []record.RejectLine
	Refused []Span         // the lines or elements refused, as bytes of the payload, in order
	Reasons map[string]int // readings refused by reason (ReasonSyntax, ...); nil when none were
}

// Span is a run of bytes of a payload.
type Span struct{ From, To int }

// Refusals returns what of the payload was refused, as a payload of the same format: all of it when nothing was accepted.
func (r *Report) Refusals(format string, payload []byte) []byte {
	if r.Accepted == 0 || len(r.Refused) == 0 || formats[format] == nil {
		return payload
	}
	return formats[format].pick(payload, r.Refused)
}

// MaxLines is the most refusals that a report names one by one.
const MaxLines = 20

// Decoders decode the payloads of one provider. It is for concurrent use.
type Decoders struct {
	table *Table
	tasks sync.Pool // of *task
}

// New returns the decoders of the provider whose gateways and sensors the table knows.
func New(table *Table) *Decoders {
	return &Decoders{table: table, tasks: sync.Pool{New: func() any { return &task{table: table} }}}
}

// Decode appends the readings of the payload to out and reports what was refused. It returns an Invalid error, and out
// is as before, when the format is unknown or the payload as a whole cannot be read.
func (d *Decoders) Decode(format string, payload []byte, r *Request, out *batch.Rows) (Report, error) {
	decoder := formats[format]
	if decoder == nil {
		return Report{}, schema.Errorf(schema.Invalid, "format %q is unknown", format).
			WithNext("use one of %s", strings.Join(Names(), ", "))
	}
	t, ok := d.tasks.Get().(*task)
	if !ok {
		t = &task{table: d.table}
	}
	defer d.tasks.Put(t)
	t.start(r, out)
	rows, bits, text := len(out.Rows), len(out.Bits), len(out.Text)
	err := decoder.decode(t, payload)
	if err != nil {
		out.Rows, out.Bits, out.Text = out.Rows[:rows], out.Bits[:bits], out.Text[:text]
		t.report = Report{}
	}
	return t.end(), err
}

// Precision returns the unit of times that an Influx client names: n, ns, u, us, µ, ms, s, m or h; "" is nanoseconds.
func Precision(name string) (time.Duration, error) {
	switch name {
	case "", "n", "ns":
		return time.Nanosecond, nil
	case "u", "us", "µ", "µs":
		return time.Microsecond, nil
	case "ms":
		return time.Millisecond, nil
	case "s":
		return time.Second, nil
	case "m":
		return time.Minute, nil
	case "h":
		return time.Hour, nil
	default:
		return 0, schema.Errorf(schema.Invalid, "precision %q is unknown", name).WithNext("use ns, us, ms, s, m or h")
	}
}
