package secure

import "testing"

// FuzzFirstRecord: what is taken fits the buffer, and what is not is refused with an alert.
func FuzzFirstRecord(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x02\x00\x01"))
	f.Add([]byte("\x16\x03\x01\xff\xff"))
	f.Fuzz(func(t *testing.T, first []byte) {
		if len(first) < recordHeader {
			return
		}
		size, refusal := firstRecord(first)
		switch {
		case refusal == nil && (size <= recordHeader || size > maxHello):
			t.Errorf("%x is taken with %d bytes", first, size)
		case refusal != nil && (size != 0 || len(refusal) != 7 || refusal[0] != recordAlert):
			t.Errorf("%x is refused by %x", first, refusal)
		}
	})
}
