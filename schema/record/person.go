package record

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/schema"
)

// Role is what a person may do.
type Role string

// The roles.
const (
	Operator Role = "operator" // runs the installation
	Admin    Role = "admin"    // of one provider: all that is its own
	Viewer   Role = "viewer"   // of one provider: looks, and changes nothing
)

// Person is somebody who signs in with a password.
type Person struct {
	Version  int       `json:"version"`
	Name     string    `json:"name"` // to sign in with; no two differ in case alone
	Role     Role      `json:"role"`
	Provider string    `json:"provider,omitempty"` // of all but an Operator
	Of       time.Time `json:"of,omitzero"`        // when that provider was made: one of the same name made later is another
	Hash     string    `json:"hash,omitempty"`     // of the password, Argon2id; empty: no password opens anything
	Created  time.Time `json:"created"`
	Changed  time.Time `json:"changed"`        // when the password was set last
	Since    time.Time `json:"since,omitzero"` // sessions that began before are ended
}

// CheckPersonName returns an Invalid error unless a person may be called so.
func CheckPersonName(name string) error {
	n := utf8.RuneCountInString(name)
	if n < 1 || n > 64 || !utf8.ValidString(name) || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return schema.Errorf(schema.Invalid, "%q is no name to sign in with", name).WithNext("choose 1 to 64 printable characters without white space at the ends")
	}
	return nil
}

// LinkKind says what a link is for.
type LinkKind string

// The kinds of links.
const (
	SignIn LinkKind = ""       // signs in without a password
	Invite LinkKind = "invite" // lets somebody new choose a name and a password
	Reset  LinkKind = "reset"  // lets a person choose a new password
)

// Link is a one-time link. Its key is the SHA-256 of its secret, hex.
type Link struct {
	Version  int       `json:"version"`
	Kind     LinkKind  `json:"kind,omitempty"`
	Role     Role      `json:"role"`
	Provider string    `json:"provider,omitempty"` // of all but an Operator
	Person   string    `json:"person,omitempty"`   // whose password a Reset is of
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
}

// Token is an API token of a provider, or, without one, of the operators. Its key is the SHA-256 of its secret, hex.
type Token struct {
	Version  int       `json:"version"`
	Provider string    `json:"provider"`
	Name     string    `json:"name"`
	Scope    Scope     `json:"scope,omitempty"` // empty: from before there were any, which is ScopeWrite
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"` // zero: never
	Used     time.Time `json:"used,omitzero"`    // last, to some minutes; zero: never
}

// Scope is what an API token opens.
type Scope string

// The scopes, each with all that is before it.
const (
	ScopeRead   Scope = "read"   // looks
	ScopeWrite  Scope = "write"  // changes what the provider has, such as keys of gateways and what was refused
	ScopeManage Scope = "manage" // decides who else may: people and tokens
	// ScopeOperate is that of the operators' tokens, which are no provider's, and of those alone: it opens all of every
	// provider, and runs the installation.
	ScopeOperate Scope = "operate"
)

// Scopes are all that a provider's tokens may have, the least first.
var Scopes = []Scope{ScopeRead, ScopeWrite, ScopeManage}

// ScopeOf returns the token's scope.
func (t Token) ScopeOf() Scope {
	if t.Scope == "" {
		return ScopeWrite
	}
	return t.Scope
}

// Over reports whether the token has expired.
func (t Token) Over(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }
