package dtls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/pion/dtls/v3/pkg/crypto/ccm"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
)

// The content types of records (RFC 5246 §6.2.1, RFC 9146 §4), and what alerts say (RFC 5246 §7.2).
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
	typeCID              = 25

	alertWarning     = 1
	alertFatal       = 2
	closeNotify      = 0
	handshakeFailure = 40
	accessDenied     = 49
	decryptError     = 51
)

// cidLength is how long the connection identifiers are that clients name us by.
const cidLength = 8

type cid [cidLength]byte

const recordHeader = 13

// record is a record as it came.
type record struct {
	kind   byte
	epoch  uint16
	number uint64 // of 48 bits
	cid    cid
	body   []byte
}

// parseRecord reads the first record of a datagram (RFC 6347 §4.1, RFC 9146 §4).
func parseRecord(data []byte) (r record, rest []byte, ok bool) {
	if len(data) < recordHeader || data[1] != 0xfe {
		return r, nil, false
	}
	r.kind, r.epoch = data[0], binary.BigEndian.Uint16(data[3:])
	if r.epoch > 0 && data[2] != 0xfd { // of 1.2, as it was agreed upon
		return r, nil, false
	}
	r.number = binary.BigEndian.Uint64(data[3:]) & (1<<48 - 1)
	at := recordHeader - 2
	if r.kind == typeCID {
		if len(data) < recordHeader+cidLength {
			return r, nil, false
		}
		copy(r.cid[:], data[at:])
		at += cidLength
	}
	n := int(binary.BigEndian.Uint16(data[at:]))
	at += 2
	if n > len(data)-at {
		return r, nil, false
	}
	r.body = data[at : at+n]
	return r, data[at+n:], true
}

// appendHeader appends a record's header.
func appendHeader(dst []byte, kind byte, epoch uint16, number uint64, remote []byte, length int) []byte {
	dst = append(dst, kind, 0xfe, 0xfd)
	dst = binary.BigEndian.AppendUint64(dst, uint64(epoch)<<48|number)
	dst = append(dst, remote...)
	return binary.BigEndian.AppendUint16(dst, uint16(length))
}

// keys are what records of epoch 1 are sealed and opened with.
type keys struct {
	local, remote     cipher.AEAD
	localIV, remoteIV []byte
}

// suite is a cipher suite.
type suite uint16

// The suites (RFC 6655 §3, RFC 5487 §3.1), in the order in which they are preferred.
const (
	pskCCM8 suite = 0xc0a8
	pskGCM  suite = 0x00a8
)

func (s suite) aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if s == pskCCM8 {
		return ccm.NewCCM(block, 8, 12)
	}
	return cipher.NewGCM(block)
}

// newKeys derives the keys of a session (RFC 5246 §6.3).
func newKeys(s suite, master, client, server []byte) (*keys, error) {
	e, err := prf.GenerateEncryptionKeys(master, client, server, 0, 16, 4, sha256.New)
	if err != nil {
		return nil, err
	}
	k := &keys{localIV: e.ServerWriteIV, remoteIV: e.ClientWriteIV}
	if k.local, err = s.aead(e.ServerWriteKey); err != nil {
		return nil, err
	}
	k.remote, err = s.aead(e.ClientWriteKey)
	return k, err
}

// explicitNonce is how many bytes of the nonce go with a record (RFC 5288 §3, RFC 6655 §3).
const explicitNonce = 8

var errRecord = errors.New("the record cannot be opened")

// openRecord opens a record of epoch 1 and returns what is within, and of which type that is.
func (k *keys) openRecord(r *record) (kind byte, plain []byte, err error) {
	n := len(r.body) - explicitNonce - k.remote.Overhead()
	if n < 0 {
		return 0, nil, errRecord
	}
	nonce := append(append(make([]byte, 0, 12), k.remoteIV...), r.body[:explicitNonce]...)
	var local []byte
	if r.kind == typeCID {
		local = r.cid[:]
	}
	plain, err = k.remote.Open(nil, nonce, r.body[explicitNonce:], additional(r.kind, r.epoch, r.number, local, n))
	if err != nil {
		return 0, nil, errRecord
	}
	if kind = r.kind; kind == typeCID { // RFC 9146 §4: the type is behind the content, and zeros behind that
		for len(plain) > 0 && plain[len(plain)-1] == 0 {
			plain = plain[:len(plain)-1]
		}
		if len(plain) == 0 {
			return 0, nil, errRecord
		}
		kind, plain = plain[len(plain)-1], plain[:len(plain)-1]
	}
	return kind, plain, nil
}

// additional returns what is authenticated beside the content (RFC 5246 §6.2.3.3, RFC 9146 §5.3).
func additional(kind byte, epoch uint16, number uint64, id []byte, length int) []byte {
	at := binary.BigEndian.AppendUint64(nil, uint64(epoch)<<48|number)
	var a []byte
	if kind == typeCID {
		a = append(a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, typeCID, byte(len(id)), typeCID, 0xfe, 0xfd)
		a = append(append(a, at...), id...)
	} else {
		a = append(at, kind, 0xfe, 0xfd)
	}
	return binary.BigEndian.AppendUint16(a, uint16(length))
}

// open opens a record and reports whether it is the newest. One that came before is refused (RFC 6347 §4.1.2.6).
func (s *Session) open(r *record) (kind byte, plain []byte, newest bool, err error) {
	if r.epoch != 1 || s.window.has(r.number) {
		return 0, nil, false, errRecord
	}
	if kind, plain, err = s.keys.openRecord(r); err != nil {
		return 0, nil, false, err
	}
	return kind, plain, s.window.add(r.number), nil
}

// seal appends a record of epoch 1.
func (s *Session) seal(dst []byte, kind byte, plain []byte) ([]byte, error) {
	s.mu.Lock()
	number := s.out
	s.out++
	s.mu.Unlock()
	if number >= 1<<48 {
		return dst, errors.New("the session is used up")
	}
	if len(s.remote) > 0 {
		plain = append(append(make([]byte, 0, len(plain)+1), plain...), kind)
		kind = typeCID
	}
	dst = appendHeader(dst, kind, 1, number, s.remote, explicitNonce+len(plain)+s.keys.local.Overhead())
	explicit := binary.BigEndian.AppendUint64(nil, 1<<48|number)
	dst = append(dst, explicit...)
	nonce := append(append(make([]byte, 0, 12), s.keys.localIV...), explicit...)
	return s.keys.local.Seal(dst, nonce, plain, additional(kind, 1, number, s.remote, len(plain))), nil
}

// window are the numbers of the records that came (RFC 6347 §4.1.2.6).
type window struct {
	next uint64 // one more than the highest
	seen uint64 // bit n: next-1-n came
}

func (w *window) has(number uint64) bool {
	if number >= w.next {
		return false
	}
	back := w.next - 1 - number
	return back >= 64 || w.seen>>back&1 == 1
}

// add notes a record, and reports whether it is the newest.
func (w *window) add(number uint64) bool {
	if number < w.next {
		w.seen |= 1 << (w.next - 1 - number)
		return false
	}
	if shift := number + 1 - w.next; shift < 64 {
		w.seen = w.seen<<shift | 1
	} else {
		w.seen = 1
	}
	w.next = number + 1
	return true
}
