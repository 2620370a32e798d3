package web

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/schema"
	"berth/schema/record"
)

// sharedPath is where a shared report is seen, by its secret in ?key=: paths stand in logs.
const sharedPath = "/shared"

// shareDays are the spans that the page offers, and the first is the default.
var shareDays = []int{30, 7, 90, 365}

// paceOfShared is how often one sender may look at shared reports: each is made anew.
var paceOfShared = pace{every: 2 * time.Second, burst: 30}

// shareRoutes are those of shared reports.
func (w *Web) shareRoutes() []route {
	return []route{
		{method: http.MethodGet, path: sharedPath, access: anybody, handler: w.sharedPage},
		{method: http.MethodGet, path: homePrefix + "/shares", access: mayManage, handler: w.sharesPage},
		{method: http.MethodPost, path: homePrefix + "/shares", access: mayManage, does: "share.change", handler: w.sharesPost},
		{method: http.MethodGet, path: apiPrefix + "/shares", access: mayManage, handler: w.sharesAPI},
		{method: http.MethodPost, path: apiPrefix + "/shares", access: mayManage, does: "share.make", handler: w.newShareAPI},
		{method: http.MethodDelete, path: apiPrefix + "/shares/:share", access: mayManage, does: "share.revoke", handler: w.revokeShareAPI},
	}
}

// sharedData is the page of a shared report, for whoever has its link.
type sharedData struct {
	reportData
	Name    string
	Expires time.Time
}

// sharedPage answers with a shared report, as a page or, by ?format=, as a file.
func (w *Web) sharedPage(rw http.ResponseWriter, r *http.Request) error {
	h := rw.Header()
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Referrer-Policy", "no-referrer")
	if _, _, wait := w.asked.take("shared "+networkOf(r.RemoteAddr), paceOfShared, w.now()); wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return schema.Errorf(schema.Limited, "shared reports are asked for too often from here").WithNext("wait a moment")
	}
	secret := r.URL.Query().Get("key")
	s, err := w.book.Share(r.Context(), secret)
	if err != nil {
		return err
	}
	p, err := w.dir.provider(s.Provider)
	if err != nil || !p.Created.Equal(s.Of) {
		return schema.Errorf(schema.NotFound, "nothing is shared by this link any more")
	}
	ctx, cancel := context.WithTimeout(r.Context(), reportLimit)
	defer cancel()
	ask := askOf(s)
	if format := r.URL.Query().Get("format"); format != "" {
		ask.Set("format", format)
		ask.Set("lang", languageOf(r))
		f, err := w.up.file(ctx, p, ask)
		if err != nil {
			return err
		}
		return saveFile(rw, f)
	}
	d := &sharedData{Name: s.Name, Expires: s.Expires}
	w.fill(&d.frame, r, "shared.title")
	d.setProvider(p, w.o.PortBase)
	d.zone = d.home
	d.Provider = nil // it is nobody's page: no way leads on to the provider's
	if err := w.makeReport(ctx, p, &d.reportData, ask); err != nil {
		return err
	}
	d.Files = nil
	for _, format := range []string{"pdf", "xlsx", "csv", "json"} {
		at := url.URL{Path: sharedPath, RawQuery: url.Values{"key": {secret}, "format": {format}}.Encode()}
		d.Files = append(d.Files, reportFile{format, at.RequestURI()})
	}
	return w.render(rw, http.StatusOK, "shared", "layout.html", d)
}

// askOf returns what reports is asked for a shared report.
func askOf(s *record.Share) url.Values {
	return url.Values{"gateway": s.Gateways, "from": {s.From.Format(time.RFC3339Nano)}, "to": {s.To.Format(time.RFC3339Nano)}}
}

// newShare shares the report that is asked for, if it can be made, and returns the link.
func (w *Web) newShare(r *http.Request, s *record.Share, ask url.Values) (link string, err error) {
	p := requestOf(r).provider
	note(r, s.Name)
	s.Provider, s.Of, s.Gateways = p.Name, p.Created, ask["gateway"]
	ctx, cancel := context.WithTimeout(r.Context(), reportLimit)
	defer cancel()
	var made api.Report
	if err := w.up.ask(ctx, http.MethodGet, p, &made, ask, "reports", "preview"); err != nil {
		return "", err
	}
	s.From, s.To = made.From.UTC(), made.To.UTC()
	secret, err := w.book.NewShare(r.Context(), s)
	if err != nil {
		return "", err
	}
	return w.linkTo(r, sharedPath, url.Values{"key": {secret}}), nil
}

// sharesData is the page of a provider's shared reports.
type sharesData struct {
	frame
	outcome
	Shares []record.Share
	Link   string // that was made just now; it is shown once
	Name   string // of that one
}

// Period returns what a shared report is of, in the provider's zone.
func (d *sharesData) Period(s record.Share) string {
	return s.From.In(d.home).Format(d.Language.Clock) + " – " + s.To.In(d.home).Format(d.Language.Clock)
}

func (w *Web) sharesPage(rw http.ResponseWriter, r *http.Request) error {
	return w.showShares(rw, r, http.StatusOK, &sharesData{})
}

func (w *Web) showShares(rw http.ResponseWriter, r *http.Request, status int, d *sharesData) (err error) {
	if d.Shares, err = w.book.Shares(r.Context(), placeOf(r), madeAt(r)); err != nil {
		return err
	}
	d.Nav = "reports"
	return w.show(rw, r, status, "shares", "shares.title", d)
}

// sharesPost shares a report or ends that, and shows the page with what became of it.
func (w *Web) sharesPost(rw http.ResponseWriter, r *http.Request) error {
	act := r.PostFormValue("act")
	d := &sharesData{Name: strings.TrimSpace(r.PostFormValue("name"))}
	note(r, act+" "+d.Name)
	var err error
	switch act {
	case "make":
		s := &record.Share{Name: d.Name}
		ask := url.Values{"from": {r.PostFormValue("from")}, "to": {r.PostFormValue("to")}, "gateway": r.PostForm["gateway"]}
		if s.Expires, err = w.expiry(cmp.Or(r.PostFormValue("days"), strconv.Itoa(shareDays[0]))); err == nil {
			d.Link, err = w.newShare(r, s, ask)
		}
	case "revoke":
		note(r, act+" "+r.PostFormValue("id"))
		err = w.book.RevokeShare(r.Context(), placeOf(r), r.PostFormValue("id"))
	default:
		err = schema.Errorf(schema.Invalid, "the form cannot be read").WithNext("load the page again")
	}
	status, err := d.settle(r, "shares.done."+act, err)
	if err != nil {
		return err
	}
	return w.showShares(rw, r, status, d)
}

func (w *Web) sharesAPI(rw http.ResponseWriter, r *http.Request) error {
	all, err := w.book.Shares(r.Context(), placeOf(r), madeAt(r))
	if err != nil {
		return err
	}
	answer := api.Shares{Shares: []api.Share{}}
	for i := range all {
		answer.Shares = append(answer.Shares, shareOf(&all[i]))
	}
	return httpserver.JSON(rw, http.StatusOK, answer)
}

func shareOf(s *record.Share) api.Share {
	return api.Share{ID: s.ID, Name: s.Name, Gateways: slices.Concat([]string{}, s.Gateways), From: s.From, To: s.To, Created: s.Created, Expires: s.Expires}
}

func (w *Web) newShareAPI(rw http.ResponseWriter, r *http.Request) error {
	var q api.ShareRequest
	if err := readJSON(r, &q); err != nil {
		return err
	}
	s := &record.Share{Name: q.Name, Expires: w.now().UTC().AddDate(0, 0, shareDays[0])}
	if q.Expires != nil {
		s.Expires = q.Expires.UTC()
	}
	ask := url.Values{"gateway": q.Gateways}
	for name, value := range map[string]string{"period": q.Period, "from": q.From, "to": q.To} {
		if value != "" {
			ask.Set(name, value)
		}
	}
	link, err := w.newShare(r, s, ask)
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, api.NewShare{Share: shareOf(s), URL: link})
}

func (w *Web) revokeShareAPI(rw http.ResponseWriter, r *http.Request) error {
	note(r, r.PathValue("share"))
	if err := w.book.RevokeShare(r.Context(), placeOf(r), r.PathValue("share")); err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, api.Done{Done: true})
}
