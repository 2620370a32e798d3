package credentials

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"berth/schema"
)

// SignatureHeader carries the signature of a request: the time it was signed at in Unix milliseconds, a point, and the
// HMAC-SHA256 in hex, keyed with the token, over version, time, method, escaped path and raw query, a line each.
const SignatureHeader = "Berth-Signature"

// SignatureAge is how far the time of a signature may lie from the verifier's own, either way.
const SignatureAge = 60 * time.Second

// Sign signs the request with the token. What is signed is method, path, query and time, not the body: use it for
// requests that ask.
func Sign(r *http.Request, token string, now time.Time) {
	at := strconv.FormatInt(now.UnixMilli(), 10)
	r.Header.Set(SignatureHeader, at+"."+hex.EncodeToString(signature(r, token, at)))
}

// Verify returns an Unauthorized error unless the request was signed with the token within SignatureAge of now.
func Verify(r *http.Request, token string, now time.Time) error {
	at, sum, ok := strings.Cut(r.Header.Get(SignatureHeader), ".")
	if !ok || token == "" {
		return schema.Errorf(schema.Unauthorized, "the request is not signed")
	}
	got, err := hex.DecodeString(sum)
	if err != nil || !hmac.Equal(got, signature(r, token, at)) {
		return schema.Errorf(schema.Unauthorized, "the request's signature is wrong")
	}
	millis, err := strconv.ParseInt(at, 10, 64)
	if err != nil || now.Sub(time.UnixMilli(millis)).Abs() > SignatureAge {
		return schema.Errorf(schema.Unauthorized, "the request's signature is too old, or the clocks differ by more than %v", SignatureAge)
	}
	return nil
}

func signature(r *http.Request, token, at string) []byte {
	method := r.Method
	if method == "" {
		method = http.MethodGet // as a client's request means it
	}
	mac := hmac.New(sha256.New, []byte(token))
	for _, line := range []string{"berth1", at, method, r.URL.EscapedPath(), r.URL.RawQuery} {
		_, _ = mac.Write([]byte(line)) // it never returns an error
		_, _ = mac.Write([]byte{'\n'})
	}
	return mac.Sum(nil)
}
