package web

import (
	"net/http"
	"time"

	"berth/internal/houseapi"
	"berth/schema"
	"berth/schema/record"
)

// homeData is the operator's list of providers, and whether everything is well.
type homeData struct {
	frame
	Providers []homeProvider
	Away      string // why the provisioner said nothing, in the service's own words; then only what web knows is shown
	Seen      time.Time
	Passed    int         // checks that found nothing
	Wrong     int         // those that found something
	Fails     bool        // the first of them is more than a warning
	Checks    []homeCheck // the gravest first
	More      int         // how many more there are
	Disks     []houseapi.SurveyDisk
}

// checksShown is how many checks the page has; the command line has all.
const checksShown = 10

type homeCheck struct {
	Name, Path string // of the provider, if it is one's
	About      string // what was checked
	Text, Next string // in the doctor's own words
}

type homeProvider struct {
	Name      string
	Port      int
	Path      string
	Created   time.Time
	Instances []homeInstance // one for each role of a pipeline
	homeFigures
}

// homeFigures are what the provisioner says of a provider. What it does not know is nil.
type homeFigures struct {
	Detail   string // what it waits for, or what is wrong
	Versions []string
	Memory   *uint64 // of its instances together
	Rate     *uint64 // readings a second
	Log      *uint64
	Oldest   time.Time // what came first of what is not stored yet; zero: all is
	Keyspace *uint64
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
	s, err := w.askSurvey(r.Context())
	if err != nil {
		d.Away, s = schema.Show(err), &houseapi.Survey{}
	}
	figures := d.take(s)
	for _, p := range w.dir.all() {
		d.Providers = append(d.Providers, homeProvider{
			Name: p.Name, Port: p.Slot.Port(w.o.PortBase), Path: providerPath(p.Name), Created: p.Created, Instances: w.instancesOf(p),
			homeFigures: figures[p.Name],
		})
	}
	return w.show(rw, r, http.StatusOK, "home", "home.title", &d)
}

// take sets what the provisioner says of the installation, and returns what it says of each provider.
func (d *homeData) take(s *houseapi.Survey) map[string]homeFigures {
	d.Seen, d.Passed, d.Disks = s.At, s.Passed, s.Disks
	d.Wrong, d.Fails = len(s.Checks)+s.More, len(s.Checks) > 0 && s.Checks[0].Fails
	for i := range min(len(s.Checks), checksShown) {
		c := &s.Checks[i]
		check := homeCheck{Name: c.Provider, About: c.Name, Text: c.Text, Next: c.Next}
		if c.Provider != "" {
			check.Path = providerPath(c.Provider)
		}
		d.Checks = append(d.Checks, check)
	}
	d.More = d.Wrong - len(d.Checks)
	figures := map[string]homeFigures{}
	for i := range s.Providers {
		figures[s.Providers[i].Provider] = figuresOf(&s.Providers[i], s.At)
	}
	return figures
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
