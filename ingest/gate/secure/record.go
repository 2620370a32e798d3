package secure

import "berth/ingest/gate/intake"

// What is read here of TLS is the header of the first record [RFC 8446 §5.1, RFC 5246 §6.2.1]: its type, a version, and the
// length of what follows. crypto/tls reads all the rest.
const (
	recordHandshake = 0x16
	recordAlert     = 0x15
	recordHeader    = 5

	alertFatal          = 2
	alertRecordOverflow = 22 // RFC 8446 §6.2
	alertDecodeError    = 50
)

// maxHello is the longest first record that is taken, with its header. A ClientHello takes 200 to 600 bytes, and 1.8 KB with
// a share of a key for X25519MLKEM768. crypto/tls alone would keep up to 64 KB of a stranger's.
const maxHello = intake.SmallBuffer

// firstRecord returns how long the record is that begins so, with its header, or the alert by which it is refused. first is
// at least recordHeader bytes long.
func firstRecord(first []byte) (size int, refusal []byte) {
	size = recordHeader + int(first[3])<<8 + int(first[4])
	switch {
	case first[0] != recordHandshake, first[1] != 3, size == recordHeader:
		return 0, alert(alertDecodeError)
	case size > maxHello:
		return 0, alert(alertRecordOverflow)
	}
	return size, nil
}

// alert is a fatal alert, as every version understands it.
func alert(description byte) []byte {
	return []byte{recordAlert, 3, 1, 0, 2, alertFatal, description}
}
