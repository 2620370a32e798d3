package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"berth/internal/credentials"
	"berth/internal/httpserver"
	"berth/schema"
	"berth/schema/record"
)

// sessionLife is how long a sign-in lasts.
const sessionLife = 7 * 24 * time.Hour

// What a session holds.
const (
	sessionPerson   = "person"   // who signed in with a password; their record says the rest
	sessionRole     = "role"     // of who signed in by a link alone
	sessionProvider = "provider" // and so has no record
	sessionCreated  = "created"  // when the provider was: one of the same name made later is another
	sessionForm     = "form"     // must come back with each form
	sessionBegun    = "begun"    // Unix nanoseconds
	sessionAddress  = "address"  // that it began from
	sessionAgent    = "agent"    // and with which browser
)

// visitor is who asks.
type visitor struct {
	role     record.Role  // empty: not signed in
	person   string       // their name; empty: came by a link, or by a token
	provider string       // of all but operators
	created  int64        // of the provider: when it was made
	form     string       // the session's form token
	session  string       // its key
	bearer   bool         // by API token, not by session
	scope    record.Scope // of the token
	token    string       // its name
}

// named returns what the visitor is called: a person's or a token's name, else the role of who came by a link.
func (v visitor) named() string {
	switch {
	case v.bearer:
		return v.token
	case v.person == "":
		return string(v.role)
	default:
		return v.person
	}
}

// sees reports whether the visitor may see an active provider.
func (v visitor) sees(p *record.Provider) bool {
	switch {
	case v.role == record.Operator:
		return true
	case v.role == "" || v.provider != p.Name:
		return false
	default:
		return v.created == p.Created.UnixNano()
	}
}

// may returns the most that the visitor may do with what they see.
func (v visitor) may() access {
	switch {
	case v.bearer && v.role == record.Operator:
		return mayOperate
	case v.bearer && v.scope == record.ScopeManage:
		return mayManage
	case v.bearer && v.scope == record.ScopeWrite:
		return mayWrite
	case v.bearer:
		return mayRead
	case v.role == record.Operator:
		return mayOperate
	case v.role == record.Admin:
		return mayManage
	case v.role == record.Viewer:
		return mayRead
	default:
		return anybody
	}
}

// called returns what the visitor is, for a person.
func (v visitor) called() string {
	if v.bearer {
		return "a token of scope " + string(v.scope)
	}
	return "the role " + string(v.role)
}

// visitorOf finds out who asks: by API token where that is allowed, else by session. A token that is wrong is an error,
// a session that is not there is a visitor who is not signed in.
func (w *Web) visitorOf(r *http.Request, bearer bool) (visitor, context.Context, error) {
	if given := r.Header.Get("Authorization"); bearer && given != "" {
		v, err := w.tokenVisitor(r.Context(), given)
		return v, r.Context(), err
	}
	var token string
	if c, err := r.Cookie(w.cookieName(r)); err == nil && len(c.Value) <= 100 {
		token = c.Value
	}
	ctx, err := w.sessions.Load(r.Context(), token)
	if err != nil {
		return visitor{}, r.Context(), err
	}
	v := visitor{
		person: w.sessions.GetString(ctx, sessionPerson), form: w.sessions.GetString(ctx, sessionForm), session: sessionKey(token),
		role: record.Role(w.sessions.GetString(ctx, sessionRole)), provider: w.sessions.GetString(ctx, sessionProvider),
		created: w.sessions.GetInt64(ctx, sessionCreated),
	}
	if v.person == "" {
		return v, ctx, nil
	}
	p, _, err := w.book.Person(ctx, v.person)
	switch begun := w.sessions.GetInt64(ctx, sessionBegun); {
	case schema.Is(err, schema.NotFound), err == nil && begun < p.Since.UnixNano() && !p.Since.IsZero():
		return visitor{}, ctx, nil // whoever it was is no longer here
	case err != nil:
		return visitor{}, ctx, err
	}
	v.role, v.provider, v.created = p.Role, p.Provider, p.Of.UnixNano()
	return v, ctx, nil
}

func (w *Web) tokenVisitor(ctx context.Context, header string) (visitor, error) {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	t, err := w.book.Token(ctx, strings.TrimSpace(token))
	if err != nil {
		return visitor{}, err
	}
	v := visitor{role: record.Admin, provider: t.Provider, bearer: true, scope: t.ScopeOf(), token: t.Name}
	if t.Provider == "" && t.Scope == record.ScopeOperate {
		v.role = record.Operator
	}
	if p, err := w.dir.provider(t.Provider); err == nil && !t.Created.Before(p.Created) { // else it is of an earlier one of that name
		v.created = p.Created.UnixNano()
	}
	return v, nil
}

// signIn begins a new session for a person, or for whom a link was made.
func (w *Web) signIn(rw http.ResponseWriter, r *http.Request, who visitor) error {
	ctx := r.Context()
	if err := w.sessions.Clear(ctx); err != nil {
		return err
	}
	if err := w.sessions.RenewToken(ctx); err != nil { // a token known before is worth nothing after
		return err
	}
	w.sessions.Put(ctx, sessionForm, credentials.NewKey(""))
	w.sessions.Put(ctx, sessionBegun, w.now().UnixNano())
	w.sessions.Put(ctx, sessionAddress, httpserver.HostOf(r.RemoteAddr))
	w.sessions.Put(ctx, sessionAgent, r.UserAgent()[:min(len(r.UserAgent()), 200)])
	if w.sessions.Put(ctx, sessionPerson, who.person); who.person == "" {
		w.sessions.Put(ctx, sessionRole, string(who.role))
		w.sessions.Put(ctx, sessionProvider, who.provider)
		w.sessions.Put(ctx, sessionCreated, who.created)
	}
	token, expiry, err := w.sessions.Commit(ctx)
	if err != nil {
		return err
	}
	w.setCookie(rw, r, w.cookieName(r), token, expiry)
	return nil
}

// signOut ends the session.
func (w *Web) signOut(rw http.ResponseWriter, r *http.Request) error {
	if err := w.sessions.Destroy(r.Context()); err != nil {
		return err
	}
	w.setCookie(rw, r, w.cookieName(r), "", time.Unix(1, 0))
	return nil
}

// cookieName returns the name of the session's cookie: by TLS one that only this host can have set, and only by TLS.
func (w *Web) cookieName(r *http.Request) string {
	if httpserver.IsHTTPS(r) {
		return "__Host-" + w.cookie
	}
	return w.cookie
}

func (w *Web) setCookie(rw http.ResponseWriter, r *http.Request, name, value string, expiry time.Time) {
	http.SetCookie(rw, &http.Cookie{
		Name: name, Value: value, Path: "/", Expires: expiry, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: httpserver.IsHTTPS(r),
	})
}
