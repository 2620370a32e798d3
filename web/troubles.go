package web

import (
	"net/http"
	"time"

	"berth/schema/record"
)

// trouble is what a provider's pages say of something out of the ordinary.
type trouble struct {
	State  string
	Detail string // as ingest said it, in English
	Since  time.Time
}

// States in which no ingest is heard of: nobody knows why, or an operator has stopped the provider.
const (
	away    = "away"
	stopped = "stopped"
)

// troublesOf returns what is out of the ordinary with a provider's ingest, the gravest first, then what its reports has
// met that is damaged. It asks nobody: the registry tells.
func (w *Web) troublesOf(p *record.Provider) []trouble {
	var troubles []trouble
	found := false
	for _, role := range []string{record.RoleIngest, record.RoleReports} {
		for _, s := range w.dir.instances(p.Name) {
			if s.Role != role {
				continue
			}
			found = found || role == record.RoleIngest
			for _, e := range s.Episodes {
				troubles = append(troubles, trouble{State: e.State, Detail: e.Detail, Since: e.From})
			}
		}
	}
	switch {
	case found:
		return troubles
	case p.Wanted == record.Stopped:
		return append([]trouble{{State: stopped}}, troubles...)
	}
	return append([]trouble{{State: away}}, troubles...)
}

// troublesData is the part of a provider's pages that says what is out of the ordinary.
type troublesData struct{ frame }

// troublesPart answers with that part alone.
func (w *Web) troublesPart(rw http.ResponseWriter, r *http.Request) error {
	d := troublesData{}
	w.fill(&d.frame, r, "books.title")
	return w.render(rw, http.StatusOK, "books", "troubles", &d)
}
