package web

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"berth/internal/bus"
	"berth/internal/httpserver"
	"berth/schema"
	"berth/schema/record"
)

// access says who may ask a route.
type access uint8

const (
	anybody  access = iota + 1 // also who is not signed in
	signedIn                   // any session
	provided                   // a session that sees the provider of the path
	ofAPI                      // as provided, and API tokens too
)

// route is a way in. The zero access is nobody's: a route must say who may ask it.
type route struct {
	method, path string
	access       access
	handler      httpserver.Handler
}

// request is what the guard found out about a request.
type request struct {
	visitor  visitor
	provider *record.Provider // of the path; nil where the path has none
}

type requestKey struct{}

func requestOf(r *http.Request) request {
	q, ok := r.Context().Value(requestKey{}).(request)
	if !ok {
		return request{}
	}
	return q
}

// guard lets through who may ask the route. It is the only place that decides so.
func (w *Web) guard(rt route) httpserver.Middleware {
	return func(next httpserver.Handler) httpserver.Handler {
		return func(rw http.ResponseWriter, r *http.Request) error {
			if err := w.cross.Check(r); err != nil {
				return schema.Errorf(schema.Forbidden, "the request came from a page of another site").WithCause(err)
			}
			rw.Header().Add("Vary", "Cookie")
			q, ctx, err := w.allow(rt, r)
			if err != nil {
				return err
			}
			r = r.WithContext(context.WithValue(ctx, requestKey{}, q))
			if q.visitor.role != "" && r.Method != http.MethodGet && rt.path != signInPath {
				if form := r.PostFormValue("form"); subtle.ConstantTimeCompare([]byte(form), []byte(q.visitor.form)) != 1 {
					return schema.Errorf(schema.Forbidden, "the form is not of this session").WithNext("load the page again")
				}
			}
			return next(rw, r)
		}
	}
}

// allow returns who asks for what, or why not.
func (w *Web) allow(rt route, r *http.Request) (request, context.Context, error) {
	if rt.access == anybody && rt.path != signInPath {
		return request{}, r.Context(), nil
	}
	v, ctx, err := w.visitorOf(r, rt.access == ofAPI)
	if err != nil {
		return request{}, ctx, err
	}
	q := request{visitor: v}
	switch rt.access {
	case anybody:
		return q, ctx, nil
	case signedIn, provided, ofAPI:
		if v.role == "" {
			return q, ctx, schema.Errorf(schema.Unauthorized, "nobody is signed in").WithNext("open a sign-in link, or send an API token")
		}
	default:
		return q, ctx, fmt.Errorf("route %s does not say who may ask it", rt.path)
	}
	if v.role == record.Admin {
		own, err := w.dir.provider(v.provider)
		if err != nil || !v.sees(own) {
			return q, ctx, schema.Errorf(schema.Unauthorized, "the provider of this sign-in is no longer here").WithNext("ask the operator for a new link")
		}
	}
	if rt.access == signedIn {
		return q, ctx, nil
	}
	p, err := w.dir.provider(r.PathValue("provider"))
	if err != nil || !v.sees(p) {
		return q, ctx, noProvider()
	}
	q.provider = p
	return q, ctx, nil
}

// readRecord reads a record of the house.
func readRecord(ctx context.Context, b *bus.Bucket, key string, v any) error {
	value, _, err := b.Get(ctx, key)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(value, v); err != nil {
		return fmt.Errorf("read a record: %w", err)
	}
	return nil
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

func isLoopback(remote string) bool {
	at, err := netip.ParseAddrPort(remote)
	return err == nil && at.Addr().Unmap().IsLoopback()
}
