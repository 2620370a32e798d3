package format

import (
	"bytes"
	"math"

	"berth/schema"
)

// lineDecoder decodes Influx line protocol:
//
//	measurement[,tag=value...] field=value[,field=value...] [time]
//
// In names and tag values a backslash makes a comma, an equals sign (not in a measurement) or a space part of the name
// and is itself when anything else follows. A text stands in quotation marks, holds anything, a line's end too, and has
// \" and \\ for the two. Numbers are floats; with an i at the end they are ints, and with a u too, which above
// 9223372036854775807 are refused because no int64 holds them. NaN and infinities are refused, as Influx does. Times are
// integers in the request's precision; a line without one gets its arrival time. Lines that begin with # are comments.
//
// Each line is taken or refused by itself. A text that does not end takes the rest of the payload with it: what looks
// like a line in there may be part of the text.
type lineDecoder struct{}

func (lineDecoder) pick(payload []byte, spans []Span) []byte {
	var out []byte
	for _, s := range spans {
		out = append(out, payload[s.From:s.To]...)
	}
	return out
}

// lineReader reads the lines of one payload.
type lineReader struct {
	*task
	p     []byte
	hash  uint64 // of the sender
	unit  int64  // of times
	space int    // where the last space was found that was looked for
}

func (lineDecoder) decode(t *task, payload []byte) error {
	l := lineReader{
		task: t, p: payload, hash: t.table.lines.sender(t.request.Sender.Gateway),
		unit: max(1, int64(t.request.Precision)), space: -1,
	}
	number, counted := 1, 0
	for i := 0; i < len(payload); {
		next, r := l.line(i)
		if r != nil {
			number += bytes.Count(payload[counted:i], []byte("\n"))
			counted = i
			next, _ = lineEnd(payload, i)
			n := len(t.report.Refused)
			t.report.add("line", number, r, Span{i, next}, n > 0 && t.report.Refused[n-1].To == i)
		}
		i = next
	}
	return nil
}

// line reads the line that begins at i and returns where the next one begins.
func (l *lineReader) line(i int) (int, *refusal) {
	p := l.p
	i = blanks(p, i)
	if i == len(p) {
		return i, nil
	}
	if p[i] == '\n' {
		return i + 1, nil
	}
	if p[i] == '#' {
		return skipLine(p, i), nil
	}
	end := l.keyEnd(i)
	key := p[i:end]
	fields := blanks(p, end)
	if bytes.IndexByte(key, '\n') >= 0 || fields == len(p) || p[fields] == '\n' {
		return 0, syntax("it has no fields: a line is measurement and tags, a space, field=value")
	}
	hash := l.table.lines.hash(l.hash, key)
	s := l.table.lines.find(hash, l.request.Sender.Gateway, key, l.rules)
	var unnamed *refusal
	fresh := s == nil
	if fresh {
		s, unnamed = l.series(hash, key)
	}
	next, at, arrival, r := l.fieldsAndTime(s, fields)
	switch {
	case unnamed != nil:
		if r == nil {
			unnamed.readings = l.values()
		}
		r = unnamed
	case r == nil:
		if r = l.finish(s, at, arrival, "; is the precision right?"); r == nil && fresh {
			l.table.lines.put(s)
		}
	}
	if r != nil {
		l.drop()
	}
	return next, r
}

// keyEnd returns the index of the first space that is not escaped, or where the payload ends.
func (l *lineReader) keyEnd(i int) int {
	for from := i; ; from = l.space + 1 {
		if l.space < from {
			n := bytes.IndexByte(l.p[from:], ' ')
			if n < 0 {
				n = len(l.p) - from
			}
			l.space = from + n
		}
		if l.space == len(l.p) || l.space == i || l.p[l.space-1] != '\\' {
			return l.space
		}
	}
}

// fieldsAndTime reads the fields at i and the time after them, and returns where the next line begins.
func (l *lineReader) fieldsAndTime(s *series, i int) (next int, at int64, arrival bool, r *refusal) {
	p := l.p
	var like *layout
	l.begin()
	if s != nil {
		l.expect(s.recent.Load())
		like = l.like
	}
	for n := 0; ; n++ {
		var name []byte
		if like != nil {
			if n < len(like.leads) && leads(p[i:], like.leads[n]) {
				i += len(like.leads[n])
			} else {
				l.unlike(n)
				like = nil
			}
		}
		if like == nil {
			if name, i, r = fieldName(p, i); r != nil {
				return 0, 0, false, r
			}
		}
		var kind schema.Kind
		var bits uint64
		if kind, bits, i, r = l.value(i); r != nil {
			return 0, 0, false, r
		}
		if like != nil && like.fields[n].kind != kind {
			name = like.fields[n].name
			l.unlike(n)
			like = nil
		}
		if like == nil {
			l.fields = append(l.fields, field{name: name, kind: kind})
		}
		if r = l.full(); r != nil {
			r.readings = n
			return 0, 0, false, r
		}
		l.out.Bits = append(l.out.Bits, bits)
		if i == len(p) || p[i] != ',' {
			break
		}
		i++
	}
	return l.timestamp(i)
}

// leads is strings.HasPrefix of bytes and a string.
func leads(p []byte, lead string) bool { return len(p) >= len(lead) && string(p[:len(lead)]) == lead }

// fieldName reads the name of a field and the equals sign after it.
func fieldName(p []byte, i int) (name []byte, next int, r *refusal) {
	start := i
	for ; i < len(p); i++ {
		switch c := p[i]; {
		case c == '=' && (i == start || p[i-1] != '\\'):
			if i == start {
				return nil, 0, syntax("a field has no name")
			}
			return p[start:i], i + 1, nil
		case c == '\n', (c == ' ' || c == ',') && (i == start || p[i-1] != '\\'):
			if i == start {
				return nil, 0, syntax("a field is missing after a comma, or a comma stands before a space")
			}
			return nil, 0, syntax("field %s has no value", show(p[start:i]))
		}
	}
	return nil, 0, syntax("field %s has no value", show(p[start:i]))
}

// timestamp reads the time at i, if there is one, and the end of the line.
func (l *lineReader) timestamp(i int) (next int, at int64, arrival bool, r *refusal) {
	p := l.p
	i = blanks(p, i)
	if i == len(p) || p[i] == '\n' {
		return min(i+1, len(p)), l.arrived, true, nil
	}
	d, end := scanDecimal(p, i)
	if d.digits == 0 || !d.integer || end < len(p) && !ends(p[end]) || p[i] == '+' {
		return 0, 0, false, syntax("%s is no time: an integer, and then the line's end", show(p[i:tokenEnd(p, i)]))
	}
	n, ok := d.int(p[i:end])
	if !ok {
		n = math.MaxInt64
		if d.negative {
			n = math.MinInt64
		}
	}
	at = nanoseconds(n, l.unit)
	i = blanks(p, end)
	if i < len(p) {
		if p[i] != '\n' {
			return 0, 0, false, syntax("%s follows the time", show(p[i:tokenEnd(p, i)]))
		}
		i++
	}
	return i, at, false, nil
}

func skipLine(p []byte, i int) int {
	n := bytes.IndexByte(p[i:], '\n')
	if n < 0 {
		return len(p)
	}
	return i + n + 1
}

// blanks returns the index of the first byte from i on that is not blank.
func blanks(p []byte, i int) int {
	for i < len(p) && (p[i] == ' ' || p[i] == '\t' || p[i] == '\r') {
		i++
	}
	return i
}

// ends reports whether c ends a number or time.
func ends(c byte) bool { return c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func tokenEnd(p []byte, i int) int {
	for i < len(p) && !ends(p[i]) {
		i++
	}
	return i
}
