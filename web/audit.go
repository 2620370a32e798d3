package web

import (
	"net/http"
	"time"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/internal/sheet"
	"berth/schema"
	"berth/schema/record"
)

// changesShown is how many changes a page, or an answer of the API, has at most; the CSV has all that are kept.
const changesShown = 200

// change is what a request changed, as its handler told.
type change struct {
	provider string // whose audit log it is for; empty: the installation's
	what     string
	failed   error
	by       *visitor // who has come by the request itself
}

// note tells the audit log what a request changes.
func note(r *http.Request, what string) {
	if c := requestOf(r).change; c != nil {
		c.what = what
	}
}

// came tells the audit log who has come by the request itself.
func came(r *http.Request, who visitor) {
	if c := requestOf(r).change; c != nil {
		c.by, c.provider = &who, who.provider
	}
}

// fail tells the audit log that nothing was changed, where the handler has answered with a page all the same.
func fail(r *http.Request, err error) {
	if c := requestOf(r).change; c != nil {
		c.failed = err
	}
}

// record has a change recorded that was made, or tried by somebody who is known: strangers leave nothing.
func (w *Web) record(r *http.Request, q request, err error) {
	c, v := q.change, q.visitor
	if c.by != nil {
		v = *c.by
	}
	if err == nil {
		err = c.failed
	}
	if v.role == "" || err != nil && q.route.path == signInPath {
		return
	}
	entry := record.Change{
		Time: w.now().UTC(), Provider: c.provider, Address: httpserver.HostOf(r.RemoteAddr), Does: q.route.does, What: c.what,
		Who: v.named(), By: record.ByPerson,
	}
	switch {
	case v.bearer:
		entry.By = record.ByToken
	case v.person == "":
		entry.By = record.ByLink
	}
	if c.what == "" {
		for _, name := range []string{"gateway", "id", "person", "token"} {
			if at := r.PathValue(name); at != "" {
				entry.What = at
			}
		}
	}
	if err != nil {
		entry.Failed = schema.Show(err)
	}
	if err := w.audit.Record(r.Context(), entry); err != nil {
		w.o.Logger.Error("a change was not recorded in the audit log", "who", entry.Who, "by", entry.By, "provider", entry.Provider,
			"does", entry.Does, "what", entry.What, "failed", entry.Failed, "error", err)
	}
}

// auditData is the page of what was changed.
type auditData struct {
	frame
	Changes []changeRow
	CSV     string // where all of them are
	Shown   int
	All     bool // of all providers
}

type changeRow struct {
	record.Change
	Said string // key of what kind of change it is
}

func (w *Web) auditPage(rw http.ResponseWriter, r *http.Request) error {
	changes, err := w.audit.Newest(r.Context(), placeOf(r), madeAt(r), changesShown)
	if err != nil {
		return err
	}
	d := &auditData{CSV: r.URL.Path + ".csv", Shown: changesShown, All: placeOf(r) == ""}
	for _, c := range changes {
		d.Changes = append(d.Changes, changeRow{c, "change." + c.Does})
	}
	d.Nav = "audit"
	return w.show(rw, r, http.StatusOK, "audit", "audit.title", d)
}

func (w *Web) auditAPI(rw http.ResponseWriter, r *http.Request) error {
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
	case "csv":
		return w.auditCSV(rw, r)
	default:
		return schema.Errorf(schema.Invalid, "the format %q is unknown", format).WithNext("use json or csv")
	}
	changes, err := w.audit.Newest(r.Context(), placeOf(r), madeAt(r), changesShown)
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, api.Changes{Changes: changes})
}

// auditCSV answers with all changes that are kept, the oldest first.
func (w *Web) auditCSV(rw http.ResponseWriter, r *http.Request) error {
	h := rw.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="audit.csv"`)
	h.Set("Cache-Control", "no-store")
	out, err := sheet.NewCSV(rw, "time", "provider", "who", "by", "address", "does", "what", "failed")
	if err != nil {
		return err
	}
	err = w.audit.Each(r.Context(), placeOf(r), madeAt(r), func(c record.Change) error {
		return out.Row(sheet.Text(c.Time.Format(time.RFC3339Nano)), sheet.Text(c.Provider), sheet.Text(c.Who), sheet.Text(string(c.By)),
			sheet.Text(c.Address), sheet.Text(c.Does), sheet.Text(c.What), sheet.Text(c.Failed))
	})
	if err != nil {
		return err
	}
	return out.Flush()
}
