package api

import (
	"time"

	"berth/schema/record"
)

// Token is an API token without its secret.
type Token struct {
	Name    string       `json:"name"`
	Scope   record.Scope `json:"scope"`
	Created time.Time    `json:"created"`
	Expires *time.Time   `json:"expires"` // null: never
	Used    *time.Time   `json:"used"`    // last, to ten minutes; null: never
}

// Tokens is the answer of /tokens.
type Tokens struct {
	Tokens []Token `json:"tokens"`
}

// TokenRequest asks for an API token.
type TokenRequest struct {
	Name    string       `json:"name"`
	Scope   record.Scope `json:"scope"`
	Expires *time.Time   `json:"expires,omitempty"` // absent: never
}

// NewToken is an API token with its secret, which is shown once.
type NewToken struct {
	Token
	Secret string `json:"token"`
}

// Person is somebody who signs in with a password.
type Person struct {
	Name    string      `json:"name"`
	Role    record.Role `json:"role"`
	Created time.Time   `json:"created"`
	Changed time.Time   `json:"changed"` // when the password was set last
}

// People is the answer of /people.
type People struct {
	People []Person `json:"people"`
}

// RoleRequest names a role, of an invitation or of a person.
type RoleRequest struct {
	Role record.Role `json:"role"`
}

// Link is a one-time link to pass on; it is shown once.
type Link struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// Changes is the answer of /audit: the newest changes, the newest first.
type Changes struct {
	Changes []record.Change `json:"changes"`
}

// Done is the answer to a change that has nothing to show.
type Done struct {
	Done bool `json:"done"`
}
