// Package credentials makes, keeps and checks Berth's secrets.
//
// It gives keys for people and gateways, the hash under which a key is stored, sealing for the few secrets that must be
// shown again, and the signature by which one of our programs trusts a request of another. Who may do what is left to
// its callers. Its one invariant: nothing that it is given to check is compared in a time that depends on the secret.
package credentials

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"strings"
)

// keyBytes is how much of a key is random: 160 bits, 32 characters without padding.
const keyBytes = 20

// NewKey returns a fresh key: the prefix, such as "bk_", and 32 characters of a-z and 2-7 that hold 160 random bits.
func NewKey(prefix string) string {
	var b [keyBytes]byte
	_, _ = rand.Read(b[:]) // it never returns an error
	return prefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// Hash returns the SHA-256 of the key in lower-case hex: the form in which keys are stored. Keys are long and random, so
// a plain hash is enough.
func Hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// Matches reports whether hash is the [Hash] of key, in constant time. An empty key or hash matches nothing.
func Matches(key, hash string) bool {
	if key == "" || len(hash) != 2*sha256.Size {
		return false
	}
	var got [2 * sha256.Size]byte
	sum := sha256.Sum256([]byte(key))
	hex.Encode(got[:], sum[:])
	return subtle.ConstantTimeCompare(got[:], []byte(hash)) == 1
}
