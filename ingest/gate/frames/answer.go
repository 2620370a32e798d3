package frames

import (
	"strconv"
	"strings"

	"berth/schema"
)

// maxReason is the longest reason in an answer, in bytes.
const maxReason = 400

func appendErr(dst []byte, err error) []byte {
	return appendReason(append(dst, "ERR "...), schema.CodeOf(err), schema.Show(err))
}

func appendAck(dst []byte, seq uint64) []byte {
	return append(strconv.AppendUint(append(dst, "ACK "...), seq, 10), '\n')
}

func appendNak(dst []byte, seq uint64, code schema.Code, reason string) []byte {
	dst = append(strconv.AppendUint(append(dst, "NAK "...), seq, 10), ' ')
	return appendReason(dst, code, reason)
}

// appendReason appends a code and a reason that is one line of printable text.
func appendReason(dst []byte, code schema.Code, reason string) []byte {
	dst = append(append(dst, code...), ' ')
	for _, c := range []byte(strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")) {
		if c < ' ' || c == 0x7f {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, '\n')
}
