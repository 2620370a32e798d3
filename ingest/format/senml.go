package format

import (
	"math"
	"time"

	"berth/schema"
)

// SenML (RFC 8428) comes as JSON and as CBOR. Both decoders, in files of their own, read records into a senmlRecord; what
// a record means is here, once. A pack is an array of records. Each sets base fields for itself and those after it (§4.1)
// and may be a measurement, which is taken or refused by itself:
//
//   - The gateway is the sender. A sensor's name is the base name and the name put together (§4.5.1), and, since the same
//     name in two units is two series (§5.1.3), the unit, as line protocol would write a tag: voltage,unit=V. A sum is a
//     sensor beside it, voltage,sum,unit=V; its unit is that of the value times seconds (§4.2).
//   - Base time and time together below 2^28 seconds are relative to the arrival (§4.5.3), which the log fixes; like a
//     reading without a time such a one can be stored twice when it is sent twice. All times are exact to the nanosecond.
//   - A value is a float, whether it is written 21 or 21.0 (§4.2), vs a text, vb a bool, vd a text that is the base64url
//     of the data (§4.3, table 1), also when CBOR brings the data as they are.
//   - A base sum alone makes a sum of each number after it, a base value alone no value (§4.5.4 and §4.2).
//
// The pack as a whole is refused, and nothing of it is taken, when it cannot be read; when its version is not understood,
// or not the same throughout; when a label ends in _, since such must be understood (§4.4, §12.2); and when a base field
// cannot be read, since nothing after it would be resolved rightly. Other labels that are not known are ignored, and so
// is the update time, which says nothing of the measurement.

// senmlLabel is a field of a record.
type senmlLabel uint8

// The labels (§4.3, table 1), base fields first. From senmlName on they stand in the order of their numbers in CBOR, and
// before it in the order of theirs, which are negative (§6, table 4).
const (
	senmlVersion senmlLabel = iota
	senmlBaseName
	senmlBaseTime
	senmlBaseUnit
	senmlBaseValue
	senmlBaseSum
	senmlName
	senmlUnit
	senmlValue
	senmlText
	senmlBool
	senmlSum
	senmlTime
	senmlUpdate
	senmlData
	senmlUnknown

	senmlBases = int(senmlName) // how many are base fields
)

var senmlLabels = [senmlUnknown]string{"bver", "bn", "bt", "bu", "bv", "bs", "n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"}

func (l senmlLabel) String() string { return senmlLabels[l] }

func (l senmlLabel) base() bool { return l < senmlName }

// bit is the label as a member of a set.
func (l senmlLabel) bit() uint16 { return 1 << l }

const (
	senmlValues   = 1<<senmlValue | 1<<senmlText | 1<<senmlBool | 1<<senmlData
	senmlRegular  = 1<<senmlUnknown - 1<<senmlName
	senmlRelative = int64(1<<28) * int64(time.Second) // times below are relative to now (§4.5.3)

	// senmlDefault is the version of a pack that names none (§4.1), and of RFC 8428. It understands those below it (§4.4).
	senmlDefault = 10
	// senmlSecondary is the version of packs that may have the secondary units of RFC 8798 (RFC 9100 §4).
	senmlSecondary = senmlDefault + 1<<4

	// maxRecords is the most records that a pack may have: each may become far more than the few bytes it is.
	maxRecords = 1 << 20
)

// errNoRecord refuses a pack without a record.
var errNoRecord = schema.Errorf(schema.Invalid, "SenML: the pack has no record, and one has at least one (RFC 8428 §3)")

// senmlRecord is a record as it is read. Of the fields only those in has are set.
type senmlRecord struct {
	has     uint16
	version uint64
	text    [senmlUnknown][]byte  // bn, bu, n, u, vs, vd
	number  [senmlUnknown]float64 // bv, bs, v, s
	time    [senmlUnknown]int64   // bt, t: nanoseconds
	flag    bool                  // vb
	raw     bool                  // vd is the data themselves, not their base64url
	field   [senmlBases]Span      // where label and value of the base fields stand in the payload

	bad   *refusal // why the record is refused: the first reason
	fatal *refusal // why the pack is
}

func (r *senmlRecord) reset() { r.has, r.raw, r.bad, r.fatal = 0, false, nil, nil }

// refuse refuses the record; or the pack, when it is a base field that is wrong.
func (r *senmlRecord) refuse(l senmlLabel, f *refusal) {
	switch {
	case l.base() && r.fatal == nil:
		r.fatal = f
	case r.bad == nil:
		r.bad = f
	}
}

// see notes that the record has the label. It may have it once: RFC 8259 §4 leaves open what twice would mean, RFC 8949
// §5.6 forbids it.
func (r *senmlRecord) see(l senmlLabel) {
	if r.has&l.bit() != 0 {
		r.refuse(l, syntax("it has %s twice", l))
	}
	r.has |= l.bit()
}

// unknown notes a label that is not known.
func (r *senmlRecord) unknown(label []byte) {
	if n := len(label); n > 0 && label[n-1] == '_' && r.fatal == nil {
		r.fatal = syntax("%s must be understood, since it ends in _, and is not known (RFC 8428 §4.4)", show(label))
	}
}

// wrongType refuses a value that is not of its label's type.
func (r *senmlRecord) wrongType(l senmlLabel, want string) {
	r.refuse(l, refuse(schema.Invalid, ReasonType, "%s is no %s (RFC 8428 §4.3)", l, want))
}

// setNumber sets a number; ok says that a float64 holds it.
func (r *senmlRecord) setNumber(l senmlLabel, f float64, ok bool, text []byte) {
	if !ok || math.IsInf(f, 0) || math.IsNaN(f) {
		r.refuse(l, refuse(schema.Invalid, ReasonNumber, "%s is %s, which is no finite float64 (RFC 8428 §5)", l, show(text)))
	}
	r.number[l] = f
}

// setVersion sets the version; n is 0 when it is no positive integer.
func (r *senmlRecord) setVersion(n uint64) {
	if n == 0 {
		r.refuse(senmlVersion, syntax("bver is no positive integer (RFC 8428 §4.1)"))
	}
	r.version = n
}
