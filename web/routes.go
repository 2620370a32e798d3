package web

import (
	"context"
	"net/http"
	"time"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/schema"
)

const (
	signInPath = "/sign-in"
	// apiPrefix is where the API of internal/api begins.
	apiPrefix = "/api/v1/providers/:provider"
	// homePrefix is where a provider's pages begin.
	homePrefix = "/providers/:provider"
)

// routes returns all routes with who may ask them.
func (w *Web) routes() []route {
	get := func(path string, a access, h httpserver.Handler) route {
		return route{method: http.MethodGet, path: path, access: a, handler: h}
	}
	post := func(path string, a access, h httpserver.Handler) route {
		return route{method: http.MethodPost, path: path, access: a, handler: h}
	}
	routes := []route{
		get(api.AlivePath, anybody, httpserver.Alive),
		get(api.ReadyPath, anybody, httpserver.Ready(w.lacks)),
		get("/assets/:hash/:name", anybody, w.asset),
		get("/favicon.ico", anybody, w.icon),
		get(signInPath, anybody, w.signInPage),
		post(signInPath, anybody, w.signInPost),
		post("/sign-out", signedIn, w.signOutPost),

		get("/", signedIn, w.homePage),
		get(homePrefix, provided, w.gatewaysPage),
		get(homePrefix+"/connect", provided, w.connectPage),
		get(homePrefix+"/first", provided, w.firstPanel),
		get(homePrefix+"/gateways/:gateway", provided, w.gatewayPage),
		get(homePrefix+"/rejects", provided, w.rejectsPage),
		post(homePrefix+"/rejects", provided, w.rejectsPost),
		get(homePrefix+"/books", provided, w.booksPage),
		get(homePrefix+"/troubles", provided, w.troublesPart),
	}
	for _, path := range []string{
		"/gateways", "/gateways/:gateway", "/gateways/:gateway/sensors", "/gateways/:gateway/latest", "/gateways/:gateway/series",
		"/gateways/:gateway/readings", "/gateways/:gateway/live", "/books",
		"/rejects", "/rejects/:id", "/rejects/:id/raw", "/aside", "/aside/:id", "/aside/:id/raw",
	} {
		routes = append(routes, get(apiPrefix+path, ofAPI, w.pass))
	}
	for _, shelf := range []string{"/rejects", "/aside"} {
		routes = append(routes,
			post(apiPrefix+shelf+"/:id/feed", ofAPI, w.pass),
			route{method: http.MethodDelete, path: apiPrefix + shelf + "/:id", access: ofAPI, handler: w.pass})
	}
	return routes
}

// lacks returns what web cannot do its work without. Without NATS nobody's session can be read.
func (w *Web) lacks(context.Context) []httpserver.Lack {
	if !w.conn.Up() {
		return []httpserver.Lack{httpserver.AwayNATS()}
	}
	return nil
}

// asset serves a file that the pages load. Its content's hash is in its path, so browsers may keep it for ever.
func (w *Web) asset(rw http.ResponseWriter, r *http.Request) error {
	f := w.pages.files[r.PathValue("name")]
	if f == nil || f.Hash != r.PathValue("hash") {
		return schema.Errorf(schema.NotFound, "there is no such file")
	}
	h := rw.Header()
	h.Set("Content-Type", f.Type)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, err := rw.Write(f.Data)
	return err
}

// icon sends browsers that ask by habit to the icon.
func (w *Web) icon(rw http.ResponseWriter, r *http.Request) error {
	rw.Header().Set("Cache-Control", "max-age="+maxAge(time.Hour))
	http.Redirect(rw, r, w.pages.files["icon.svg"].Path(), http.StatusFound)
	return nil
}
