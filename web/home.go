package web

import (
	"net/http"
	"time"

	"berth/schema/record"
)

// homeData is the operator's list of providers.
type homeData struct {
	frame
	Providers []homeProvider
}

type homeProvider struct {
	Name      string
	Port      int
	Path      string
	Created   time.Time
	Instances []homeInstance // one for each role of a pipeline
}

type homeInstance struct {
	Role    string
	State   string // "" : none is running
	Detail  string
	Program string
	Started time.Time
	Since   time.Time // when the state began; zero: it is as it should be
}

// homePage shows an operator all providers; an admin goes on to the own one.
func (w *Web) homePage(rw http.ResponseWriter, r *http.Request) error {
	v := requestOf(r).visitor
	if v.role != record.Operator {
		http.Redirect(rw, r, providerPath(v.provider), http.StatusSeeOther)
		return nil
	}
	d := homeData{}
	for _, p := range w.dir.all() {
		d.Providers = append(d.Providers, homeProvider{
			Name: p.Name, Port: p.Slot.Port(w.o.PortBase), Path: providerPath(p.Name), Created: p.Created, Instances: w.instancesOf(p),
		})
	}
	return w.show(rw, r, http.StatusOK, "home", "home.title", &d)
}

func (w *Web) instancesOf(p *record.Provider) []homeInstance {
	var out []homeInstance
	for _, role := range []string{record.RoleIngest, record.RoleReports} {
		found := false
		for _, s := range w.dir.instances(p.Name) {
			if s.Role == role {
				found = true
				out = append(out, homeInstance{Role: role, State: s.State, Detail: s.Detail, Program: s.Program, Started: s.Started, Since: s.Since})
			}
		}
		if !found {
			out = append(out, homeInstance{Role: role})
		}
	}
	return out
}
