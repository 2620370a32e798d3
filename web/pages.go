package web

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"berth/internal/httpserver"
	"berth/schema"
	"berth/schema/record"
	"berth/web/assets"
	"berth/web/locale"
)

//go:embed templates/*.html
var templates embed.FS

// Cookies that keep what was chosen on a page: the language, and the time zone in place of the provider's.
const (
	languageCookie = "berth_language"
	zoneCookie     = "berth_zone"
)

// pages are the templates, each with the layout, and what they refer to.
type pages struct {
	files   assets.Files
	catalog *locale.Catalog
	byName  map[string]*template.Template
}

func loadPages(files assets.Files, catalog *locale.Catalog) (*pages, error) {
	p := &pages{files: files, catalog: catalog, byName: map[string]*template.Template{}}
	base, err := template.New("layout.html").Option("missingkey=error").ParseFS(templates, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("parse the layout: %w", err)
	}
	list, err := templates.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	for _, e := range list {
		name := strings.TrimSuffix(e.Name(), path.Ext(e.Name()))
		if name == "layout" || name == "parts" {
			continue
		}
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(templates, "templates/"+e.Name())
		}
		if err != nil {
			return nil, fmt.Errorf("parse page %s: %w", name, err)
		}
		p.byName[name] = t
	}
	return p, nil
}

// page is a page's data: a struct with a frame in it.
type page interface{ base() *frame }

// frame is what every page has around its own.
type frame struct {
	*locale.Printer
	Title    string
	URL      string // path and query of the page
	SignedIn bool
	Who      string // name of who is signed in; empty: came by a link
	Operator bool
	Write    bool          // the visitor may change what the provider has
	Manage   bool          // and who else may
	Form     string        // token that forms send back
	Provider *providerView // nil on pages that are no provider's
	Nav      string        // which of the provider's pages this is
	Troubles []trouble     // of the provider, the gravest first
	Now      time.Time

	files assets.Files
	home  *time.Location // of the provider, by which days are cut; UTC where there is none
	zone  *time.Location // in which times are shown: the visitor's own, or home
}

// providerView is a provider as the pages' head shows it.
type providerView struct {
	Name string
	Port int
	Path string
}

// Zone returns the IANA name of the zone in which times are shown.
func (f *frame) Zone() string { return f.zone.String() }

// Home returns the name of the provider's zone, "" where it is the one in which times are shown.
func (f *frame) Home() string {
	if f.Provider == nil || f.home.String() == f.zone.String() {
		return ""
	}
	return f.home.String()
}

// Abbr returns what the zone is called now, with its offset.
func (f *frame) Abbr() string {
	now := f.Now.In(f.zone)
	abbr, offset := now.Zone()
	if strings.ContainsAny(abbr, "+-") {
		abbr = "UTC"
	}
	if offset != 0 {
		abbr += now.Format(" (UTC-07:00)")
	}
	return abbr
}

func (f *frame) base() *frame { return f }

// Asset returns the path of a file that the page loads.
func (f *frame) Asset(name string) string {
	if file := f.files[name]; file != nil {
		return file.Path()
	}
	return ""
}

// Languages returns the languages to switch to.
func (f *frame) Languages() []locale.Language { return locale.Languages }

// In returns the page's own address in another language.
func (f *frame) In(code string) string { return f.with("lang", code) }

// AtHome returns the page's own address in the provider's zone.
func (f *frame) AtHome() string { return f.with("zone", "") }

func (f *frame) with(name, value string) string {
	q := f.Params()
	q.Set(name, value)
	return "?" + q.Encode()
}

// Params returns what the page was asked for.
func (f *frame) Params() url.Values {
	u, err := url.Parse(f.URL)
	if err != nil {
		return url.Values{}
	}
	q := u.Query()
	q.Del("lang")
	q.Del("zone")
	return q
}

// Clock returns a time in the page's zone, to the second.
func (f *frame) Clock(t time.Time) string { return t.In(f.zone).Format(f.Language.Clock) }

// Stamp returns a time for machines, in the page's zone with its offset.
func (f *frame) Stamp(t time.Time) string { return t.In(f.zone).Format(time.RFC3339Nano) }

// Ago says how long ago a time was.
func (f *frame) Ago(t time.Time) string {
	d := f.Now.Sub(t)
	key := "ago."
	if d < 0 {
		d, key = -d, "ahead."
	}
	switch {
	case d < time.Second:
		return f.T("ago.now")
	case d < time.Minute:
		return f.T(key+"seconds", "n", int(d.Seconds()))
	case d < time.Hour:
		return f.T(key+"minutes", "n", int(d.Minutes()))
	case d < 48*time.Hour:
		return f.T(key+"hours", "n", int(d.Hours()))
	default:
		return f.T(key+"days", "n", int(d.Hours()/24))
	}
}

// Ahead says how far a gateway's clock is ahead.
func (f *frame) Ahead(d time.Duration) string {
	switch {
	case d < time.Hour:
		return f.T("clock.minutes", "n", int(d.Minutes()))
	case d < 48*time.Hour:
		return f.T("clock.hours", "n", int(d.Hours()))
	default:
		return f.T("clock.days", "n", int(d.Hours()/24))
	}
}

// Count writes a whole number.
func (f *frame) Count(n uint64) string { return f.Language.Count(n) }

// Bytes writes a size.
func (f *frame) Bytes(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return strconv.FormatUint(n, 10) + "\u00a0B"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + "\u00a0" + units[i]
}

// Share returns n of whole in percent.
func (f *frame) Share(n, whole uint64) int {
	if whole == 0 {
		return 0
	}
	return int(min(100*float64(n)/float64(whole), 100))
}

// show answers with a page: it fills the frame and renders the template into a buffer first, so that a mistake in it is
// an error and not half a page.
func (w *Web) show(rw http.ResponseWriter, r *http.Request, status int, name, title string, d page) error {
	if done, err := w.choose(rw, r); done || err != nil {
		return err
	}
	w.fill(d.base(), r, title)
	return w.render(rw, status, name, "layout.html", d)
}

// fill sets what all pages have.
func (w *Web) fill(f *frame, r *http.Request, title string) {
	q := requestOf(r)
	f.Printer = w.pages.catalog.Printer(languageOf(r))
	f.Title = f.T(title)
	f.URL = r.URL.RequestURI()
	f.SignedIn, f.Operator, f.Form = q.visitor.role != "", q.visitor.role == record.Operator, q.visitor.form
	f.Who = q.visitor.person
	f.Write, f.Manage = q.visitor.may() >= mayWrite, q.visitor.may() >= mayManage
	f.Now, f.files, f.home = w.now(), w.pages.files, time.UTC
	if q.provider != nil {
		f.setProvider(q.provider, w.o.PortBase)
		f.Troubles = w.troublesOf(q.provider)
	}
	f.zone = cmp.Or(chosenZone(r), f.home)
}

func (f *frame) setProvider(p *record.Provider, portBase int) {
	f.home = zoneOf(p)
	f.Provider = &providerView{Name: p.Name, Port: p.Slot.Port(portBase), Path: providerPath(p.Name)}
}

// render answers with one template of a page.
func (w *Web) render(rw http.ResponseWriter, status int, name, part string, d page) error {
	t := w.pages.byName[name]
	if t == nil {
		return fmt.Errorf("page %s has no template", name)
	}
	var buf bytes.Buffer
	if err := t.ExecuteTemplate(&buf, part, d); err != nil {
		return fmt.Errorf("render page %s: %w", name, err)
	}
	h := rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", d.base().Language.Tag)
	h.Add("Vary", "Accept-Language")
	rw.WriteHeader(status)
	_, _ = rw.Write(w.o.Front.Based(buf.Bytes())) // the browser may be gone
	return nil
}

// choose keeps the language of ?lang= and the zone of ?zone=, and sends the browser to the same place without them. done is
// false where there is nothing to choose.
func (w *Web) choose(rw http.ResponseWriter, r *http.Request) (done bool, err error) {
	if r.Method != http.MethodGet {
		return false, nil
	}
	q := r.URL.Query()
	code, zone := locale.Known(q.Get("lang")), q.Get("zone")
	if code == "" && !q.Has("zone") {
		return false, nil
	}
	if code != "" {
		w.setCookie(rw, r, languageCookie, code, w.now().Add(365*24*time.Hour))
	}
	switch {
	case !q.Has("zone"):
	case zone == "":
		w.setCookie(rw, r, zoneCookie, "", time.Unix(1, 0))
	case loadZone(zone) == nil:
		return false, schema.Errorf(schema.Invalid, "there is no time zone %q", zone).WithNext("give one by its IANA name, such as Europe/Berlin")
	default:
		w.setCookie(rw, r, zoneCookie, zone, w.now().Add(365*24*time.Hour))
	}
	q.Del("lang")
	q.Del("zone")
	u := url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: q.Encode()}
	http.Redirect(rw, r, localPath(u.RequestURI()), http.StatusSeeOther)
	return true, nil
}

// chosenZone returns the zone that the visitor has chosen, nil for none.
func chosenZone(r *http.Request) *time.Location {
	c, err := r.Cookie(zoneCookie)
	if err != nil {
		return nil
	}
	return loadZone(c.Value)
}

// loadZone returns the zone of an IANA name, nil where there is none.
func loadZone(name string) *time.Location {
	if name == "" || name == "Local" || len(name) > 64 {
		return nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return zone
}

func languageOf(r *http.Request) string {
	if c, err := r.Cookie(languageCookie); err == nil && locale.Known(c.Value) != "" {
		return c.Value
	}
	return locale.Choose(r.Header.Get("Accept-Language"))
}

// errorData is the page that says what went wrong.
type errorData struct {
	frame
	Code      string
	Detail    string // as the services said it, in English
	Next      string
	RequestID string
}

// failPage answers a browser that asked for a page with an error's page, or with the way to sign in. The API's paths and
// other clients get problems.
func (w *Web) failPage(rw http.ResponseWriter, r *http.Request, err error) bool {
	if strings.HasPrefix(r.URL.Path, "/api/") || !strings.Contains(r.Header.Get("Accept"), "text/html") && r.Header.Get("Hx-Request") == "" {
		return false
	}
	problem := httpserver.NewProblem(err)
	if problem.Code == schema.Unauthorized && r.Method == http.MethodGet {
		to := signInPath
		if at := r.URL.RequestURI(); at != "/" {
			to += "?" + url.Values{"next": {at}}.Encode()
		}
		if r.Header.Get("Hx-Request") != "" { // a part of a page: the whole page must go there
			rw.Header().Set("Hx-Redirect", signInPath)
			rw.WriteHeader(http.StatusUnauthorized)
			return true
		}
		http.Redirect(rw, r, to, http.StatusSeeOther)
		return true
	}
	if done, err := w.choose(rw, r); done && err == nil {
		return true
	}
	d := &errorData{Code: string(problem.Code), Detail: problem.Detail, Next: problem.Next, RequestID: rw.Header().Get(httpserver.RequestIDHeader)}
	w.fill(&d.frame, r, "error."+d.Code+".title")
	d.Provider = nil
	httpserver.SetErrorHeaders(rw.Header(), problem.Code)
	if renderErr := w.render(rw, problem.Status, "error", "layout.html", d); renderErr != nil {
		w.o.Logger.Error("the error page cannot be rendered", "error", renderErr)
		return false
	}
	return true
}

func providerPath(name string) string { return "/providers/" + url.PathEscape(name) }

func gatewayPath(provider, gateway string) string {
	return providerPath(provider) + "/gateways/" + url.PathEscape(gateway)
}

func maxAge(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }
