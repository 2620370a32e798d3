package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"berth/internal/api"
	"berth/internal/houseapi"
	"berth/internal/httpserver"
	"berth/schema"
)

// manageLimit bounds how long a page waits for the provisioner to plan, or to take note of what is wanted: not for what
// comes of it.
const manageLimit = 15 * time.Second

// acts are what may be done to a provider that is there, and what the audit log calls each.
var acts = []struct{ name, does string }{
	{houseapi.ActRestart, "provider.restart"},
	{houseapi.ActStop, "provider.stop"},
	{houseapi.ActStart, "provider.start"},
	{houseapi.ActRemove, "provider.remove"},
}

// operateRoutes are those by which an operator adds, runs and removes providers.
func (w *Web) operateRoutes() []route {
	routes := []route{
		{method: http.MethodGet, path: "/add", access: mayOperate, handler: w.addPage},
		{method: http.MethodPost, path: "/add", access: mayOperate, does: "provider.add", handler: w.addPost},
		{method: http.MethodGet, path: homePrefix + "/operate", access: mayOperate, handler: w.operatePage},
		{method: http.MethodGet, path: homePrefix + "/operate/logs", access: mayOperate, handler: w.logsPage},
		{method: http.MethodGet, path: "/logs", access: mayOperate, handler: w.logsPage},

		{method: http.MethodGet, path: housePrefix + "/logs", access: mayOperate, handler: w.logsAPI},
		{method: http.MethodGet, path: apiPrefix + "/logs", access: mayOperate, handler: w.logsAPI},
		{method: http.MethodGet, path: housePrefix + "/plan", access: mayOperate, handler: w.housePlanAPI},
		{method: http.MethodPost, path: housePrefix + "/providers", access: mayOperate, does: "provider.add", handler: w.addAPI},
		{method: http.MethodGet, path: apiPrefix + "/plan", access: mayOperate, handler: w.planAPI},
	}
	for _, act := range acts {
		at := route{method: http.MethodPost, path: apiPrefix + "/" + act.name, access: mayOperate, does: act.does, handler: w.actAPI(act.name)}
		if act.name == houseapi.ActRemove {
			at.method, at.path = http.MethodDelete, apiPrefix
		}
		path := homePrefix + "/operate/" + act.name
		routes = append(routes, at,
			route{method: http.MethodGet, path: path, access: mayOperate, handler: w.actPage(act.name)},
			route{method: http.MethodPost, path: path, access: mayOperate, does: act.does, handler: w.actPost(act.name)})
	}
	return routes
}

// manage asks the provisioner what an act on a provider would come to, or has it done.
func (w *Web) manage(ctx context.Context, q houseapi.ManageRequest) (*houseapi.Managed, error) {
	request, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("ask for a plan: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, manageLimit)
	defer cancel()
	var m houseapi.Managed
	if err := w.conn.Ask(ctx, houseapi.ManageSubject, request, func(chunk []byte) error { return json.Unmarshal(chunk, &m) }); err != nil {
		return nil, err
	}
	return &m, nil
}

// answerManaged answers the API with what the provisioner says.
func (w *Web) answerManaged(rw http.ResponseWriter, r *http.Request, q houseapi.ManageRequest) error {
	m, err := w.manage(r.Context(), q)
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, m)
}

// housePlanAPI answers what is done now in the whole installation, or what the adding of a provider would come to.
func (w *Web) housePlanAPI(rw http.ResponseWriter, r *http.Request) error {
	q := houseapi.ManageRequest{Provider: r.URL.Query().Get("add")}
	if q.Provider != "" {
		q.Act = houseapi.ActAdd
	}
	return w.answerManaged(rw, r, q)
}

// planAPI answers what is done now for a provider, or what an act would come to.
func (w *Web) planAPI(rw http.ResponseWriter, r *http.Request) error {
	q := houseapi.ManageRequest{Provider: requestOf(r).provider.Name, Act: r.URL.Query().Get("act")}
	if q.Act == houseapi.ActAdd {
		return schema.Errorf(schema.Conflict, "%s is there", q.Provider)
	}
	return w.answerManaged(rw, r, q)
}

func (w *Web) addAPI(rw http.ResponseWriter, r *http.Request) error {
	var ask api.AddRequest
	if err := readJSON(r, &ask); err != nil {
		return err
	}
	w.noteProvider(r, ask.Name)
	return w.answerManaged(rw, r, houseapi.ManageRequest{Provider: ask.Name, Act: houseapi.ActAdd, Apply: true, Plan: ask.Plan})
}

// actAPI returns a handler that does one act.
func (w *Web) actAPI(act string) httpserver.Handler {
	return func(rw http.ResponseWriter, r *http.Request) error {
		return w.answerManaged(rw, r, houseapi.ManageRequest{
			Provider: requestOf(r).provider.Name, Act: act, Apply: true, Plan: r.URL.Query().Get("plan"),
		})
	}
}
