// Package packet reads and writes the messages of CoAP by the codec of go-coap. It wraps that dependency: nobody else
// imports it.
//
// The codec is lenient where a server must not be; what RFC 7252 wants refused is checked here: critical options that are not
// understood, lengths of options, options that are there twice, a marker without a payload, an empty message that is not
// empty. What a message asks for is left to others. Its one invariant: a message that was read refers to the datagram, and
// costs no memory of its own.
package packet

import (
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/plgd-dev/go-coap/v3/message"
)

// Type is a message's type (RFC 7252 §3).
type Type uint8

// The types.
const (
	Confirmable Type = iota
	NonConfirmable
	Acknowledgement
	Reset
)

// Code is a message's code, three bits of class and five of detail.
type Code uint8

// The codes that are used here (RFC 7252 §12.1, RFC 7959 §2.9, RFC 8516).
const (
	Empty  Code = 0
	GET    Code = 1
	POST   Code = 2
	PUT    Code = 3
	DELETE Code = 4

	Changed  Code = 2<<5 | 4
	Content  Code = 2<<5 | 5
	Continue Code = 2<<5 | 31

	BadRequest        Code = 4 << 5
	Unauthorized      Code = 4<<5 | 1
	BadOption         Code = 4<<5 | 2
	Forbidden         Code = 4<<5 | 3
	NotFound          Code = 4<<5 | 4
	MethodNotAllowed  Code = 4<<5 | 5
	NotAcceptable     Code = 4<<5 | 6
	Incomplete        Code = 4<<5 | 8
	TooLarge          Code = 4<<5 | 13
	UnsupportedFormat Code = 4<<5 | 15
	TooManyRequests   Code = 4<<5 | 29

	Internal     Code = 5 << 5
	Unavailable  Code = 5<<5 | 3
	ProxyingNone Code = 5<<5 | 5
)

// Class returns the code's class: 0 of requests, 2, 4 and 5 of responses.
func (c Code) Class() int { return int(c >> 5) }

// String returns the code as it is written: 2.04.
func (c Code) String() string {
	detail := strconv.Itoa(int(c & 31))
	if len(detail) == 1 {
		detail = "0" + detail
	}
	return strconv.Itoa(c.Class()) + "." + detail
}

// LinkFormat is the Content-Format of RFC 6690.
const LinkFormat = 40

// Message is a message that was read. It is good as long as its datagram is.
type Message struct {
	Type    Type
	Code    Code
	ID      uint16
	Token   []byte
	Payload []byte
	// Bad is an option of a request that must be understood and is not (RFC 7252 §5.4.1); 0: there is none.
	Bad uint16
	// Proxy says that the request is to be passed on to somewhere else.
	Proxy bool

	options message.Options
}

// Errors of Read.
var (
	// ErrOther: it is no message of this version of CoAP, which is to be ignored (RFC 7252 §3).
	ErrOther = errors.New("it is no CoAP message")
	// ErrFormat: it begins as one and has a format error (RFC 7252 §3). Type, Code and ID are known.
	ErrFormat = errors.New("the message has a format error")
)

// maxOptions is how many options a message may have.
const maxOptions = 40

// rule is what is allowed of an option that is understood (RFC 7252 table 4, RFC 7959 table 1, RFC 7967, RFC 9175).
type rule struct {
	shortest, longest int
	again             bool // it may be there more than once
}

var rules = map[message.OptionID]rule{
	message.URIHost:       {1, 255, false},
	message.URIPort:       {0, 2, false},
	message.URIPath:       {0, 255, true},
	message.ContentFormat: {0, 2, false},
	message.URIQuery:      {0, 255, true},
	message.Accept:        {0, 2, false},
	message.Block2:        {0, 3, false},
	message.Block1:        {0, 3, false},
	message.ProxyURI:      {1, 1034, false},
	message.ProxyScheme:   {1, 255, false},
	message.Size1:         {0, 4, false},
	message.NoResponse:    {0, 1, false},
	requestTag:            {0, 8, true},
}

// requestTag is an option that go-coap does not name (RFC 9175 §3.2).
const requestTag message.OptionID = 292

// anything lets the codec return every option as it is: what is not understood has to be known.
var anything = map[message.OptionID]message.OptionDef{}

// Read reads a datagram. What m had for options is used again.
func Read(data []byte, m *Message) error {
	*m = Message{options: m.options[:0]}
	if len(data) < 4 || data[0]>>6 != 1 {
		return ErrOther
	}
	m.Type, m.Code, m.ID = Type(data[0]>>4&3), Code(data[1]), binary.BigEndian.Uint16(data[2:])
	token, rest := int(data[0]&15), data[4:]
	if token > message.MaxTokenSize || token > len(rest) { // 9 to 15 are reserved
		return ErrFormat
	}
	m.Token, rest = rest[:token], rest[token:]
	if m.Code == Empty && len(data) > 4 { // RFC 7252 §4.1
		return ErrFormat
	}
	if m.options == nil {
		m.options = make(message.Options, 0, maxOptions)
	}
	n, err := m.options.Unmarshal(rest, anything)
	if err != nil {
		return ErrFormat
	}
	m.Payload = rest[n:]
	if n > 0 && len(m.Payload) == 0 && endsWithMarker(rest[:n], m.options) { // RFC 7252 §3: a marker without a payload
		return ErrFormat
	}
	m.check()
	return nil
}

// endsWithMarker reports whether what the codec read ends with the marker of a payload, rather than with the value of an
// option.
func endsWithMarker(read []byte, options message.Options) bool {
	if read[len(read)-1] != 0xff {
		return false
	}
	if len(options) == 0 {
		return true
	}
	last := options[len(options)-1].Value
	// The value of the last option, if it has one, ends where the options do.
	return len(last) == 0 || &last[len(last)-1] != &read[len(read)-1]
}

// check drops the options that are to be ignored, and notes the first that must not be (RFC 7252 §5.4.1, §5.4.3, §5.4.5).
func (m *Message) check() {
	kept := m.options[:0]
	var before message.OptionID
	for _, o := range m.options {
		r, known := rules[o.ID]
		ok := known && len(o.Value) >= r.shortest && len(o.Value) <= r.longest && (r.again || o.ID != before)
		before = o.ID
		switch {
		case ok:
			kept = append(kept, o)
			m.Proxy = m.Proxy || o.ID == message.ProxyURI || o.ID == message.ProxyScheme
		case o.ID&1 == 1 && m.Bad == 0:
			m.Bad = uint16(o.ID)
		}
	}
	m.options = kept
}

// Path calls yield with each segment of the path, until it returns false.
func (m *Message) Path(yield func(segment []byte) bool) { m.each(message.URIPath, yield) }

// Query returns the value of the query's parameter of this name, nil if there is none.
func (m *Message) Query(name string) []byte {
	var value []byte
	m.each(message.URIQuery, func(part []byte) bool {
		if len(part) > len(name) && part[len(name)] == '=' && string(part[:len(name)]) == name {
			value = part[len(name)+1:]
			return false
		}
		return true
	})
	return value
}

func (m *Message) each(id message.OptionID, yield func(value []byte) bool) {
	for _, o := range m.options {
		if o.ID == id && !yield(o.Value) {
			return
		}
	}
}

// uint returns the value of an option that is a number.
func (m *Message) uint(id message.OptionID) (n uint32, ok bool) {
	for _, o := range m.options {
		if o.ID == id {
			for _, b := range o.Value {
				n = n<<8 | uint32(b)
			}
			return n, true
		}
	}
	return 0, false
}

// ContentFormat returns the number of the payload's format, if it has one.
func (m *Message) ContentFormat() (number int, ok bool) {
	n, ok := m.uint(message.ContentFormat)
	return int(n), ok
}

// Accept returns the number of the format that is wanted, if one is.
func (m *Message) Accept() (number int, ok bool) {
	n, ok := m.uint(message.Accept)
	return int(n), ok
}

// Size1 returns how long the whole body is said to be; 0: it is not.
func (m *Message) Size1() int {
	n, _ := m.uint(message.Size1)
	return int(n)
}

// Unwanted reports whether the sender does not want to hear of this code (RFC 7967 §2.1).
func (m *Message) Unwanted(c Code) bool {
	n, _ := m.uint(message.NoResponse)
	return c.Class() > 0 && n>>(c.Class()-1)&1 == 1
}

// Block returns which block of a body the payload is (RFC 7959 §2.2); false: it is the whole body.
func (m *Message) Block() (b Block, ok bool) {
	n, ok := m.uint(message.Block1)
	return Block(n), ok
}

// Whole calls add with what all blocks of one body have in common (RFC 7959 §2.5): where it goes, and its tag.
func (m *Message) Whole(add func([]byte)) {
	for _, o := range m.options {
		switch o.ID {
		case message.URIPath, message.URIQuery, message.ContentFormat, requestTag:
			add([]byte{byte(o.ID), byte(o.ID >> 8), byte(len(o.Value))})
			add(o.Value)
		default:
		}
	}
}

// Block is the value of a Block1 option: its number, whether more follow, and the exponent of its size.
type Block uint32

// Number returns the block's number, from 0.
func (b Block) Number() int { return int(b >> 4) }

// More reports whether more blocks follow.
func (b Block) More() bool { return b>>3&1 == 1 }

// Size returns the size of the blocks; 0: the exponent is the one that is reserved.
func (b Block) Size() int {
	if b&7 == 7 {
		return 0
	}
	return 16 << (b & 7)
}
