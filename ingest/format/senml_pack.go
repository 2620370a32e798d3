package format

import (
	"bytes"
	"encoding/base64"
	"math"
	"strings"

	"berth/schema"
)

// senmlPack is a pack that is being read: the base fields as they are at the record.
type senmlPack struct {
	*task
	hash    uint64 // of the sender
	number  int    // of the record
	refused int    // the number of the last record refused
	proven  bool   // nothing in the rest of the payload refuses the pack

	version            uint64
	has                uint16
	baseName, baseUnit []byte
	baseTime           int64
	baseValue, baseSum float64
	series             *series // of the record; nil: it is no measurement, or refused
	fresh              bool    // the series is not remembered yet
	at                 int64
	arrival            bool
}

func newSenMLPack(t *task) senmlPack {
	return senmlPack{task: t, hash: t.table.records.sender(t.request.Sender.Gateway)}
}

// accept checks what a record says of the pack, and sets the base fields. An error refuses the pack.
func (p *senmlPack) accept(r *senmlRecord) error {
	p.number++
	if p.number > maxRecords {
		return schema.Errorf(schema.TooLarge, "SenML: the pack has more than %d records", maxRecords).WithNext("send smaller packs")
	}
	if r.fatal == nil {
		r.fatal = p.checkVersion(r)
	}
	if r.fatal != nil {
		return schema.Errorf(r.fatal.code, "SenML: record %d: %s", p.number, r.fatal.text())
	}
	if r.has&(1<<senmlName-1) == 0 {
		return nil
	}
	p.has |= r.has
	if r.has&senmlBaseName.bit() != 0 {
		p.baseName = r.text[senmlBaseName]
	}
	if r.has&senmlBaseTime.bit() != 0 {
		p.baseTime = r.time[senmlBaseTime]
	}
	if r.has&senmlBaseUnit.bit() != 0 {
		p.baseUnit = r.text[senmlBaseUnit]
	}
	if r.has&senmlBaseValue.bit() != 0 {
		p.baseValue = r.number[senmlBaseValue]
	}
	if r.has&senmlBaseSum.bit() != 0 {
		p.baseSum = r.number[senmlBaseSum]
	}
	return nil
}

// checkVersion refuses versions that are not understood, and those that differ within the pack (§4.4).
func (p *senmlPack) checkVersion(r *senmlRecord) *refusal {
	v := p.version
	if r.has&senmlVersion.bit() != 0 {
		v = r.version
	} else if p.number == 1 {
		v = senmlDefault
	}
	switch {
	case v > senmlDefault && v != senmlSecondary:
		return syntax("bver %d is not understood: %d is the version of RFC 8428, %d that of secondary units (RFC 9100)", v, senmlDefault, senmlSecondary)
	case p.number > 1 && v != p.version:
		return syntax("bver %d differs from %d, that of the records before it: a pack has one version (RFC 8428 §4.4)", v, p.version)
	}
	p.version = v
	return nil
}

// resolve resolves a record: it adds the values to the row that begins, and finds the series. It takes nothing up yet, and
// reports whether taking the row will take up a series or a sensor that is not known.
func (p *senmlPack) resolve(r *senmlRecord) (fresh bool, bad *refusal) {
	p.begin()
	p.series = nil
	if r.bad != nil {
		return false, r.bad
	}
	if r.has&(senmlValues|1<<senmlSum) == 0 {
		if r.has&senmlRegular == 0 && r.has != 0 {
			return false, nil // it only sets base fields (§5.1.7)
		}
		return false, syntax("it has no value: none of v, vs, vb, vd and s, in CBOR 2, 3, 4, 8 and 5 (RFC 8428 §4.2)")
	}
	if bad := p.addValues(r); bad != nil {
		return false, bad
	}
	p.at, p.arrival = p.resolveTime(r), false
	if p.at < senmlRelative {
		p.at, p.arrival = addTimes(p.arrived, p.at), true
	}
	if bad := p.find(r); bad != nil {
		return false, bad
	}
	l := p.series.match(p.fields)
	p.expect(l)
	return l == nil, nil
}

// resolveTime returns base time and time together (§4.5.3).
func (p *senmlPack) resolveTime(r *senmlRecord) int64 {
	if r.has&senmlTime.bit() == 0 {
		return p.baseTime
	}
	return addTimes(p.baseTime, r.time[senmlTime])
}

// addTimes adds two times. One that is at an end of the calendar stays there.
func addTimes(a, b int64) int64 {
	switch sum := a + b; {
	case a == math.MaxInt64 || a == math.MinInt64:
		return a
	case b == math.MaxInt64 || b == math.MinInt64:
		return b
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	default:
		return sum
	}
}

// The fields of a row of SenML.
var (
	senmlValueField = []byte("v")
	senmlSumField   = []byte("s")
)

// addValues adds the value and the sum of a record to the row (§4.5.4).
func (p *senmlPack) addValues(r *senmlRecord) (bad *refusal) {
	sum := r.has&senmlSum.bit() != 0
	switch r.has & senmlValues {
	case 0:
	case senmlValue.bit():
		f := r.number[senmlValue]
		if p.has&senmlBaseValue.bit() != 0 {
			f += p.baseValue
		}
		bad = p.addFloat(senmlValueField, senmlValue, f)
		sum = sum || p.has&senmlBaseSum.bit() != 0
	case senmlBool.bit():
		bits := uint64(0)
		if r.flag {
			bits = 1
		}
		p.add(senmlValueField, schema.Bool, bits)
	case senmlText.bit():
		bad = p.addText(r.text[senmlText])
	case senmlData.bit():
		bad = p.addData(r)
	default:
		return syntax("it has more than one value: one of v, vs, vb and vd (RFC 8428 §4.2)")
	}
	if bad == nil && sum {
		f := p.baseSum
		if r.has&senmlSum.bit() != 0 {
			f += r.number[senmlSum]
		}
		bad = p.addFloat(senmlSumField, senmlSum, f)
	}
	return bad
}

func (p *senmlPack) add(name []byte, kind schema.Kind, bits uint64) {
	p.fields = append(p.fields, field{name: name, kind: kind})
	p.out.Bits = append(p.out.Bits, bits)
}

func (p *senmlPack) addFloat(name []byte, l senmlLabel, f float64) *refusal {
	if math.IsInf(f, 0) {
		return refuse(schema.Invalid, ReasonNumber, "b%s and %s together are beyond float64", l, l)
	}
	p.add(name, schema.Float, math.Float64bits(f))
	return nil
}

func (p *senmlPack) addText(text []byte) *refusal {
	bits, bad := p.keep(text)
	if bad == nil {
		p.add(senmlValueField, schema.Text, bits)
	}
	return bad
}

// find finds the series of the record, or makes it.
func (p *senmlPack) find(r *senmlRecord) *refusal {
	var name, unit []byte
	if r.has&senmlName.bit() != 0 {
		name = r.text[senmlName]
	}
	if unit = p.baseUnit; r.has&senmlUnit.bit() != 0 {
		unit = r.text[senmlUnit] // also when it is empty: then there is none (§4.1)
	}
	if length := len(p.baseName) + len(name) + len(unit); length > schema.MaxSensorName {
		return refuse(schema.Invalid, ReasonSensorName, "a name and unit of %d bytes are longer than %d", length, schema.MaxSensorName)
	}
	p.key = append(append(append(append(p.key[:0], p.baseName...), name...), 0), unit...)
	key := p.key
	cache := p.table.records
	hash := cache.hash(p.hash, key)
	p.series = cache.find(hash, p.request.Sender.Gateway, key, p.rules)
	if p.fresh = p.series == nil; !p.fresh {
		return nil
	}
	if bad := checkSenMLName(key[:len(p.baseName)+len(name)]); bad != nil {
		return bad
	}
	gateway, bad := p.gatewayOf("")
	if bad != nil {
		return bad
	}
	p.series = &series{
		hash: hash, key: string(key), sender: p.request.Sender.Gateway, rules: p.rules, gateway: gateway,
		sensor: senmlSensor(string(key)),
	}
	return nil
}

// senmlSensor returns how the sensors of a series are named whose key is given: a name, a zero byte and a unit.
func senmlSensor(key string) func(field []byte) string {
	return func(field []byte) string {
		name, unit, _ := strings.Cut(key, "\x00")
		if string(field) == string(senmlSumField) {
			name += ",sum"
		}
		if unit != "" {
			name += ",unit=" + escape(unit, ",=")
		}
		return name
	}
}

// checkSenMLName refuses a name, base name and name together, that breaks the rules of §4.5.1. So no comma is in it, and a
// sensor's name can be taken apart again.
func checkSenMLName(name []byte) *refusal {
	if len(name) == 0 {
		return refuse(schema.Invalid, ReasonSensorName, "it has no name: neither n nor a bn before it (RFC 8428 §4.2)")
	}
	for i, c := range name {
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if i == 0 && !letter {
			return refuse(schema.Invalid, ReasonSensorName, "the name %s does not begin with a letter or digit (RFC 8428 §4.5.1)", show(name))
		}
		if !letter && bytes.IndexByte([]byte("-:./_"), c) < 0 {
			return refuse(schema.Invalid, ReasonSensorName, "the name %s has other characters than A-Z a-z 0-9 - : . / _ (RFC 8428 §4.5.1)", show(name))
		}
	}
	return nil
}

// conclude takes the record that was resolved, or refuses it. It is these bytes of the payload.
func (p *senmlPack) conclude(bad *refusal, at Span) {
	if bad == nil && p.series != nil {
		if bad = p.finish(p.series, p.at, p.arrival, "; t and bt are in seconds"); bad == nil && p.fresh {
			p.table.records.put(p.series)
		}
	}
	if bad == nil {
		return
	}
	bad.readings = p.values()
	p.drop()
	p.report.add("record", p.number, bad, at, p.number > 1 && p.number == p.refused+1)
	p.refused = p.number
}

// addData adds data, as the text that is their base64url without padding (§4.3).
func (p *senmlPack) addData(r *senmlRecord) *refusal {
	data := r.text[senmlData]
	if !r.raw {
		if !base64URL(data) {
			return refuse(schema.Invalid, ReasonType, "vd is no base64 with the URL-safe alphabet and without padding (RFC 8428 §4.3)")
		}
		return p.addText(data)
	}
	if length := base64.RawURLEncoding.EncodedLen(len(data)); length > schema.MaxText {
		return refuse(schema.TooLarge, ReasonTextLength, "data of %d bytes are longer than %d as base64", len(data), schema.MaxText)
	}
	p.names = base64.RawURLEncoding.AppendEncode(p.names[:0], data)
	return p.addText(p.names)
}

// base64URL reports whether text is what the encoding of some data is: no two texts stand for the same data.
func base64URL(text []byte) bool {
	last := 0
	for _, c := range text {
		if last = bytes.IndexByte(base64Letters, c); last < 0 {
			return false
		}
	}
	switch len(text) % 4 {
	case 1:
		return false
	case 2: // of the last letter four bits are beyond the data
		return last&0xf == 0
	case 3:
		return last&0x3 == 0
	default:
		return true
	}
}

// base64Letters are the letters of the URL-safe alphabet (RFC 4648 §5).
var base64Letters = []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
