package web

import (
	"net/http"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/schema"
)

// sessionsAt returns the sessions of everybody at the request's place, by name or by link.
func (w *Web) sessionsAt(r *http.Request) ([]openSession, error) {
	list, err := w.peopleAt(r)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for i := range list {
		named[list[i].Name] = true
	}
	return w.store.list(r.Context(), func(o openSession) bool {
		if o.Person == "" {
			return isAt(r, o.Provider, o.Created)
		}
		return named[o.Person]
	})
}

// sessionsAPI answers where people are signed in.
func (w *Web) sessionsAPI(rw http.ResponseWriter, r *http.Request) error {
	open, err := w.sessionsAt(r)
	if err != nil {
		return err
	}
	answer := api.Sessions{Sessions: []api.Session{}}
	for _, o := range open {
		answer.Sessions = append(answer.Sessions, api.Session{
			ID: o.Key, Person: o.Person, Address: o.Address, Agent: o.Agent, Begun: o.Begun.UTC(), Used: o.Seen.UTC(),
		})
	}
	return httpserver.JSON(rw, http.StatusOK, answer)
}

// endSessionAPI ends one of them.
func (w *Web) endSessionAPI(rw http.ResponseWriter, r *http.Request) error {
	open, err := w.sessionsAt(r)
	if err != nil {
		return err
	}
	for _, o := range open {
		if o.Key != r.PathValue("session") {
			continue
		}
		note(r, "end "+o.Person)
		if err := w.store.DeleteCtx(r.Context(), o.Key); err != nil {
			return err
		}
		return httpserver.JSON(rw, http.StatusOK, api.Done{Done: true})
	}
	return schema.Errorf(schema.NotFound, "there is no such session here").WithNext("GET sessions lists them")
}
