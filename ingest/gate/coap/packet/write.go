package packet

import (
	"slices"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
)

// Answer is a message to be written.
type Answer struct {
	Type  Type
	Code  Code
	ID    uint16
	Token []byte

	Format   int   // of the payload; 0: there is none, or it is a text for people (RFC 7252 §5.5.2)
	MaxAge   int   // seconds after which to ask again; 0: there is none
	Block    Block // that is answered, if HasBlock
	HasBlock bool
	Size1    int // the longest body; 0: it is not said
	Payload  string
}

// header is how many bytes an answer has at most beside its payload: a header, a token, four options and the marker.
const header = 4 + message.MaxTokenSize + 4*6 + 1

// Append appends an answer, of at most so many bytes: its payload is cut where it would be longer, and left out before an
// option is.
func Append(dst []byte, a *Answer, most int) []byte {
	var options [4]message.Option
	var values [4 * 4]byte
	m := message.Message{
		Type: message.Type(a.Type), Code: codes.Code(a.Code), MessageID: int32(a.ID), Token: a.Token, Options: options[:0],
	}
	used := values[:0]
	add := func(id message.OptionID, n uint32) {
		from := len(used)
		for shift := 24; shift >= 0; shift -= 8 {
			if n>>shift != 0 {
				used = append(used, byte(n>>shift))
			}
		}
		m.Options = append(m.Options, message.Option{ID: id, Value: used[from:len(used):len(used)]})
	}
	if a.Format != 0 {
		add(message.ContentFormat, uint32(a.Format))
	}
	if a.MaxAge != 0 {
		add(message.MaxAge, uint32(a.MaxAge))
	}
	if a.HasBlock {
		add(message.Block1, uint32(a.Block))
	}
	if a.Size1 != 0 {
		add(message.Size1, uint32(a.Size1))
	}
	from := len(dst)
	dst = slices.Grow(dst, header+len(a.Payload))
	n, err := coder.DefaultCoder.Encode(m, dst[from:cap(dst)])
	if err != nil { // there is room, and all values are within their bounds
		return dst
	}
	dst = dst[:from+n]
	if text := cut(a.Payload, most-n-1); text != "" {
		dst = append(dst, 0xff)
		dst = append(dst, text...)
	}
	return dst
}

// cut returns the beginning of a text, whole characters of at most so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && text[most]&0xc0 == 0x80 {
		most--
	}
	return text[:max(most, 0)]
}
