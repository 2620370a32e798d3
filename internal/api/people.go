package api

import (
	"net/http"
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

// Session is where somebody is signed in.
type Session struct {
	ID      string    `json:"id"`
	Person  string    `json:"person"` // empty: came by a link, and has no name
	Address string    `json:"address"`
	Agent   string    `json:"agent"` // the browser, as it calls itself
	Begun   time.Time `json:"begun"`
	Used    time.Time `json:"used"` // last, to ten minutes
}

// Sessions is the answer of /sessions, the newest first.
type Sessions struct {
	Sessions []Session `json:"sessions"`
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

// peopleOf is what can be asked about the people and tokens of a provider, or of the operators.
func peopleOf(house bool) []Operation {
	const get, post, remove = http.MethodGet, http.MethodPost, http.MethodDelete
	of := ""
	if house {
		of = ", of operators"
	}
	all := []Operation{
		{Method: get, Path: "/tokens", Summary: "API tokens, without their secrets" + of, Answer: Tokens{}},
		{Method: post, Path: "/tokens", Summary: "Make an API token; its secret is shown once" + of, Body: TokenRequest{}, Answer: NewToken{}},
		{Method: remove, Path: "/tokens/:token", Summary: "Revoke the API token of that name" + of, Answer: Done{}},
		{Method: get, Path: "/people", Summary: "People who sign in with a password" + of, Answer: People{}},
		{Method: post, Path: "/people", Summary: "Make an invitation, as a link to pass on" + of, Body: RoleRequest{}, Answer: Link{}},
		{Method: post, Path: "/people/:person/reset", Summary: "Make a link by which a person chooses a new password" + of, Answer: Link{}},
		{Method: post, Path: "/people/:person/sign-out", Summary: "End all sessions of a person" + of, Answer: Done{}},
		{Method: remove, Path: "/people/:person", Summary: "Remove a person; their sessions end" + of, Answer: Done{}},
		{Method: get, Path: "/sessions", Summary: "Where people are signed in" + of, Answer: Sessions{}},
		{Method: remove, Path: "/sessions/:session", Summary: "End a session" + of, Answer: Done{}},
		{Method: get, Path: "/audit", Summary: "Who changed what, the newest first; as csv all that is kept, the oldest first", Query: []string{"format"}, Answer: Changes{}},
	}
	for i := range all {
		all[i].Own, all[i].House = true, house
	}
	return all
}
