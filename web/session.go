package web

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"

	"berth/internal/bus"
	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// sessionLife is how long a sign-in lasts.
const sessionLife = 7 * 24 * time.Hour

// What a session holds.
const (
	sessionRole     = "role"
	sessionProvider = "provider"
	sessionCreated  = "created" // when the provider was: one of the same name made later is another
	sessionForm     = "form"    // must come back with each form
)

// visitor is who asks.
type visitor struct {
	role     record.Role  // empty: not signed in
	provider string       // of all but operators
	created  int64        // of the provider, in a session
	form     string       // the session's form token
	bearer   bool         // by API token, not by session
	scope    record.Scope // of the token
}

// sees reports whether the visitor may see an active provider.
func (v visitor) sees(p *record.Provider) bool {
	switch {
	case v.role == record.Operator:
		return true
	case v.role == "" || v.provider != p.Name:
		return false
	default:
		return v.bearer || v.created == p.Created.UnixNano()
	}
}

// may returns the most that the visitor may do with what they see.
func (v visitor) may() access {
	switch {
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

// newSessions returns the manager of sessions, which keeps them in the bucket under hashes of their tokens.
func newSessions(b *bus.Bucket, now func() time.Time) *scs.SessionManager {
	// Not scs.New: that starts a store in memory whose goroutine cannot be stopped for sure.
	return &scs.SessionManager{
		Store: &sessionStore{bucket: b, now: now}, Codec: scs.GobCodec{}, Lifetime: sessionLife, HashTokenInStore: true,
	}
}

// sessionStore keeps sessions in a bucket: 8 bytes of expiry (Unix seconds, big-endian), then the session.
type sessionStore struct {
	bucket *bus.Bucket
	now    func() time.Time
}

var _ scs.CtxStore = (*sessionStore)(nil)

// FindCtx returns the session, or that there is none.
func (s *sessionStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	value, _, err := s.bucket.Get(ctx, token)
	switch {
	case schema.Is(err, schema.NotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case len(value) < 8 || s.now().Unix() >= int64(binary.BigEndian.Uint64(value)):
		return nil, false, nil
	}
	return value[8:], true, nil
}

// CommitCtx keeps the session until it expires.
func (s *sessionStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	value := binary.BigEndian.AppendUint64(nil, uint64(expiry.Unix()))
	_, err := s.bucket.Put(ctx, token, append(value, b...))
	return err
}

// DeleteCtx drops the session, or finds it gone.
func (s *sessionStore) DeleteCtx(ctx context.Context, token string) error {
	return s.bucket.Delete(ctx, token)
}

var errNoContext = errors.New("the session store needs a context")

// Find is not used: the manager prefers the methods with a context.
func (s *sessionStore) Find(string) ([]byte, bool, error) { return nil, false, errNoContext }

// Commit is not used.
func (s *sessionStore) Commit(string, []byte, time.Time) error { return errNoContext }

// Delete is not used.
func (s *sessionStore) Delete(string) error { return errNoContext }

// visitorOf finds out who asks: by API token where that is allowed, else by session. A token that is wrong is an error,
// a session that is not there is a visitor who is not signed in.
func (w *Web) visitorOf(r *http.Request, bearer bool) (visitor, context.Context, error) {
	if given := r.Header.Get("Authorization"); bearer && given != "" {
		v, err := w.tokenVisitor(r.Context(), given)
		return v, r.Context(), err
	}
	var token string
	if c, err := r.Cookie(w.cookie); err == nil && len(c.Value) <= 100 {
		token = c.Value
	}
	ctx, err := w.sessions.Load(r.Context(), token)
	if err != nil {
		return visitor{}, r.Context(), err
	}
	v := visitor{
		role: record.Role(w.sessions.GetString(ctx, sessionRole)), provider: w.sessions.GetString(ctx, sessionProvider),
		created: w.sessions.GetInt64(ctx, sessionCreated), form: w.sessions.GetString(ctx, sessionForm),
	}
	return v, ctx, nil
}

func (w *Web) tokenVisitor(ctx context.Context, header string) (visitor, error) {
	wrong := schema.Errorf(schema.Unauthorized, "the API token is unknown or revoked").
		WithNext("send Authorization: Bearer <token>, as provisioner token create shows it")
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || len(token) > 200 {
		return visitor{}, wrong
	}
	var t record.Token
	err := readRecord(ctx, w.tokens, credentials.Hash(strings.TrimSpace(token)), &t)
	if schema.Is(err, schema.NotFound) {
		return visitor{}, wrong
	}
	return visitor{role: record.Admin, provider: t.Provider, bearer: true, scope: t.ScopeOf()}, err
}

// signIn begins a new session for whom the link was made.
func (w *Web) signIn(rw http.ResponseWriter, r *http.Request, l record.Link) error {
	ctx := r.Context()
	if err := w.sessions.Clear(ctx); err != nil {
		return err
	}
	if err := w.sessions.RenewToken(ctx); err != nil { // a token known before is worth nothing after
		return err
	}
	w.sessions.Put(ctx, sessionRole, string(l.Role))
	w.sessions.Put(ctx, sessionForm, credentials.NewKey(""))
	if l.Role != record.Operator {
		p, err := w.dir.provider(l.Provider)
		if err != nil {
			return err
		}
		w.sessions.Put(ctx, sessionProvider, p.Name)
		w.sessions.Put(ctx, sessionCreated, p.Created.UnixNano())
	}
	token, expiry, err := w.sessions.Commit(ctx)
	if err != nil {
		return err
	}
	w.setCookie(rw, r, w.cookie, token, expiry)
	return nil
}

// signOut ends the session.
func (w *Web) signOut(rw http.ResponseWriter, r *http.Request) error {
	if err := w.sessions.Destroy(r.Context()); err != nil {
		return err
	}
	w.setCookie(rw, r, w.cookie, "", time.Unix(1, 0))
	return nil
}

func (w *Web) setCookie(rw http.ResponseWriter, r *http.Request, name, value string, expiry time.Time) {
	http.SetCookie(rw, &http.Cookie{
		Name: name, Value: value, Path: "/", Expires: expiry, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: isHTTPS(r),
	})
}

// isHTTPS reports whether the browser speaks TLS, with us or with a proxy on this host before us.
func isHTTPS(r *http.Request) bool {
	return r.TLS != nil || isLoopback(r.RemoteAddr) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
