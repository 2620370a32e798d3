package web

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"berth/internal/httpserver"
	"berth/internal/people"
	"berth/schema"
	"berth/schema/record"
)

// peopleData is the page of who may do what: of a provider, or the operators of the installation.
type peopleData struct {
	frame
	outcome
	People   []personRow
	Roles    []record.Role // that can be given here
	Sessions []sessionRow  // of who came by a link
	Link     string        // that was made just now; it is shown once
	LinkFor  string        // whose password it is for; empty: it is an invitation
	Hours    int           // how long the link waits
}

type personRow struct {
	Name     string
	Role     record.Role
	Own      bool
	Created  time.Time
	Changed  time.Time
	Sessions int
}

// rolesAt returns the roles that people of a provider may have; "" are the operators.
func rolesAt(provider string) []record.Role {
	if provider == "" {
		return []record.Role{record.Operator}
	}
	return []record.Role{record.Viewer, record.Admin}
}

func (w *Web) peoplePage(rw http.ResponseWriter, r *http.Request) error {
	return w.showPeople(rw, r, http.StatusOK, &peopleData{})
}

// placeOf returns the provider whose people a request is about; "" are the operators.
func placeOf(r *http.Request) string {
	if p := requestOf(r).provider; p != nil {
		return p.Name
	}
	return ""
}

// isAt reports whether a provider's name and the time in Unix nanoseconds when it was made are those of the request's place.
func isAt(r *http.Request, provider string, made int64) bool {
	p := requestOf(r).provider
	return p == nil && provider == "" || p != nil && provider == p.Name && made == p.Created.UnixNano()
}

// madeAt returns when the provider was made whose people a request is about: what is older is of an earlier one of its name.
func madeAt(r *http.Request) (made time.Time) {
	if p := requestOf(r).provider; p != nil {
		made = p.Created
	}
	return made
}

// peopleAt returns those of the request's place.
func (w *Web) peopleAt(r *http.Request) ([]record.Person, error) {
	list, err := w.book.People(r.Context(), placeOf(r))
	return slices.DeleteFunc(list, func(p record.Person) bool { return !isAt(r, p.Provider, p.Of.UnixNano()) }), err
}

func (w *Web) showPeople(rw http.ResponseWriter, r *http.Request, status int, d *peopleData) error {
	place, v := placeOf(r), requestOf(r).visitor
	list, err := w.peopleAt(r)
	if err != nil {
		return err
	}
	sessions := map[string]int{}
	open, err := w.store.list(r.Context(), func(o openSession) bool {
		sessions[o.Person]++
		return o.Person == "" && isAt(r, o.Provider, o.Created)
	})
	if err != nil {
		return err
	}
	for i := range list {
		p := &list[i]
		d.People = append(d.People, personRow{
			Name: p.Name, Role: p.Role, Own: p.Name == v.person, Created: p.Created, Changed: p.Changed, Sessions: sessions[p.Name],
		})
	}
	d.Nav, d.Roles, d.Hours, d.Sessions = "people", rolesAt(place), int(people.LinkLife.Hours()), rowsOf(open, v)
	return w.show(rw, r, status, "people", "people.title", d)
}

// peoplePost does what the form says and shows the page with what became of it.
func (w *Web) peoplePost(rw http.ResponseWriter, r *http.Request) error {
	act, name := r.PostFormValue("act"), r.PostFormValue("name")
	note(r, act+" "+name)
	d := &peopleData{}
	err := w.changePeople(r, act, name, record.Role(r.PostFormValue("role")), d)
	status, err := d.settle(r, "people.done."+act, err)
	if err != nil {
		return err
	}
	return w.showPeople(rw, r, status, d)
}

// changePeople does one thing to the people of the request's place: to the one who is called so, or in a role.
func (w *Web) changePeople(r *http.Request, act, name string, role record.Role, d *peopleData) (err error) {
	ctx, place := r.Context(), placeOf(r)
	switch act {
	case "invite":
		note(r, act+" "+string(role))
		d.Link, err = w.invite(r, place, role)
		return err
	case "end": // of somebody who came by a link
		note(r, act)
		return w.endByLink(r, name)
	}
	p, _, err := w.book.Person(ctx, name)
	if err != nil && !schema.Is(err, schema.NotFound) {
		return err
	}
	if err != nil || !isAt(r, p.Provider, p.Of.UnixNano()) {
		return schema.Errorf(schema.NotFound, "there is nobody called %s here", name)
	}
	switch act {
	case "reset":
		d.LinkFor = p.Name
		d.Link, err = w.newLink(r, record.Link{Kind: record.Reset, Role: p.Role, Provider: p.Provider, Person: p.Name})
		return err
	case "sign_out":
		return w.book.Change(ctx, name, func(p *record.Person) error { p.Since = w.now().UTC(); return nil })
	case "role":
		note(r, act+" "+name+" "+string(role))
		return w.giveRole(r, name, place, role)
	case "remove":
		if p.Name == requestOf(r).visitor.person {
			return schema.Errorf(schema.Invalid, "nobody removes themselves").WithNext("let somebody else do it")
		}
		return w.book.Remove(ctx, name)
	default:
		return schema.Errorf(schema.Invalid, "the form cannot be read").WithNext("load the page again")
	}
}

// invite returns a link by which somebody new comes to a place in a role.
func (w *Web) invite(r *http.Request, place string, role record.Role) (string, error) {
	if !mayHave(place, role) {
		return "", schema.Errorf(schema.Invalid, "there is no role %q here", role)
	}
	return w.newLink(r, record.Link{Kind: record.Invite, Role: role, Provider: place})
}

func mayHave(place string, role record.Role) bool { return slices.Contains(rolesAt(place), role) }

func (w *Web) giveRole(r *http.Request, name, place string, role record.Role) error {
	if !mayHave(place, role) {
		return schema.Errorf(schema.Invalid, "there is no role %q here", role)
	}
	if people.Key(name) == people.Key(requestOf(r).visitor.person) {
		return schema.Errorf(schema.Invalid, "nobody changes their own role").WithNext("let somebody else do it")
	}
	return w.book.Change(r.Context(), name, func(p *record.Person) error { p.Role = role; return nil })
}

// endByLink ends a session at the place of somebody who came by a link.
func (w *Web) endByLink(r *http.Request, key string) error {
	open, err := w.store.list(r.Context(), func(o openSession) bool { return o.Person == "" && isAt(r, o.Provider, o.Created) && o.Key == key })
	if err != nil {
		return err
	}
	for _, o := range open {
		if err := w.store.DeleteCtx(r.Context(), o.Key); err != nil {
			return err
		}
	}
	return nil
}

// newLink makes a one-time link and returns its address.
func (w *Web) newLink(r *http.Request, l record.Link) (string, error) {
	secret, err := w.book.NewLink(r.Context(), l)
	if err != nil {
		return "", err
	}
	return w.linkTo(r, signInPath, url.Values{"link": {secret}}), nil
}

// linkTo returns the address of a page, as the visitor reaches this site.
func (w *Web) linkTo(r *http.Request, path string, query url.Values) string {
	u := url.URL{Path: w.o.Front.Base + path, RawQuery: query.Encode()}
	if host := r.Host; httpserver.PlainHost(host) {
		u.Scheme, u.Host = "http", host
		if httpserver.IsHTTPS(r) {
			u.Scheme = "https"
		}
	}
	return u.String()
}
