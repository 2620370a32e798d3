package frames

import (
	"bytes"
	"strings"

	"berth/ingest/format"
	"berth/schema"
)

// usage is what a client is told that does not speak the protocol.
const usage = "say HELLO <gateway> <key>, then PUT <seq> <format> <length> and the payload"

// hello is the first line of a client.
type hello struct{ gateway, key string }

// parseHello reads the line HELLO <gateway> <key>. A gateway's name may have spaces, a key has none.
func parseHello(line []byte) (hello, error) {
	rest, ok := bytes.CutPrefix(line, []byte("HELLO "))
	if !ok {
		return hello{}, schema.Errorf(schema.Invalid, "the first line is no HELLO").WithNext(usage)
	}
	i := bytes.LastIndexByte(rest, ' ')
	if i < 0 {
		return hello{}, schema.Errorf(schema.Invalid, "HELLO wants a gateway and a key").WithNext(usage)
	}
	h := hello{gateway: strings.TrimRight(string(rest[:i]), " "), key: string(rest[i+1:])}
	return h, schema.CheckGateway(h.gateway)
}

// put is the line that precedes a payload.
type put struct {
	seq    uint64
	format string
	length int
}

// parsePut reads the line PUT <seq> <format> <length>. It allocates nothing for the formats there are.
func parsePut(line []byte) (put, error) {
	rest := line[len("PUT "):]
	seqText, rest, _ := bytes.Cut(rest, []byte{' '})
	name, lengthText, _ := bytes.Cut(rest, []byte{' '})
	seq, okSeq := parseNumber(seqText)
	length, okLength := parseNumber(lengthText)
	if !okSeq || !okLength || len(name) == 0 {
		return put{}, schema.Errorf(schema.Invalid, "%q is no PUT <seq> <format> <length>", line)
	}
	return put{seq: seq, format: format.Named(name), length: int(min(length, maxSkipped+1))}, nil
}

// parseNumber reads a decimal number of at most 18 digits.
func parseNumber(text []byte) (uint64, bool) {
	if len(text) == 0 || len(text) > 18 {
		return 0, false
	}
	n := uint64(0)
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// cutLine returns the first line of data without its end, and its length with it; 0 when it is not whole.
func cutLine(data []byte) (line []byte, length int, err error) {
	i := bytes.IndexByte(data[:min(len(data), maxLine)], '\n')
	if i < 0 {
		if len(data) >= maxLine {
			return nil, 0, schema.Errorf(schema.TooLarge, "a line is longer than %d bytes", maxLine).WithNext(usage)
		}
		return nil, 0, nil
	}
	line = data[:i]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, i + 1, nil
}
