package web

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"berth/internal/httpserver"
	"berth/schema"
	"berth/schema/record"
)

// access says how much who asks a route must be allowed to do. Each but the first two has all that is before it.
type access uint8

const (
	anybody    access = iota + 1 // also who is not signed in
	signedIn                     // any session
	mayRead                      // sees the provider of the path: its viewers, tokens of scope read
	mayWrite                     // changes what the provider has: tokens of scope write
	mayManage                    // decides who else may: its admins, tokens of scope manage
	mayOperate                   // runs the installation: operators
)

// route is a way in. The zero access is nobody's: a route must say who may ask it, and what it does when it changes
// something.
type route struct {
	method, path string
	access       access
	does         string // what the audit log calls it; empty: it changes nothing
	handler      httpserver.Handler
}

// isAPI reports whether the route is one of the API's, which API tokens open too.
func (rt route) isAPI() bool { return strings.HasPrefix(rt.path, "/api/") }

// check returns what is wrong with the route. No front door is made while one is wrong.
func (rt route) check() error {
	name := rt.method + " " + rt.path
	switch provided := strings.Contains(rt.path, ":provider"); {
	case rt.access < anybody || rt.access > mayOperate:
		return fmt.Errorf("route %s does not say who may ask it", name)
	case provided && rt.access <= signedIn:
		return fmt.Errorf("route %s is of a provider, and open to those of others", name)
	case !provided && rt.access > signedIn && rt.access < mayOperate:
		return fmt.Errorf("route %s asks for a role at a provider, and has none in its path", name)
	case (rt.method == http.MethodGet) != (rt.does == ""):
		return fmt.Errorf("route %s must say what it changes if it is no GET, and only then", name)
	case rt.handler == nil:
		return fmt.Errorf("route %s has no handler", name)
	}
	return nil
}

// request is what the guard found out about a request.
type request struct {
	route    route
	visitor  visitor
	provider *record.Provider // of the path; nil where the path has none
	change   *change          // what the request changes, for the audit log
}

type requestKey struct{}

func requestOf(r *http.Request) request {
	q, ok := r.Context().Value(requestKey{}).(request)
	if !ok {
		return request{}
	}
	return q
}

// guard lets through who may ask the route, not more often than anybody may, and has recorded what they change. It is the
// only place that decides so.
func (w *Web) guard(rt route) httpserver.Middleware {
	return func(next httpserver.Handler) httpserver.Handler {
		return func(rw http.ResponseWriter, r *http.Request) error {
			if err := w.cross.Check(r); err != nil {
				return schema.Errorf(schema.Forbidden, "the request came from a page of another site").WithCause(err)
			}
			rw.Header().Add("Vary", "Cookie")
			if httpserver.IsHTTPS(r) { // of this host alone: what else its domain serves is not ours to say
				rw.Header().Set("Strict-Transport-Security", "max-age=31536000")
			}
			q, ctx, err := w.allow(rt, r)
			if rt.isAPI() {
				if slow := w.slow(rw.Header(), r, q.visitor); slow != nil {
					return slow
				}
			}
			if err != nil {
				return err
			}
			q.change = &change{provider: q.visitor.provider}
			if q.provider != nil {
				q.change.provider = q.provider.Name
			}
			r = r.WithContext(context.WithValue(ctx, requestKey{}, q))
			if q.visitor.role != "" && r.Method != http.MethodGet && rt.path != signInPath {
				if form := r.PostFormValue("form"); subtle.ConstantTimeCompare([]byte(form), []byte(q.visitor.form)) != 1 {
					return schema.Errorf(schema.Forbidden, "the form is not of this session").WithNext("load the page again")
				}
			}
			err = next(rw, r)
			if rt.does != "" {
				w.record(r, q, err)
			}
			return err
		}
	}
}

// allow returns who asks for what, or why not.
func (w *Web) allow(rt route, r *http.Request) (request, context.Context, error) {
	if rt.access == anybody && rt.path != signInPath {
		return request{route: rt}, r.Context(), nil
	}
	v, ctx, err := w.visitorOf(r, rt.isAPI())
	if err != nil {
		return request{route: rt}, ctx, err
	}
	q := request{route: rt, visitor: v}
	if rt.access == anybody {
		return q, ctx, nil
	}
	if v.role == "" {
		return q, ctx, schema.Errorf(schema.Unauthorized, "nobody is signed in").WithNext("open a sign-in link, or send an API token")
	}
	if v.role != record.Operator {
		own, err := w.dir.provider(v.provider)
		if err != nil || !v.sees(own) {
			return q, ctx, schema.Errorf(schema.Unauthorized, "the provider of this sign-in is no longer here").WithNext("ask the operator for a new link")
		}
	}
	if strings.Contains(rt.path, ":provider") {
		p, err := w.dir.provider(r.PathValue("provider"))
		if err != nil || !v.sees(p) {
			return q, ctx, noProvider()
		}
		q.provider = p
	}
	if v.may() < rt.access {
		return q, ctx, schema.Errorf(schema.Forbidden, "this is not for %s", v.called()).
			WithNext("ask an admin of the provider, or the operator, for a role or token that may")
	}
	return q, ctx, nil
}

// localPath returns the path and query to go on to, "/" unless they stay on this site.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") ||
		strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(u.Path, "//") {
		return "/"
	}
	return u.RequestURI()
}
