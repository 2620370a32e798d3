package dtls

import (
	"bytes"
	"encoding/binary"
)

// The types of handshake messages (RFC 5246 §7.4, RFC 6347 §4.3.2).
const (
	clientHelloType       = 1
	serverHelloType       = 2
	helloVerifyType       = 3
	serverHelloDoneType   = 14
	clientKeyExchangeType = 16
	finishedType          = 20
)

// The extensions that are understood.
const (
	extensionEMS           = 23
	extensionCID           = 54
	extensionRenegotiation = 0xff01
	scsv                   = 0x00ff // stands for an empty extensionRenegotiation (RFC 5746 §3.3)
)

const messageHeader = 12

// message is a handshake message, not in fragments.
type message struct {
	kind byte
	seq  uint16
	body []byte
	raw  []byte // with its header
}

// parseMessage reads the first handshake message of a record (RFC 6347 §4.2.2).
func parseMessage(data []byte) (m message, rest []byte, ok bool) {
	if len(data) < messageHeader {
		return m, nil, false
	}
	length := int(data[1])<<16 | int(data[2])<<8 | int(data[3])
	offset := int(data[6])<<16 | int(data[7])<<8 | int(data[8])
	part := int(data[9])<<16 | int(data[10])<<8 | int(data[11])
	if offset != 0 || part != length || length > len(data)-messageHeader {
		return m, nil, false
	}
	m = message{kind: data[0], seq: binary.BigEndian.Uint16(data[4:]), body: data[messageHeader : messageHeader+length], raw: data[:messageHeader+length]}
	return m, data[messageHeader+length:], true
}

// appendMessage appends a handshake message.
func appendMessage(dst []byte, kind byte, seq uint16, body []byte) []byte {
	n := len(body)
	dst = append(dst, kind, byte(n>>16), byte(n>>8), byte(n))
	dst = binary.BigEndian.AppendUint16(dst, seq)
	dst = append(dst, 0, 0, 0, byte(n>>16), byte(n>>8), byte(n))
	return append(dst, body...)
}

// clientHello is what a ClientHello says (RFC 5246 §7.4.1.2, RFC 6347 §4.2.1).
type clientHello struct {
	random, session, cookie []byte
	suite                   suite // the one that is taken; 0: there is none
	ems                     bool
	renegotiation           bool // it wants to hear that there is none
	cid                     []byte
	hasCID                  bool

	before, after []byte // what stands before and behind the cookie, but for extensions: it stays the same (RFC 6347 §4.2.1)
}

// maxRemoteCID is the longest connection identifier that a client may want to be named by: it goes with every answer.
const maxRemoteCID = 32

// parseHello reads a ClientHello.
func parseHello(data []byte) (h clientHello, ok bool) {
	r := reader{data}
	version := r.take(2)
	h.random = r.take(32)
	h.session = r.vector(1)
	h.before = data[:len(data)-len(r.data)]
	h.cookie = r.vector(1)
	h.after = r.data
	suites, compressions := r.vector(2), r.vector(1)
	h.after = h.after[:max(len(h.after)-len(r.data), 0)]
	if r.failed() || version[0] != 0xfe || version[1] > 0xfd || len(suites)%2 != 0 || bytes.IndexByte(compressions, 0) < 0 {
		return h, false
	}
	gcm := false
	for ; len(suites) > 0; suites = suites[2:] {
		switch s := binary.BigEndian.Uint16(suites); suite(s) {
		case pskCCM8:
			h.suite = pskCCM8
		case pskGCM:
			gcm = true
		case scsv:
			h.renegotiation = true
		}
	}
	if h.suite == 0 && gcm {
		h.suite = pskGCM
	}
	if len(r.data) == 0 {
		return h, true
	}
	all := reader{r.vector(2)}
	for len(all.data) > 0 {
		kind, value := all.take(2), all.vector(2)
		if all.failed() {
			return h, false
		}
		switch binary.BigEndian.Uint16(kind) {
		case extensionEMS:
			h.ems = true
		case extensionRenegotiation:
			h.renegotiation = true
		case extensionCID:
			v := reader{value}
			h.cid, h.hasCID = v.vector(1), true
			if v.failed() || len(v.data) > 0 {
				return h, false
			}
			if len(h.cid) > maxRemoteCID {
				h.cid, h.hasCID = nil, false
			}
		}
	}
	return h, !r.failed() && len(r.data) == 0
}

// serverHello returns what is answered to it (RFC 5246 §7.4.1.3).
func (h *clientHello) serverHello(random []byte, id cid) []byte {
	b := append([]byte{0xfe, 0xfd}, random...)
	b = append(b, 0) // no session to be resumed
	b = binary.BigEndian.AppendUint16(b, uint16(h.suite))
	b = append(b, 0) // no compression
	var x []byte
	if h.ems {
		x = append(x, 0, extensionEMS, 0, 0)
	}
	if h.renegotiation {
		x = append(x, 0xff, 0x01, 0, 1, 0)
	}
	if h.hasCID {
		x = append(append(x, 0, extensionCID, 0, cidLength+1, cidLength), id[:]...)
	}
	if len(x) > 0 {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(x))), x...)
	}
	return b
}

// reader reads the parts of a message. After one that is not there its data is nil, and it has failed.
type reader struct{ data []byte }

func (r *reader) failed() bool { return r.data == nil }

func (r *reader) take(n int) []byte {
	if n > len(r.data) {
		r.data = nil
		return nil
	}
	part := r.data[:n]
	r.data = r.data[n:]
	return part
}

// vector reads a part behind its length, of so many bytes.
func (r *reader) vector(size int) []byte {
	n := 0
	for _, b := range r.take(size) {
		n = n<<8 | int(b)
	}
	return r.take(n)
}
