package web

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/internal/people"
	"berth/schema"
	"berth/schema/record"
)

// tokensData is the page of the API tokens of a provider, or of the operators.
type tokensData struct {
	frame
	outcome
	Tokens []tokenRow
	Scopes []record.Scope
	Days   []int  // after which a new one may expire
	Made   string // the secret of one that was made just now; it is shown once
	Name   string // of that one, or as it was given
}

type tokenRow struct {
	record.Token
	Over bool // it has expired
}

// tokenDays are the spans that the page offers.
var tokenDays = []int{30, 90, 365}

func (w *Web) tokensPage(rw http.ResponseWriter, r *http.Request) error {
	return w.showTokens(rw, r, http.StatusOK, &tokensData{})
}

// tokensAt returns the tokens of the request's place.
func (w *Web) tokensAt(r *http.Request) ([]record.Token, error) {
	tokens, err := w.book.Tokens(r.Context(), placeOf(r))
	return slices.DeleteFunc(tokens, func(t record.Token) bool { return t.Created.Before(madeAt(r)) }), err
}

func (w *Web) showTokens(rw http.ResponseWriter, r *http.Request, status int, d *tokensData) error {
	tokens, err := w.tokensAt(r)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		t.Scope = t.ScopeOf()
		d.Tokens = append(d.Tokens, tokenRow{t, t.Over(w.now())})
	}
	d.Nav, d.Scopes, d.Days = "tokens", record.Scopes, tokenDays
	if placeOf(r) == "" {
		d.Scopes = []record.Scope{record.ScopeOperate}
	}
	return w.show(rw, r, status, "tokens", "tokens.title", d)
}

// tokensPost makes or revokes a token and shows the page with what became of it.
func (w *Web) tokensPost(rw http.ResponseWriter, r *http.Request) error {
	act, name := r.PostFormValue("act"), strings.TrimSpace(r.PostFormValue("name"))
	d := &tokensData{Name: name}
	note(r, act+" "+name)
	var err error
	switch act {
	case "make":
		t := record.Token{Provider: placeOf(r), Name: name, Scope: record.Scope(r.PostFormValue("scope"))}
		if t.Expires, err = w.expiry(r.PostFormValue("days")); err == nil {
			note(r, act+" "+name+" "+string(t.Scope))
			d.Made, err = w.book.NewToken(r.Context(), t)
		}
	case "revoke":
		err = w.book.RevokeToken(r.Context(), placeOf(r), name)
	default:
		err = schema.Errorf(schema.Invalid, "the form cannot be read").WithNext("load the page again")
	}
	status, err := d.settle(r, "tokens.done."+act, err)
	if err != nil {
		return err
	}
	return w.showTokens(rw, r, status, d)
}

// expiry returns when a token ends that lasts so many days; "" is never.
func (w *Web) expiry(days string) (time.Time, error) {
	if days == "" {
		return time.Time{}, nil
	}
	var n int
	if err := json.Unmarshal([]byte(days), &n); err != nil || n < 1 || n > 3650 {
		return time.Time{}, schema.Errorf(schema.Invalid, "%q is no number of days", days)
	}
	return w.now().UTC().AddDate(0, 0, n).Truncate(time.Second), nil
}

// readJSON reads a request's body, which may hold nothing else.
func readJSON(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil || d.More() {
		return schema.Errorf(schema.Invalid, "the body is not the JSON that is asked for").WithNext("see /api/v1/openapi.json").WithCause(err)
	}
	return nil
}

func (w *Web) tokensAPI(rw http.ResponseWriter, r *http.Request) error {
	tokens, err := w.tokensAt(r)
	if err != nil {
		return err
	}
	answer := api.Tokens{Tokens: []api.Token{}}
	for _, t := range tokens {
		answer.Tokens = append(answer.Tokens, tokenOf(t))
	}
	return httpserver.JSON(rw, http.StatusOK, answer)
}

func tokenOf(t record.Token) api.Token {
	return api.Token{Name: t.Name, Scope: t.ScopeOf(), Created: t.Created, Expires: timeOrNil(t.Expires), Used: timeOrNil(t.Used)}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (w *Web) newTokenAPI(rw http.ResponseWriter, r *http.Request) error {
	var ask api.TokenRequest
	if err := readJSON(r, &ask); err != nil {
		return err
	}
	note(r, ask.Name+" "+string(ask.Scope))
	t := record.Token{Provider: placeOf(r), Name: ask.Name, Scope: ask.Scope, Created: w.now().UTC()}
	if ask.Expires != nil {
		t.Expires = ask.Expires.UTC()
	}
	secret, err := w.book.NewToken(r.Context(), t)
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, api.NewToken{Token: tokenOf(t), Secret: secret})
}

func (w *Web) revokeTokenAPI(rw http.ResponseWriter, r *http.Request) error {
	if err := w.book.RevokeToken(r.Context(), placeOf(r), r.PathValue("token")); err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, api.Done{Done: true})
}

func (w *Web) peopleAPI(rw http.ResponseWriter, r *http.Request) error {
	list, err := w.peopleAt(r)
	if err != nil {
		return err
	}
	answer := api.People{People: []api.Person{}}
	for i := range list {
		p := &list[i]
		answer.People = append(answer.People, api.Person{Name: p.Name, Role: p.Role, Created: p.Created, Changed: p.Changed})
	}
	return httpserver.JSON(rw, http.StatusOK, answer)
}

// personAPI returns a handler that does one thing to the people of a provider.
func (w *Web) personAPI(act string) httpserver.Handler {
	return func(rw http.ResponseWriter, r *http.Request) error {
		var ask api.RoleRequest
		if act == "invite" || act == "role" {
			if err := readJSON(r, &ask); err != nil {
				return err
			}
		}
		note(r, strings.TrimSpace(act+" "+r.PathValue("person")))
		d := &peopleData{}
		if err := w.changePeople(r, act, r.PathValue("person"), ask.Role, d); err != nil {
			return err
		}
		if d.Link != "" {
			return httpserver.JSON(rw, http.StatusOK, api.Link{URL: d.Link, Expires: w.now().UTC().Add(people.LinkLife).Truncate(time.Second)})
		}
		return httpserver.JSON(rw, http.StatusOK, api.Done{Done: true})
	}
}
