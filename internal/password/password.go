// Package password says which passwords may be chosen, and hashes and checks them with Argon2id (RFC 9106), a few at a
// time: each takes 19 MiB and some 30 ms of a core, and whoever may try passwords must not take all memory and cores.
//
// Its one invariant: an unknown person's password takes as long to check as a known one's.
package password

import (
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"

	"berth/schema"
)

// Bounds of a password's length, in characters. It is the only factor, so it must be long (NIST SP 800-63B §3.1.1.2); any
// characters will do.
const (
	Least = 15
	Most  = 256
)

// cost are the parameters of new hashes, those that OWASP's cheat sheet begins with. A hash names its own.
var cost = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// Hasher hashes and checks passwords, so many at a time. Its methods may be called concurrently.
type Hasher struct {
	running chan struct{}
	waiting chan struct{}
}

// NewHasher returns a hasher that does atOnce hashes at a time and lets so many callers wait; it refuses more.
func NewHasher(atOnce, waiting int) *Hasher {
	return &Hasher{running: make(chan struct{}, atOnce), waiting: make(chan struct{}, atOnce+waiting)}
}

// Hash returns the hash of a password, in the form of the reference implementation. Limited says that too many are
// waiting already.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	done, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	hash, err := argon2id.CreateHash(password, cost)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return hash, nil
}

// nobody is a hash that no password has.
const nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Matches reports whether the password has the hash. An empty hash is nobody's, and is found so as slowly.
func (h *Hasher) Matches(ctx context.Context, password, hash string) (bool, error) {
	done, err := h.enter(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	known := hash != ""
	if !known {
		hash = nobody
	}
	if utf8.RuneCountInString(password) > Most {
		password, known = "", false
	}
	matches, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("check a password: %w", err)
	}
	return matches && known, nil
}

// enter waits for a place, and returns what gives it back.
func (h *Hasher) enter(ctx context.Context) (done func(), err error) {
	select {
	case h.waiting <- struct{}{}:
	default:
		return nil, schema.Errorf(schema.Limited, "too many sign in at this moment").WithNext("try again in a few seconds")
	}
	select {
	case h.running <- struct{}{}:
		return func() { <-h.running; <-h.waiting }, nil
	case <-ctx.Done():
		<-h.waiting
		return nil, ctx.Err()
	}
}

// Check returns an Invalid error unless the password may be chosen. Words are what is easily guessed of this person and
// installation: the password must not be made of them.
func Check(password string, words ...string) error {
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return schema.Errorf(schema.Invalid, "the password is no text")
	case n < Least || n > Most:
		return schema.Errorf(schema.Invalid, "the password has %d characters, not %d to %d", n, Least, Most).WithNext("a few words that belong together only for you are easily kept in mind")
	case guessed(password, words):
		return schema.Errorf(schema.Invalid, "the password is one that is guessed first").WithNext("choose something else, such as a few words that do not belong together")
	}
	return nil
}

// common are what passwords that are guessed first are made of, this length or not.
var common = []string{
	"password", "passwort", "passw0rd", "welcome", "administrator", "admin", "qwertyuiop", "qwerty", "asdfghjkl", "asdf", "zxcvbnm",
	"1q2w3e4r5t", "1qaz2wsx3edc", "q1w2e3r4t5", "letmein", "iloveyou", "monkey", "dragon", "sunshine", "princess", "football",
	"baseball", "superman", "trustno1", "changeme", "secret", "login", "master", "hello", "freedom", "whatever", "abc123", "woaini",
	"mima", "operator", "viewer", "berth", "sensor", "gateway", "provider",
}

// guessed reports whether little is left of the password without what is easily guessed: known words, runs such as 1234,
// and characters that come again.
func guessed(password string, words []string) bool {
	rest := strings.ToLower(password)
	for _, w := range append(append([]string{}, words...), common...) {
		if w = strings.ToLower(w); utf8.RuneCountInString(w) >= 3 {
			rest = strings.ReplaceAll(rest, w, "")
		}
	}
	seen := map[rune]bool{}
	var before rune
	for _, c := range rest {
		step := c - before
		if before = c; unicode.IsSpace(c) || step >= -1 && step <= 1 {
			continue // goes on a run
		}
		seen[c] = true
	}
	return len(seen) < 6
}
