package reports

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/internal/sheet"
	"berth/reports/query"
	"berth/schema"
)

// gateways answers with a page of the list, or with all of it as a file.
func (r *Reports) gateways(w http.ResponseWriter, req *http.Request) error {
	limit, err := number(req, "limit")
	if err != nil {
		return err
	}
	values := req.URL.Query()
	q := query.GatewaysRequest{
		After: values.Get("after"), Limit: limit, Search: values.Get("q"), State: api.State(values.Get("state")), Sort: values.Get("sort"), Choice: choiceOf(values),
	}
	switch day := values.Get("day"); day {
	case "", "false":
	case "true":
		q.Day = true
	default:
		return schema.Errorf(schema.Invalid, "day=%q is neither true nor false", day)
	}
	switch format := values.Get("format"); format {
	case "", "json":
	case "csv":
		q.Day = false
		q.Limit = cmp.Or(limit, query.MostGateways)
		return r.gatewaysCSV(w, req, q)
	default:
		return schema.Errorf(schema.Invalid, "the format %q is unknown", format).WithNext("use json or csv")
	}
	page, err := r.engine.Gateways(req.Context(), q)
	if err != nil {
		return err
	}
	return writeJSON(w, page)
}

// gatewaysCSV streams the list a page at a time, so that its length costs no memory; in another order than that of names all is
// gathered first, so that each gateway is in it once. How far it is complete is what the first page knew.
func (r *Reports) gatewaysCSV(w http.ResponseWriter, req *http.Request, q query.GatewaysRequest) error {
	get := r.engine.Gateways
	if q.Sort != "" && q.Sort != api.ByName {
		get = r.engine.AllGateways
	}
	page, err := get(req.Context(), q)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", sheet.CSVType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-gateways.csv"`, r.options.Provider))
	setComplete(h, page.Complete)
	stream := httpserver.NewStream(w, req)
	defer stream.Close()
	out, err := sheet.NewCSV(stream, "gateway", "state", "first_seen", "last_seen", "interval_seconds", "sensors", "groups", "tags", "attributes", "clock_ahead_seconds", "readings_last_hour", "rejects")
	if err != nil {
		return err
	}
	for {
		for i := range page.Gateways {
			if err := out.Row(gatewayCells(&page.Gateways[i])...); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return out.Flush()
		}
		q.After = page.Next
		if page, err = r.engine.Gateways(stream.Context(), q); err != nil { //nolint:contextcheck // the stream's context is the request's
			return err
		}
	}
}

// gatewayCells returns a gateway's row; what is not known is empty.
func gatewayCells(g *api.Gateway) []sheet.Cell {
	at := func(t *time.Time) sheet.Cell {
		if t == nil {
			return sheet.Text("")
		}
		return sheet.Text(t.UTC().Format(time.RFC3339Nano))
	}
	rejects := sheet.Text("")
	if g.Rejects != nil {
		rejects = sheet.Int(int64(*g.Rejects))
	}
	said, sent := api.Grouping{Groups: g.Groups, Tags: g.Tags}, api.Grouping{Tags: g.Attributes}
	return []sheet.Cell{
		sheet.Text(g.Name), sheet.Text(string(g.State)), at(g.FirstSeen), at(g.LastSeen), sheet.Float(g.Interval), sheet.Int(int64(g.Sensors)),
		sheet.Text(said.GroupsText()), sheet.Text(said.TagsText()), sheet.Text(sent.TagsText()), sheet.Float(g.ClockAhead), sheet.Int(int64(g.Rate)), rejects,
	}
}
