package web

import (
	"net/http"
	"net/url"

	"berth/internal/httpserver"
	"berth/internal/usage"
	"berth/schema"
)

// usageRoutes are those of what providers used, for operators alone.
func (w *Web) usageRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/usage", access: mayOperate, handler: w.usagePage},
		{method: http.MethodGet, path: "/usage.csv", access: mayOperate, handler: w.usageCSV},
	}
}

// usageData is the page of what providers used.
type usageData struct {
	frame
	Rows    []usage.Row
	Asked   string
	Month   string
	ByDay   bool
	CSV     string // where the same is
	Problem string // in the service's own words
}

// usageOf reads what is asked for: of a provider or all, a month or all that is kept, by day or by month.
func usageOf(r *http.Request) usage.Query {
	q := r.URL.Query()
	return usage.Query{Provider: q.Get("provider"), Month: q.Get("month"), ByMonth: q.Get("by") != "day"}
}

func (w *Web) usageRows(r *http.Request) ([]usage.Row, error) {
	return usage.Rows(r.Context(), w.usage, usageOf(r))
}

func (w *Web) usagePage(rw http.ResponseWriter, r *http.Request) error {
	q := usageOf(r)
	d := &usageData{Asked: q.Provider, Month: q.Month, ByDay: !q.ByMonth}
	at := url.URL{Path: "/usage.csv", RawQuery: url.Values{"provider": {q.Provider}, "month": {q.Month}, "by": {r.URL.Query().Get("by")}}.Encode()}
	d.CSV = at.RequestURI()
	var err error
	if d.Rows, err = w.usageRows(r); schema.Is(err, schema.Invalid) {
		d.Problem, err = schema.Show(err), nil
	}
	if err != nil {
		return err
	}
	return w.show(rw, r, http.StatusOK, "usage", "usage.title", d)
}

// usageCSV answers with a table for billing.
func (w *Web) usageCSV(rw http.ResponseWriter, r *http.Request) error {
	rows, err := w.usageRows(r)
	if err != nil {
		return err
	}
	h := rw.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="usage.csv"`)
	h.Set("Cache-Control", "no-store")
	return usage.WriteCSV(rw, rows)
}

// usageAPI answers with the same, in the format that is asked for.
func (w *Web) usageAPI(rw http.ResponseWriter, r *http.Request) error {
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		return w.usageJSON(rw, r)
	case "csv":
		return w.usageCSV(rw, r)
	default:
		return schema.Errorf(schema.Invalid, "the format %q is unknown", format).WithNext("use json or csv")
	}
}

func (w *Web) usageJSON(rw http.ResponseWriter, r *http.Request) error {
	rows, err := w.usageRows(r)
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, usage.Usage{Usage: rows})
}
