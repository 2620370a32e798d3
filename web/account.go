package web

import (
	"net/http"
	"strings"
	"time"

	"berth/internal/password"
	"berth/schema"
	"berth/schema/record"
)

// accountData is the page of whoever is signed in: their password and their sessions.
type accountData struct {
	frame
	outcome
	Person   string // empty: came by a link and may choose a name
	Role     record.Role
	For      string // the provider, if there is one
	Least    int    // characters of a new password
	Name     string // as it was given
	Sessions []sessionRow
}

// sessionRow is a session as a page shows it.
type sessionRow struct {
	Key     string
	Who     string // empty: somebody who came by a link
	Own     bool   // it is the one that asks
	Address string
	Agent   string
	Begun   time.Time
	Seen    time.Time
}

func (w *Web) accountPage(rw http.ResponseWriter, r *http.Request) error {
	d := &accountData{}
	if done := r.URL.Query().Get("done"); done == "password" || done == "take" {
		d.Done = "account.done." + done
	}
	return w.showAccount(rw, r, http.StatusOK, d)
}

func (w *Web) showAccount(rw http.ResponseWriter, r *http.Request, status int, d *accountData) error {
	v := requestOf(r).visitor
	d.Person, d.Role, d.For, d.Least = v.person, v.role, v.provider, password.Least
	open, err := w.store.list(r.Context(), v.owns)
	if err != nil {
		return err
	}
	d.Sessions = rowsOf(open, v)
	return w.show(rw, r, status, "account", "account.title", d)
}

// owns reports whether a session is the visitor's own: of who came by a link only the one that asks is.
func (v visitor) owns(o openSession) bool {
	return o.Key == v.session || v.person != "" && o.Person == v.person
}

func rowsOf(open []openSession, v visitor) []sessionRow {
	rows := make([]sessionRow, 0, len(open))
	for _, o := range open {
		rows = append(rows, sessionRow{
			Key: o.Key, Who: o.Person, Own: o.Key == v.session, Address: o.Address, Agent: o.Agent, Begun: o.Begun, Seen: o.Seen,
		})
	}
	return rows
}

// accountPost does what the form says and shows the page with what became of it.
func (w *Web) accountPost(rw http.ResponseWriter, r *http.Request) error {
	act := r.PostFormValue("act")
	note(r, act)
	d := &accountData{Name: strings.TrimSpace(r.PostFormValue("name"))}
	var err error
	switch act {
	case "password":
		err = w.changePassword(rw, r)
	case "take":
		err = w.takeName(rw, r, d.Name)
	case "end":
		err = w.endSessions(r, requestOf(r).visitor, r.PostFormValue("session"))
	default:
		return schema.Errorf(schema.Invalid, "the form cannot be read").WithNext("load the page again")
	}
	if err == nil && (act == "password" || act == "take") { // the session is another: show what it holds
		http.Redirect(rw, r, accountPath+"?done="+act, http.StatusSeeOther)
		return nil
	}
	status, err := d.settle(r, "account.done."+act, err)
	if err != nil {
		return err
	}
	return w.showAccount(rw, r, status, d)
}

// changePassword sets a new password for who knows the one before, ends all sessions and begins a new one here.
func (w *Web) changePassword(rw http.ResponseWriter, r *http.Request) error {
	v := requestOf(r).visitor
	if v.person == "" {
		return schema.Errorf(schema.Invalid, "who came by a link has no password yet")
	}
	if wait := w.attempt(r.RemoteAddr, "password of "+v.person); wait > 0 {
		return tooOften(wait)
	}
	if _, err := w.byPassword(r.Context(), v.person, r.PostFormValue("current")); err != nil {
		if schema.Is(err, schema.Unauthorized) {
			return schema.Errorf(schema.Invalid, "the password until now is wrong")
		}
		return err
	}
	hash, err := w.newHash(r.Context(), r.PostFormValue("password"), v.person, v.provider)
	if err != nil {
		return err
	}
	if err := w.setHash(r.Context(), v.person, hash); err != nil {
		return err
	}
	return w.signIn(rw, r, v)
}

// takeName gives who came by a link a name and a password, in the role of the link.
func (w *Web) takeName(rw http.ResponseWriter, r *http.Request, name string) error {
	v := requestOf(r).visitor
	if v.person != "" {
		return schema.Errorf(schema.Conflict, "you have a name already: %s", v.person)
	}
	if wait := w.attempt(r.RemoteAddr, ""); wait > 0 {
		return tooOften(wait)
	}
	if err := w.enrol(r.Context(), v, name, r.PostFormValue("password")); err != nil {
		return err
	}
	v.person = name
	return w.signIn(rw, r, v)
}

// endSessions ends one of the visitor's own sessions, or all but the one that asks.
func (w *Web) endSessions(r *http.Request, v visitor, key string) error {
	open, err := w.store.list(r.Context(), func(o openSession) bool {
		return v.owns(o) && (o.Key == key || key == "others" && o.Key != v.session)
	})
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
