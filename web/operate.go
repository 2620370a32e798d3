package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"berth/internal/houseapi"
	"berth/internal/httpserver"
	"berth/internal/people"
	"berth/schema"
	"berth/schema/record"
)

// operateData is the page from which an operator runs a provider: how it is, what is done now, and what can be done.
type operateData struct {
	frame
	planned
	Instances []homeInstance
	Detail    string // what it waits for, or what is wrong
	Acts      []string
	Done      string // key of what was done
	Away      string // why the provisioner said nothing, in the service's own words
}

// actData is the page that shows what an act comes to before it is done.
type actData struct {
	frame
	planned
	Act     string
	Moved   bool   // what was shown before is no longer what would be done
	Typed   bool   // the name was typed, and is another
	Gone    string // the provider that is being removed
	Problem string // in the service's own words
}

// addData is the page that adds a provider: first its name, then the plan, then the way into it.
type addData struct {
	frame
	planned
	Name    string
	Asked   bool   // there is a plan
	Moved   bool   // what was shown before is no longer what would be done
	Added   bool   // it was done
	Link    string // for the provider's admin; it is shown once
	Hours   int    // how long the link waits
	Path    string // of the provider's pages
	Problem string // in the service's own words
}

// planned is a plan as pages show it.
type planned struct {
	At       string // the provider's state in one word
	Port     int
	Keyspace string
	Changed  bool // it changes what is wanted
	Restored bool // it comes back with its data
	Plan     string
	Steps    []stepRow
	Waits    []stepRow
	Notes    []string
}

type stepRow struct {
	Said  string // key of what is done
	Kind  string // in the service's own words, if there is no text
	Whose string
	Why   string // in the service's own words
	Code  string // of why, if it has one
	Args  map[string]string
}

// Reason returns why a step is done in the page's language, "" where there are the service's own words alone.
func (p *frame) Reason(s stepRow) string {
	key := "why." + s.Code
	if s.Code == "" || !p.Has(key) {
		return ""
	}
	var args []any
	for name, value := range s.Args {
		args = append(args, name, value)
	}
	return p.T(key, args...)
}

func (p *planned) take(m *houseapi.Managed) {
	p.At, p.Port, p.Keyspace, p.Changed, p.Restored, p.Plan, p.Notes = m.State, m.Port, m.Keyspace, m.Changed, m.Restored, m.Plan, m.Notes
	for i := range m.Steps {
		s := &m.Steps[i]
		row := stepRow{Said: "step." + strings.ReplaceAll(s.Kind, " ", "_"), Kind: s.Kind, Whose: s.Role, Why: s.Why, Code: s.Code, Args: s.Args}
		if s.Kind == "wait" {
			p.Waits = append(p.Waits, row)
		} else {
			p.Steps = append(p.Steps, row)
		}
	}
}

func (w *Web) operatePage(rw http.ResponseWriter, r *http.Request) error {
	return w.showOperate(rw, r, &operateData{})
}

// showOperate shows the page of what can be done to a provider.
func (w *Web) showOperate(rw http.ResponseWriter, r *http.Request, d *operateData) error {
	p := requestOf(r).provider
	m, err := w.manage(r.Context(), houseapi.ManageRequest{Provider: p.Name})
	if err != nil {
		d.Away = schema.Show(err)
	} else {
		d.take(m)
		d.Detail = m.Detail
	}
	d.Nav, d.Instances = "operate", w.instancesOf(p)
	d.Acts = []string{houseapi.ActRestart, houseapi.ActStop, houseapi.ActRemove}
	if p.Wanted == record.Stopped || m != nil && (m.State == "stopped" || m.State == "stopping") {
		d.Acts = []string{houseapi.ActStart, houseapi.ActRemove}
	}
	return w.show(rw, r, http.StatusOK, "operate", "operate.title", d)
}

// actPage returns a handler that shows what an act would come to.
func (w *Web) actPage(act string) httpserver.Handler {
	return func(rw http.ResponseWriter, r *http.Request) error {
		return w.showAct(rw, r, http.StatusOK, &actData{Act: act})
	}
}

// showAct asks what an act would come to, and shows it.
func (w *Web) showAct(rw http.ResponseWriter, r *http.Request, status int, d *actData) error {
	m, err := w.manage(r.Context(), houseapi.ManageRequest{Provider: requestOf(r).provider.Name, Act: d.Act})
	switch {
	case err == nil:
		d.take(m)
	case !told(err) && !schema.Is(err, schema.Unavailable):
		return err
	case d.Problem == "":
		d.Problem = schema.Show(err)
	}
	d.Nav = "operate"
	return w.show(rw, r, status, "act", "act.title."+d.Act, d)
}

// actPost returns a handler that does an act if it still comes to what was shown; else it shows it anew.
func (w *Web) actPost(act string) httpserver.Handler {
	return func(rw http.ResponseWriter, r *http.Request) error {
		p, d := requestOf(r).provider, &actData{Act: act}
		if act == houseapi.ActRemove && strings.TrimSpace(r.PostFormValue("name")) != p.Name {
			d.Typed = true
			fail(r, schema.Errorf(schema.Invalid, "its name was not typed"))
			return w.showAct(rw, r, http.StatusBadRequest, d)
		}
		_, err := w.hold(r, houseapi.ManageRequest{Provider: p.Name, Act: act})
		switch {
		case err != nil && !told(err):
			return err
		case schema.Is(err, schema.Conflict):
			d.Moved = true
			fail(r, err)
			return w.showAct(rw, r, http.StatusConflict, d)
		case err != nil:
			d.Problem = schema.Show(err)
			fail(r, err)
			return w.showAct(rw, r, http.StatusBadRequest, d)
		case act == houseapi.ActRemove: // it has no pages any more
			d.Gone = p.Name
			w.fill(&d.frame, r, "act.title."+act)
			d.Provider, d.Troubles = nil, nil
			return w.render(rw, http.StatusOK, "act", "layout.html", d)
		}
		return w.showOperate(rw, r, &operateData{Done: "operate.done." + act})
	}
}

// hold has an act done that comes to what the form has shown.
func (w *Web) hold(r *http.Request, q houseapi.ManageRequest) (*houseapi.Managed, error) {
	if q.Apply, q.Plan = true, r.PostFormValue("plan"); q.Plan == "" {
		return nil, schema.Errorf(schema.Invalid, "the form has no plan").WithNext("load the page again")
	}
	return w.manage(r.Context(), q)
}

// addPage asks for a name, and shows what adding it comes to.
func (w *Web) addPage(rw http.ResponseWriter, r *http.Request) error {
	d := &addData{Name: strings.TrimSpace(r.URL.Query().Get("name"))}
	status, err := w.planAdd(r.Context(), d)
	if err != nil {
		return err
	}
	return w.showAdd(rw, r, status, d)
}

func (w *Web) showAdd(rw http.ResponseWriter, r *http.Request, status int, d *addData) error {
	d.Path, d.Hours = providerPath(d.Name), int(people.LinkLife/time.Hour)
	return w.show(rw, r, status, "add", "add.title", d)
}

// planAdd sets what adding a provider comes to, or what stands against it.
func (w *Web) planAdd(ctx context.Context, d *addData) (status int, err error) {
	if d.Name == "" {
		return http.StatusOK, nil
	}
	m, err := w.manage(ctx, houseapi.ManageRequest{Provider: d.Name, Act: houseapi.ActAdd})
	if err != nil {
		if !told(err) && !schema.Is(err, schema.Unavailable) {
			return 0, err
		}
		d.Problem = schema.Show(err)
		return http.StatusBadRequest, nil
	}
	d.take(m)
	d.Asked = true
	return http.StatusOK, nil
}

// addPost adds a provider if that still comes to what was shown, and shows the way into it; else it shows the plan anew.
func (w *Web) addPost(rw http.ResponseWriter, r *http.Request) error {
	d := &addData{Name: strings.TrimSpace(r.PostFormValue("name"))}
	w.noteProvider(r, d.Name)
	m, err := w.hold(r, houseapi.ManageRequest{Provider: d.Name, Act: houseapi.ActAdd})
	if err != nil {
		if !told(err) {
			return err
		}
		fail(r, err)
		if d.Moved = schema.Is(err, schema.Conflict); !d.Moved {
			d.Problem = schema.Show(err)
			return w.showAdd(rw, r, http.StatusBadRequest, d)
		}
		if _, err := w.planAdd(r.Context(), d); err != nil {
			return err
		}
		return w.showAdd(rw, r, http.StatusConflict, d)
	}
	d.take(m)
	d.Asked, d.Added = true, true
	if m.Changed {
		if d.Link, err = w.newLink(r, record.Link{Role: record.Admin, Provider: d.Name}); err != nil {
			return err
		}
	}
	return w.showAdd(rw, r, http.StatusOK, d)
}

// noteProvider tells the audit log which provider a request is about that its path does not name. What was mistyped is no
// provider.
func (w *Web) noteProvider(r *http.Request, name string) {
	note(r, name)
	if c := requestOf(r).change; c != nil && schema.CheckProvider(name) == nil {
		c.provider, c.what = name, ""
	}
}
