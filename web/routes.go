package web

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/schema"
)

const (
	signInPath  = "/sign-in"
	accountPath = "/account"
	// apiPrefix is where the API of internal/api begins.
	apiPrefix = housePrefix + "/providers/:provider"
	// housePrefix is where the API begins of what is about the installation.
	housePrefix = "/api/v1"
	// homePrefix is where a provider's pages begin.
	homePrefix = "/providers/:provider"
)

// routes returns all routes with who may ask them, and what those do that change something. The router is made of this
// table, every answer of every handler comes through its guard, and nothing else adds a route.
func (w *Web) routes() []route {
	get := func(path string, a access, h httpserver.Handler) route {
		return route{method: http.MethodGet, path: path, access: a, handler: h}
	}
	act := func(method, path string, a access, does string, h httpserver.Handler) route {
		return route{method: method, path: path, access: a, does: does, handler: h}
	}
	post := func(path string, a access, does string, h httpserver.Handler) route {
		return act(http.MethodPost, path, a, does, h)
	}
	routes := []route{
		get(api.AlivePath, anybody, httpserver.Alive),
		get(api.ReadyPath, anybody, httpserver.Ready(w.lacks)),
		get("/assets/:hash/:name", anybody, w.asset),
		get("/favicon.ico", anybody, w.icon),
		get(signInPath, anybody, w.signInPage),
		post(signInPath, anybody, "session.begin", w.signInPost),
		post("/sign-out", signedIn, "session.end", w.signOutPost),

		get("/", signedIn, w.homePage),
		get(accountPath, signedIn, w.accountPage),
		post(accountPath, signedIn, "account.change", w.accountPost),
		get("/reference", signedIn, w.referencePage),
		get(openAPIPath, anybody, w.openAPI),
		get(housePrefix+"/survey", mayOperate, w.surveyAPI),
		get("/audit", mayOperate, w.auditPage),
		get("/audit.csv", mayOperate, w.auditCSV),
		get("/tokens", mayOperate, w.tokensPage),
		post("/tokens", mayOperate, "token.change", w.tokensPost),
		get("/people", mayOperate, w.peoplePage),
		post("/people", mayOperate, "people.change", w.peoplePost),
		get(homePrefix, mayRead, w.gatewaysPage),
		get(homePrefix+"/exports", mayRead, w.exportsPage),
		get(homePrefix+"/connect", mayWrite, w.connectPage),
		get(homePrefix+"/first", mayWrite, w.firstPanel),
		get(homePrefix+"/gateways/:gateway", mayRead, w.gatewayPage),
		post(homePrefix+"/gateways/:gateway", mayWrite, "gateway.change", w.gatewayPost),
		get(homePrefix+"/groups", mayRead, w.groupsPage),
		post(homePrefix+"/groups", mayWrite, "groups.change", w.groupsPost),
		get(apiPrefix+"/groupings", mayRead, groupings.get(w)),
		post(apiPrefix+"/groupings", mayWrite, "groups.change", groupings.set(w)),
		post(apiPrefix+"/gateways/:gateway/annotations", mayWrite, "annotation.make", w.annotateAPI),
		act(http.MethodDelete, apiPrefix+"/gateways/:gateway/annotations/:id", mayWrite, "annotation.remove", w.pass),
		get(homePrefix+"/reports", mayRead, w.reportPage),
		get(homePrefix+"/reports/how", mayRead, w.reportHowPage),
		get(homePrefix+"/sensors", mayRead, w.sensorsPage),
		post(homePrefix+"/sensors", mayWrite, "sensors.change", w.sensorsPost),
		get(apiPrefix+"/sensors", mayRead, sensors.get(w)),
		post(apiPrefix+"/sensors", mayWrite, "sensors.change", sensors.set(w)),
		get(homePrefix+"/rejects", mayRead, w.rejectsPage),
		post(homePrefix+"/rejects", mayWrite, "kept.change", w.rejectsPost),
		get(homePrefix+"/books", mayRead, w.booksPage),
		get(homePrefix+"/troubles", mayRead, w.troublesPart),
		get(homePrefix+"/keys", mayManage, w.keysPage),
		post(homePrefix+"/keys", mayManage, "senders.change", w.keysPost),
		get(homePrefix+"/settings", mayManage, w.settingsPage),
		post(homePrefix+"/settings", mayManage, "settings.change", w.settingsPost),
		get(homePrefix+"/people", mayManage, w.peoplePage),
		post(homePrefix+"/people", mayManage, "people.change", w.peoplePost),
		get(homePrefix+"/tokens", mayManage, w.tokensPage),
		post(homePrefix+"/tokens", mayManage, "token.change", w.tokensPost),
		get(homePrefix+"/audit", mayManage, w.auditPage),
		get(homePrefix+"/audit.csv", mayManage, w.auditCSV),

		get(housePrefix+"/usage", mayOperate, w.usageAPI),
		act(http.MethodPut, apiPrefix+"/people/:person/role", mayManage, "people.change", w.personAPI("role")),
	}
	for _, place := range []struct {
		prefix string
		access access
	}{{apiPrefix, mayManage}, {housePrefix, mayOperate}} {
		prefix, a := place.prefix, place.access
		routes = append(routes,
			get(prefix+"/tokens", a, w.tokensAPI),
			post(prefix+"/tokens", a, "token.make", w.newTokenAPI),
			act(http.MethodDelete, prefix+"/tokens/:token", a, "token.revoke", w.revokeTokenAPI),
			get(prefix+"/people", a, w.peopleAPI),
			post(prefix+"/people", a, "people.change", w.personAPI("invite")),
			post(prefix+"/people/:person/reset", a, "people.change", w.personAPI("reset")),
			post(prefix+"/people/:person/sign-out", a, "people.change", w.personAPI("sign_out")),
			act(http.MethodDelete, prefix+"/people/:person", a, "people.change", w.personAPI("remove")),
			get(prefix+"/sessions", a, w.sessionsAPI),
			act(http.MethodDelete, prefix+"/sessions/:session", a, "people.change", w.endSessionAPI),
			get(prefix+"/audit", a, w.auditAPI))
	}
	for _, path := range []string{
		"/latest", "/series", "/gateways", "/gateways/:gateway", "/gateways/:gateway/sensors", "/gateways/:gateway/latest", "/gateways/:gateway/series",
		"/gateways/:gateway/readings", "/gateways/:gateway/live", "/gateways/:gateway/annotations", "/groups", "/books", "/reports/preview", "/export", "/exports",
		"/rejects", "/rejects/:id", "/rejects/:id/raw", "/aside", "/aside/:id", "/aside/:id/raw",
	} {
		routes = append(routes, get(apiPrefix+path, mayRead, w.pass))
	}
	routes = append(routes,
		get(apiPrefix+"/senders", mayManage, w.sendersGet),
		post(apiPrefix+"/senders", mayManage, "senders.change", w.sendersPost))
	for _, shelf := range []string{"/rejects", "/aside"} {
		routes = append(routes,
			post(apiPrefix+shelf+"/:id/feed", mayWrite, "kept.feed", w.pass),
			act(http.MethodDelete, apiPrefix+shelf+"/:id", mayWrite, "kept.remove", w.pass))
	}
	return slices.Concat(routes, w.scheduleRoutes(), w.shareRoutes(), w.usageRoutes(), w.operateRoutes())
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
	h.Add("Vary", "Accept-Encoding")
	data := f.Data
	if takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		data = f.Gzip
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	_, err := rw.Write(data)
	return err
}

// takesGzip reports whether a browser says that it takes gzip. Pages are not compressed here: they hold secrets beside what a
// visitor chose.
func takesGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			weight, found := strings.CutPrefix(strings.TrimSpace(weight), "q=")
			q, err := strconv.ParseFloat(weight, 64)
			return !found || err == nil && q > 0
		}
	}
	return false
}

// icon sends browsers that ask by habit to the icon.
func (w *Web) icon(rw http.ResponseWriter, r *http.Request) error {
	rw.Header().Set("Cache-Control", "max-age="+maxAge(time.Hour))
	http.Redirect(rw, r, w.pages.files["icon.svg"].Path(), http.StatusFound)
	return nil
}
