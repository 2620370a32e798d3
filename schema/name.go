package schema

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// CheckProvider returns an Invalid error unless name is a provider's name: ^[a-z][a-z0-9]{1,30}$.
func CheckProvider(name string) error {
	ok := len(name) >= 2 && len(name) <= 31 && name[0] >= 'a' && name[0] <= 'z'
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
	}
	if !ok {
		return Errorf(Invalid, "%q is no provider name: 2 to 31 of a-z and 0-9, a letter first", name)
	}
	return nil
}

// CheckGateway returns an Invalid error unless name is a gateway's name: 1 to MaxGatewayName bytes of printable UTF-8
// without white space at its ends. Names are compared byte by byte.
func CheckGateway(name string) error { return checkName("gateway", name, MaxGatewayName) }

// CheckSensor returns an Invalid error unless name is a sensor's name: 1 to MaxSensorName bytes of printable UTF-8
// without white space at its ends. Names are compared byte by byte.
func CheckSensor(name string) error { return checkName("sensor", name, MaxSensorName) }

func checkName(what, name string, most int) error {
	switch {
	case name == "":
		return Errorf(Invalid, "the %s has no name", what)
	case len(name) > most:
		return Errorf(Invalid, "the %s name of %d bytes is longer than %d", what, len(name), most)
	case !printable(name):
		return Errorf(Invalid, "the %s name %s has characters that do not print, or white space at an end", what, strconv.QuoteToASCII(name))
	}
	return nil
}

func printable(s string) bool {
	ascii := true
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] >= 0x7f {
			ascii = false
			break
		}
	}
	if !ascii {
		if !utf8.ValidString(s) {
			return false
		}
		for _, r := range s {
			if !unicode.IsPrint(r) {
				return false
			}
		}
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	return !unicode.IsSpace(first) && !unicode.IsSpace(last)
}

// Slot is a provider's number n, from 1; its port is the base (6000 unless set otherwise) plus n.
type Slot int

// Port returns the slot's TCP and UDP port above the given base.
func (s Slot) Port(base int) int { return base + int(s) }
