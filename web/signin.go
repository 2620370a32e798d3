package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// signInData is the page that a sign-in link opens. It uses nothing up: links are opened by mail scanners and previews
// too. Its one button does.
type signInData struct {
	frame
	Link     string // the link's secret; empty: to be pasted
	Role     record.Role
	For      string // the provider of an admin's link
	Problem  string // key of why the link is no good
	Next     string // where to go on
	SignedIn bool
}

func (w *Web) signInPage(rw http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	d := signInData{Link: q.Get("link"), Next: localPath(q.Get("next")), SignedIn: requestOf(r).visitor.role != ""}
	status := http.StatusOK
	if d.Link != "" {
		l, _, err := w.link(r, d.Link)
		switch {
		case schema.Is(err, schema.Unauthorized):
			d.Link, d.Problem, status = "", "signin.spent", http.StatusUnauthorized
		case err != nil:
			return err
		default:
			d.Role, d.For = l.Role, l.Provider
		}
	}
	return w.show(rw, r, status, "signin", "signin.title", &d)
}

func (w *Web) signInPost(rw http.ResponseWriter, r *http.Request) error {
	secret := secretOf(r.PostFormValue("link"))
	l, revision, err := w.link(r, secret)
	if err == nil {
		err = w.spend(r, secret, revision)
	}
	next := localPath(r.PostFormValue("next"))
	if schema.Is(err, schema.Unauthorized) {
		return w.show(rw, r, http.StatusUnauthorized, "signin", "signin.title", &signInData{Problem: "signin.spent", Next: next})
	}
	if err != nil {
		return err
	}
	if err := w.signIn(rw, r, l); err != nil {
		return err
	}
	if l.Role != record.Operator && next == "/" {
		next = providerPath(l.Provider)
	}
	http.Redirect(rw, r, next, http.StatusSeeOther)
	return nil
}

func (w *Web) signOutPost(rw http.ResponseWriter, r *http.Request) error {
	if err := w.signOut(rw, r); err != nil {
		return err
	}
	http.Redirect(rw, r, signInPath, http.StatusSeeOther)
	return nil
}

// secretOf returns the secret of what was pasted: the secret itself, or the whole link.
func secretOf(pasted string) string {
	pasted = strings.TrimSpace(pasted)
	if u, err := url.Parse(pasted); err == nil && u.Query().Has("link") {
		return u.Query().Get("link")
	}
	return pasted
}

// link returns the record of a link that can still be used, or Unauthorized.
func (w *Web) link(r *http.Request, secret string) (record.Link, uint64, error) {
	var l record.Link
	spent := schema.Errorf(schema.Unauthorized, "the link is unknown, was used, or has expired")
	if secret == "" || len(secret) > 200 {
		return l, 0, spent
	}
	value, revision, err := w.links.Get(r.Context(), credentials.Hash(secret))
	if schema.Is(err, schema.NotFound) {
		return l, 0, spent
	}
	if err != nil {
		return l, 0, err
	}
	if json.Unmarshal(value, &l) != nil || !w.now().Before(l.Expires) {
		return l, 0, spent
	}
	switch l.Role {
	case record.Operator:
		return l, revision, nil
	case record.Admin, record.Viewer:
		if p, err := w.dir.provider(l.Provider); err != nil || l.Created.Before(p.Created) {
			return l, 0, spent // it was made for an earlier provider of the same name
		}
		return l, revision, nil
	default:
		return l, 0, spent
	}
}

// spend uses a link up, or returns Unauthorized when somebody else did so first.
func (w *Web) spend(r *http.Request, secret string, revision uint64) error {
	key := credentials.Hash(secret)
	// The revision decides who was first; an empty record has expired. Deleting alone could not tell.
	_, err := w.links.Update(r.Context(), key, []byte("{}"), revision)
	if schema.Is(err, schema.Conflict) || schema.Is(err, schema.NotFound) {
		return schema.Errorf(schema.Unauthorized, "the link was used meanwhile")
	}
	if err != nil {
		return err
	}
	if err := w.links.Delete(r.Context(), key); err != nil {
		w.o.Logger.Warn("a used link stays until the next is made", "error", err)
	}
	return nil
}
