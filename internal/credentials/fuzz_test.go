package credentials

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"berth/schema"
)

// FuzzOpen: nothing is opened that was not sealed with the secret.
func FuzzOpen(f *testing.F) {
	secret := bytes.Repeat([]byte{7}, SecretSize)
	sealed, err := Seal(secret, []byte("key"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed[:len(sealed)-1])
	f.Add([]byte{sealVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := Open(secret, data)
		if bytes.Equal(data, sealed) {
			return // it came to the one byte that the seed lacks
		}
		if !schema.Is(err, schema.Invalid) {
			t.Fatalf("%x was opened as %q, with error %v", data, plain, err)
		}
	})
}

// FuzzVerify: no request is let in that was not signed with the token, whatever its signature says.
func FuzzVerify(f *testing.F) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := httptest.NewRequest(http.MethodGet, "/a?b=c", http.NoBody)
	Sign(r, "another token", now)
	f.Add(r.Header.Get(SignatureHeader))
	f.Add(".")
	f.Add("1767225600000.")
	f.Fuzz(func(t *testing.T, signature string) {
		r := httptest.NewRequest(http.MethodGet, "/a?b=c", http.NoBody)
		r.Header.Set(SignatureHeader, signature)
		if err := Verify(r, "token", now); !schema.Is(err, schema.Unauthorized) {
			t.Fatalf("%q: %v", signature, err)
		}
	})
}
