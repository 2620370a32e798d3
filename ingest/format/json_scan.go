package format

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"berth/schema"
)

// scanner reads JSON (RFC 8259) from a payload. After an error it is at the payload's end and everything it reads is
// empty, so that only loops must look at err.
type scanner struct {
	p   []byte
	i   int
	err error
}

// maxDepth is how deep objects and arrays may lie in one another.
const maxDepth = 32

// fail ends the reading: the payload is not JSON.
func (s *scanner) fail(what string) {
	if s.err == nil {
		s.err = schema.Errorf(schema.Invalid, "JSON: %s at byte %d of %d", what, s.i, len(s.p))
	}
	s.i = len(s.p)
}

// skip skips white space.
func (s *scanner) skip() {
	for s.i < len(s.p) {
		switch s.p[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.i < len(s.p) {
		return s.p[s.i]
	}
	return 0
}

// more reads what stands between two members: it returns false at the closing byte.
func (s *scanner) more(closing byte) bool {
	s.skip()
	switch s.peek() {
	case ',':
		s.i++
		s.skip()
		return true
	case closing:
		s.i++
		return false
	default:
		s.fail("a comma or " + strconv.QuoteRune(rune(closing)) + " was expected")
		return false
	}
}

// hex4 returns the number that the first four bytes are in hexadecimal, -1 if they are none.
func hex4(s []byte) rune {
	if len(s) < 4 {
		return -1
	}
	var n rune
	for _, c := range s[:4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return n
}

// str reads a string and returns what is between the quotation marks, and whether escapes are in it.
func (s *scanner) str() (text []byte, escaped bool) {
	start := s.i + 1
	for i := start; i < len(s.p); i++ {
		switch c := s.p[i]; {
		case c == '"':
			s.i = i + 1
			return s.p[start:i:i], escaped
		case c < ' ':
			s.i = i
			s.fail("a control character in a string")
			return nil, false
		case c == '\\':
			escaped = true
			i++
			if i < len(s.p) && s.p[i] == 'u' && hex4(s.p[i+1:]) >= 0 {
				i += 4
				continue
			}
			switch {
			case i == len(s.p):
			case s.p[i] == '"', s.p[i] == '\\', s.p[i] == '/', s.p[i] == 'b', s.p[i] == 'f', s.p[i] == 'n', s.p[i] == 'r', s.p[i] == 't':
			default:
				s.i = i
				s.fail("an unknown escape in a string")
				return nil, false
			}
		}
	}
	s.i = len(s.p)
	s.fail("a string does not end")
	return nil, false
}

// literal reads true, false or null, whose first letter was seen, and returns 1 for true.
func (s *scanner) literal(first byte) uint64 {
	word, bits := "null", uint64(0)
	switch first {
	case 't':
		word, bits = "true", 1
	case 'f':
		word = "false"
	}
	if len(s.p)-s.i < len(word) || string(s.p[s.i:s.i+len(word)]) != word {
		s.fail("a value was expected")
		return 0
	}
	s.i += len(word)
	return bits
}

// decimal reads a number and returns it and its text.
func (s *scanner) decimal() (decimal, []byte) {
	d, next := scanDecimal(s.p, s.i)
	text := s.p[s.i:next]
	digits := text
	if d.negative {
		digits = text[1:]
	}
	bad := d.digits == 0 || digits[0]-'0' > 9 || digits[0] == '0' && len(digits) > 1 && digits[1]-'0' <= 9
	if !bad && !d.integer {
		for i, c := range digits {
			if c == '.' {
				bad = i+1 == len(digits) || digits[i+1]-'0' > 9
				break
			}
		}
	}
	if bad {
		s.fail("a value was expected")
	}
	s.i = max(s.i, next)
	return d, text
}

// appendUnescaped appends the text that s stands for in a JSON string, which str has found good. Half a surrogate pair
// becomes U+FFFD.
func appendUnescaped(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			c := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(c) {
				low := rune(-1)
				if i+6 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
					low = hex4(s[i+3:])
				}
				if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, c)
		default: // a quotation mark, backslash or slash
			dst = append(dst, s[i])
		}
	}
	return dst
}
