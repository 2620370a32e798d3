package format

import (
	"bytes"
	"math"
	"strings"

	"berth/schema"
)

// value reads a field's value.
func (l *lineReader) value(i int) (kind schema.Kind, bits uint64, next int, r *refusal) {
	p := l.p
	if i == len(p) {
		return 0, 0, 0, syntax("a field has no value")
	}
	switch c := p[i]; {
	case c <= '9' && c >= '0', c == '-', c == '.', c == '+':
		return l.number(i)
	case c == '"':
		return l.quoted(i)
	default:
		token := p[i:tokenEnd(p, i)]
		switch string(token) {
		case "t", "T", "true", "True", "TRUE":
			return schema.Bool, 1, i + len(token), nil
		case "f", "F", "false", "False", "FALSE":
			return schema.Bool, 0, i + len(token), nil
		}
		return 0, 0, 0, noValue(token)
	}
}

// short reads a number of at most 15 digits without an exponent that a comma or space follows, as nearly all are. Its
// kind is 0 when it is another.
func short(p []byte, i int) (kind schema.Kind, bits uint64, next int) {
	negative := p[i] == '-'
	if negative {
		i++
	}
	start, m := i, uint64(0)
	for i < len(p) && p[i]-'0' <= 9 {
		m = m*10 + uint64(p[i]-'0')
		i++
	}
	digits, decimals := i-start, 0
	if i < len(p) && p[i] == '.' {
		i++
		point := i
		for i < len(p) && p[i]-'0' <= 9 {
			m = m*10 + uint64(p[i]-'0')
			i++
		}
		decimals = i - point
		digits += decimals
	}
	if digits == 0 || digits > 15 || i >= len(p)-1 {
		return 0, 0, 0
	}
	switch c := p[i]; {
	case c == ',' || c == ' ':
		// Both are float64s without error, so the division rounds once, and rightly.
		f := float64(m)
		if decimals > 0 {
			f /= tens[decimals]
		}
		if negative {
			f = -f
		}
		return schema.Float, math.Float64bits(f), i
	case c == 'i' && (p[i+1] == ',' || p[i+1] == ' ') && p[i-1] != '.' && decimals == 0:
		if negative {
			m = -m
		}
		return schema.Int, m, i + 1
	}
	return 0, 0, 0
}

// number reads a number.
func (l *lineReader) number(i int) (schema.Kind, uint64, int, *refusal) {
	p := l.p
	if kind, bits, next := short(p, i); kind != 0 {
		return kind, bits, next, nil
	}
	d, next := scanDecimal(p, i)
	if next == len(p) || ends(p[next]) {
		if d.digits == 0 {
			return 0, 0, 0, noValue(p[i:next])
		}
		f, ok := d.exact()
		if !ok {
			if f, ok = d.float(p[i:next]); !ok {
				return 0, 0, 0, beyond(p[i:next], "float64")
			}
		}
		return schema.Float, math.Float64bits(f), next, nil
	}
	end := tokenEnd(p, next)
	if c := p[next]; (c != 'i' && c != 'u') || end != next+1 || d.digits == 0 || !d.integer || c == 'u' && d.negative {
		return 0, 0, 0, noValue(p[i:end])
	}
	n, ok := d.int(p[i:next])
	if !ok {
		return 0, 0, 0, beyond(p[i:end], "int64")
	}
	return schema.Int, uint64(n), end, nil
}

// quoted reads a text in quotation marks.
func (l *lineReader) quoted(i int) (schema.Kind, uint64, int, *refusal) {
	p := l.p
	end, escaped := quoteEnd(p, i+1)
	if end < 0 {
		return 0, 0, 0, syntax("a text does not end; what follows it was taken as part of it")
	}
	if next := end + 1; next < len(p) && p[next] != ',' && !ends(p[next]) {
		return 0, 0, 0, syntax("%s follows a text: a quotation mark within it wants a backslash", show(p[next:tokenEnd(p, next)]))
	}
	text := p[i+1 : end]
	if escaped {
		l.names = l.names[:0]
		for k := 0; k < len(text); k++ {
			if text[k] == '\\' && k+1 < len(text) && (text[k+1] == '"' || text[k+1] == '\\') {
				k++
			}
			l.names = append(l.names, text[k])
		}
		text = l.names
	}
	bits, r := l.keep(text)
	return schema.Text, bits, end + 1, r
}

// quoteEnd returns the index of the quotation mark that ends the text which begins at i, -1 if there is none, and
// whether there are backslashes before it.
func quoteEnd(p []byte, i int) (end int, escaped bool) {
	for end = i - 1; ; {
		if end < i {
			n := bytes.IndexByte(p[i:], '"')
			if n < 0 {
				return -1, escaped
			}
			end = i + n
		}
		k := bytes.IndexByte(p[i:end], '\\')
		if k < 0 {
			return end, escaped
		}
		// A backslash takes a quotation mark or backslash after it along.
		escaped = true
		i += k + 1
		if p[i] == '"' || p[i] == '\\' {
			i++
		}
	}
}

// noValue refuses a value that is none.
func noValue(token []byte) *refusal {
	switch strings.ToLower(strings.TrimLeft(string(token[:min(len(token), 12)]), "+-")) {
	case "":
		return syntax("a field has no value")
	case "nan", "inf", "infinity":
		return refuse(schema.Invalid, ReasonNumber, "%s is no finite number", show(token))
	}
	return syntax("%s is no value: a number, \"text\", true or false", show(token))
}

func beyond(token []byte, what string) *refusal {
	return refuse(schema.Invalid, ReasonNumber, "%s is beyond %s", show(token), what)
}
