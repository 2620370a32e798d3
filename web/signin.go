package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"berth/internal/password"
	"berth/internal/people"
	"berth/schema"
	"berth/schema/record"
)

// signInData is the page for whoever is to sign in: with a name and a password, or by a link. A link that is opened uses
// nothing up: links are opened by mail scanners and previews too. Its one button does.
type signInData struct {
	frame
	Link     string // the link's secret; empty: none was opened
	Kind     record.LinkKind
	Role     record.Role
	For      string // the provider of the link, if it has one
	Name     string // as it was given, or of whose password is to be set
	Least    int    // characters of a new password
	Problem  string // key of what was wrong
	Detail   string // in the service's own words
	Next     string // where to go on
	SignedIn bool
}

func (w *Web) signInPage(rw http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	d := signInData{Link: q.Get("link"), Next: localPath(q.Get("next")), SignedIn: requestOf(r).visitor.role != ""}
	status := http.StatusOK
	if d.Link != "" {
		l, _, err := w.link(r.Context(), d.Link)
		switch {
		case schema.Is(err, schema.Unauthorized):
			d.Link, d.Problem, status = "", "signin.spent", http.StatusUnauthorized
		case err != nil:
			return err
		default:
			d.of(l)
		}
	}
	return w.showSignIn(rw, r, status, &d)
}

func (d *signInData) of(l record.Link) {
	d.Kind, d.Role, d.For = l.Kind, l.Role, l.Provider
	if l.Kind == record.Reset {
		d.Name = l.Person
	}
}

func (w *Web) showSignIn(rw http.ResponseWriter, r *http.Request, status int, d *signInData) error {
	d.Least = password.Least
	return w.show(rw, r, status, "signin", "signin.title", d)
}

// signInPost signs in by what the form holds, or shows it again with what was wrong.
func (w *Web) signInPost(rw http.ResponseWriter, r *http.Request) error {
	given := signInData{Link: secretOf(r.PostFormValue("link")), Name: strings.TrimSpace(r.PostFormValue("name")), Next: localPath(r.PostFormValue("next"))}
	who, err := w.identify(r, &given)
	status := http.StatusUnauthorized
	switch {
	case err == nil:
		came(r, who)
		if err := w.signIn(rw, r, who); err != nil {
			return err
		}
		if who.role != record.Operator && given.Next == "/" {
			given.Next = providerPath(who.provider)
		}
		http.Redirect(rw, r, given.Next, http.StatusSeeOther)
		return nil
	case schema.Is(err, schema.Limited):
		status, given.Problem = http.StatusTooManyRequests, "signin.slow"
	case schema.Is(err, schema.Unauthorized) && given.Kind == "" && given.Link == "":
		given.Problem = "signin.wrong"
	case schema.Is(err, schema.Unauthorized):
		given.Problem, given.Link = "signin.spent", ""
	case schema.Is(err, schema.Invalid), schema.Is(err, schema.Conflict):
		status, given.Problem, given.Detail = http.StatusBadRequest, "signin.choose", schema.Show(err)
	default:
		return err
	}
	if status == http.StatusTooManyRequests && rw.Header().Get("Retry-After") == "" {
		rw.Header().Set("Retry-After", "5")
	}
	fail(r, err)
	return w.showSignIn(rw, r, status, &given)
}

// identify returns who the form's link, or its name and password, is of.
func (w *Web) identify(r *http.Request, d *signInData) (visitor, error) {
	ctx, secret := r.Context(), r.PostFormValue("password")
	name := ""
	if d.Link == "" {
		name = people.Key(d.Name)
	}
	if wait := w.attempt(r.RemoteAddr, name); wait > 0 {
		return visitor{}, tooOften(wait)
	}
	if d.Link == "" {
		return w.byPassword(ctx, d.Name, secret)
	}
	l, revision, err := w.link(ctx, d.Link)
	if err != nil {
		return visitor{}, err
	}
	d.of(l)
	who := visitor{role: l.Role, provider: l.Provider}
	if l.Provider != "" {
		p, err := w.dir.provider(l.Provider)
		if err != nil {
			return visitor{}, err
		}
		who.created = p.Created.UnixNano()
	}
	switch l.Kind {
	case record.Invite:
		if err := w.enrol(ctx, who, d.Name, secret); err != nil {
			return visitor{}, err
		}
		who.person = d.Name
		if err := w.book.Spend(ctx, d.Link, revision); err != nil {
			_ = w.book.Remove(ctx, d.Name) // somebody else was first; who was not has no place
			return visitor{}, err
		}
		return who, nil
	case record.Reset:
		who.person = l.Person
		hash, err := w.newHash(ctx, secret, l.Person, l.Provider)
		if err != nil {
			return visitor{}, err
		}
		if err := w.book.Spend(ctx, d.Link, revision); err != nil {
			return visitor{}, err
		}
		return who, w.setHash(ctx, l.Person, hash)
	case record.SignIn:
		return who, w.book.Spend(ctx, d.Link, revision)
	default: // of a later release
		return visitor{}, schema.Errorf(schema.Unauthorized, "the link is of a kind that is not known here")
	}
}

func tooOften(wait time.Duration) error {
	return schema.Errorf(schema.Limited, "there were too many attempts to sign in").WithNext("wait %v and try again", wait.Round(time.Second)+time.Second)
}

// byPassword returns the person with the name and the password, or Unauthorized; it takes as long for either.
func (w *Web) byPassword(ctx context.Context, name, secret string) (visitor, error) {
	p, _, err := w.book.Person(ctx, name)
	if err != nil && !schema.Is(err, schema.NotFound) {
		return visitor{}, err
	}
	good, err := w.hasher.Matches(ctx, secret, p.Hash)
	if err != nil {
		return visitor{}, err
	}
	if good && p.Provider != "" {
		own, err := w.dir.provider(p.Provider)
		good = err == nil && own.Created.Equal(p.Of)
	}
	if !good {
		return visitor{}, schema.Errorf(schema.Unauthorized, "the name or the password is wrong")
	}
	return visitor{role: p.Role, person: p.Name, provider: p.Provider, created: p.Of.UnixNano()}, nil
}

// enrol keeps somebody new with a name and a password, in the role and at the provider of a visitor.
func (w *Web) enrol(ctx context.Context, who visitor, name, secret string) error {
	if err := record.CheckPersonName(name); err != nil {
		return err
	}
	if _, _, err := w.book.Person(ctx, name); err == nil {
		return schema.Errorf(schema.Conflict, "the name %s is taken", name).WithNext("choose another name")
	}
	hash, err := w.newHash(ctx, secret, name, who.provider)
	if err != nil {
		return err
	}
	p := record.Person{Name: name, Role: who.role, Provider: who.provider, Hash: hash}
	if who.provider != "" {
		p.Of = time.Unix(0, who.created).UTC()
	}
	return w.book.Add(ctx, p)
}

func (w *Web) newHash(ctx context.Context, secret, name, provider string) (string, error) {
	if err := password.Check(secret, name, provider); err != nil {
		return "", err
	}
	return w.hasher.Hash(ctx, secret)
}

// setHash changes a person's password and ends all their sessions.
func (w *Web) setHash(ctx context.Context, name, hash string) error {
	return w.book.Change(ctx, name, func(p *record.Person) error {
		now := w.now().UTC()
		p.Hash, p.Changed, p.Since = hash, now, now
		return nil
	})
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
func (w *Web) link(ctx context.Context, secret string) (record.Link, uint64, error) {
	l, revision, err := w.book.Find(ctx, secret)
	if err != nil {
		return l, 0, err
	}
	spent := schema.Errorf(schema.Unauthorized, "the link is of nobody who is here")
	switch l.Role {
	case record.Operator:
		if l.Provider != "" {
			return l, 0, spent
		}
	case record.Admin, record.Viewer:
		if p, err := w.dir.provider(l.Provider); err != nil || l.Created.Before(p.Created) {
			return l, 0, spent // it was made for an earlier provider of the same name
		}
	default:
		return l, 0, spent
	}
	if l.Kind == record.Reset {
		p, _, err := w.book.Person(ctx, l.Person)
		if schema.Is(err, schema.NotFound) || err == nil && (p.Provider != l.Provider || p.Role != l.Role || p.Changed.After(l.Created)) {
			return l, 0, spent // gone, or another by now
		}
		if err != nil {
			return l, 0, err
		}
	}
	return l, revision, nil
}
