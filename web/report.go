package web

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"time"

	"berth/internal/api"
	"berth/internal/reportview"
	"berth/schema"
	"berth/schema/record"
)

const (
	// reportLimit is how long the page waits for a report.
	reportLimit = time.Minute
	// mostListed is how many gateways are listed to choose from; those beyond are reached by the page's address.
	mostListed = 1000
)

// periods are those to choose from, by their names in the API.
var periods = []string{"yesterday", "last-week", "last-month", "last-year", "today", "this-week", "this-month", "this-year"}

// reportData is the page on which a report is asked for and seen.
type reportData struct {
	frame
	Gateways []chosen
	Groups   []chosen
	Tags     []string // that are asked for
	Periods  []chosen
	FromAt   string // of a range, as inputs take it
	ToAt     string
	Files    []reportFile
	Problem  string // key of what is wrong with what was asked for
	Detail   string // why there is no report, in English

	view *reportview.View // nil: no report was asked for
}

// Made reports whether there is a report.
func (d *reportData) Made() bool { return d.view != nil }

// Body returns the report as a part of the page.
func (d *reportData) Body() template.HTML { return template.HTML(d.view.Body()) } // it has escaped its texts

// MadeFrom returns where the period of the report begins that is seen, as the API takes it.
func (d *reportData) MadeFrom() string { return d.view.Report.From.Format(time.RFC3339Nano) }

// MadeTo returns where it ends.
func (d *reportData) MadeTo() string { return d.view.Report.To.Format(time.RFC3339Nano) }

// All reports whether the report is of all gateways.
func (d *reportData) All() bool {
	picked := func(c chosen) bool { return c.Chosen }
	return len(d.Tags) == 0 && !slices.ContainsFunc(d.Gateways, picked) && !slices.ContainsFunc(d.Groups, picked)
}

// Of are the gateways that the report is of, by groups and tags as they are now: so it is shared, and no other.
func (d *reportData) Of() []string {
	names := []string{}
	for i := range d.view.Report.Gateways {
		names = append(names, d.view.Report.Gateways[i].Name)
	}
	return names
}

// ShareDays are for how many days it may be shared.
func (d *reportData) ShareDays() []int { return shareDays }

// chosen is something to choose, and whether it was.
type chosen struct {
	Name   string
	Chosen bool
}

// reportFile is a form in which the report that is seen can be had.
type reportFile struct {
	Format string
	Path   string
}

// reportPage shows the form, and the report when one is asked for.
func (w *Web) reportPage(rw http.ResponseWriter, r *http.Request) error {
	p := requestOf(r).provider
	d := &reportData{}
	d.Nav = "reports"
	w.fill(&d.frame, r, "reports.title")
	q := r.URL.Query()
	var list api.Gateways
	if err := w.up.get(r.Context(), p, &list, url.Values{"limit": {fmt.Sprint(mostListed)}}, "gateways"); err != nil {
		return err
	}
	for i := range list.Gateways {
		name := list.Gateways[i].Name
		d.Gateways = append(d.Gateways, chosen{name, slices.Contains(q["gateway"], name)})
	}
	d.Groups, d.Tags = w.groupNames(r, q["group"]), q["tag"]
	for _, name := range periods {
		d.Periods = append(d.Periods, chosen{name, q.Get("period") == name})
	}
	d.FromAt, d.ToAt = q.Get("from"), q.Get("to")
	if ask, ok := d.ask(q, w.now()); ok {
		if err := w.makeReport(r.Context(), p, d, ask); err != nil {
			return err
		}
	}
	return w.show(rw, r, http.StatusOK, "reports", "reports.title", d)
}

// ask returns what the API is asked, if something is. Times without a zone are in the provider's.
func (d *reportData) ask(q url.Values, now time.Time) (url.Values, bool) {
	ask := url.Values{}
	for _, of := range []string{"gateway", "group", "tag"} {
		for _, name := range q[of] {
			if name != "" {
				ask.Add(of, name)
			}
		}
	}
	if period := q.Get("period"); period != "" && period != "range" {
		ask.Set("period", period)
		return ask, true
	}
	if q.Get("from") == "" && q.Get("to") == "" {
		return nil, false
	}
	from, fromErr := parseTime(q.Get("from"), d.home, now)
	to, toErr := parseTime(q.Get("to"), d.home, now)
	if fromErr != nil || toErr != nil || !from.Before(to) {
		d.Problem = "reports.wrong"
		return nil, false
	}
	ask.Set("from", from.In(d.home).Format(time.RFC3339))
	ask.Set("to", to.In(d.home).Format(time.RFC3339))
	d.FromAt, d.ToAt = from.In(d.home).Format(localLayout), to.In(d.home).Format(localLayout)
	return ask, true
}

// makeReport has a report made and shows it. What is wrong with the question is said on the page.
func (w *Web) makeReport(ctx context.Context, p *record.Provider, d *reportData, ask url.Values) error {
	ctx, cancel := context.WithTimeout(ctx, reportLimit)
	defer cancel()
	var made api.Report
	err := w.up.ask(ctx, http.MethodGet, p, &made, ask, "reports", "preview")
	if schema.Is(err, schema.Invalid) || schema.Is(err, schema.NotFound) || schema.Is(err, schema.Limited) {
		d.Detail = schema.Show(err)
		return nil
	}
	if err != nil {
		return err
	}
	inZone(&made, d.home)
	if d.view, err = reportview.New(&made, d.Language.Code); err != nil {
		return err
	}
	ask.Set("lang", d.Language.Code)
	for _, format := range []string{"pdf", "xlsx", "csv", "html", "json"} {
		ask.Set("format", format)
		d.Files = append(d.Files, reportFile{format, apiURL(p.Name, ask, "reports", "preview").RequestURI()})
	}
	return nil
}

// inZone puts the ends of a report's period into its zone, whose name JSON does not carry.
func inZone(r *api.Report, zone *time.Location) {
	r.From, r.To = r.From.In(zone), r.To.In(zone)
}

// reportHowData is the page that says how a report's numbers are computed.
type reportHowData struct {
	frame
	Methods []api.ReportMethod
}

func (w *Web) reportHowPage(rw http.ResponseWriter, r *http.Request) error {
	d := &reportHowData{}
	d.Nav = "reports"
	w.fill(&d.frame, r, "reports.how")
	view, err := reportview.New(nil, d.Language.Code)
	if err != nil {
		return err
	}
	d.Methods = view.Methods()
	return w.show(rw, r, http.StatusOK, "reporthow", "reports.how", d)
}
