package web

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/schema"
)

// gatewaysPerPage is how many gateways a page lists.
const gatewaysPerPage = 100

// gatewaysData is a provider's list of gateways; for a provider that has none, how to send the first reading.
type gatewaysData struct {
	frame
	Query      string
	State      string   // that is asked for; empty: any
	States     []string // to choose from
	Group      string   // that is asked for; empty: any
	Tag        string   // name, or name=value; empty: any
	Groups     []chosen // to choose from
	Sort       string   // as the API takes it; empty: by name
	Columns    columns
	After      string
	Gateways   []gatewayRow
	NextPath   string // of the next page; empty: this was the last
	ExportPath string // of an export of all
	ListPath   string // of the list as CSV
	Away       string // why the list could not be had; empty: it is here
	Notice     notice
	Connect    *connect // set when there is no gateway yet
}

// column is the head of a column that the list can be sorted by.
type column struct {
	Path string // of the list sorted by it; the other way round where it is
	Way  string // as aria-sort has it; empty: the list is sorted by another
}

// columns are those of the list that it can be sorted by.
type columns struct{ Name, State, LastSeen, Rate, Rejects column }

type gatewayRow struct {
	Name       string
	Path       string
	State      api.State
	LastSeen   time.Time
	Day        *strip // nil: it cannot be told
	Rate       uint64 // readings of the last hour
	Rejects    uint64 // that are kept
	Uncounted  bool   // they cannot be told now
	Sensors    int
	Attributes []attribute
	Groups     []string
	Tags       []attribute
	Ahead      time.Duration // its clock is so far ahead; 0: not known to be
}

type attribute struct{ Name, Value string }

// notice says that an answer is not complete.
type notice struct {
	Incomplete bool
	UpTo       time.Time
	Reason     string
}

func noticeOf(c api.Complete) notice {
	n := notice{Incomplete: !c.Complete, Reason: c.Reason}
	if c.UpTo != nil {
		n.UpTo = *c.UpTo
	}
	return n
}

func (w *Web) gatewaysPage(rw http.ResponseWriter, r *http.Request) error {
	p := requestOf(r).provider
	q := r.URL.Query()
	d := gatewaysData{
		Query: q.Get("q"), State: q.Get("state"), Group: q.Get("group"), Tag: q.Get("tag"), Sort: q.Get("sort"), After: q.Get("after"),
		ExportPath: apiURL(p.Name, nil, "export").RequestURI(),
	}
	d.Nav = "gateways"
	for _, s := range api.States() {
		d.States = append(d.States, string(s))
	}
	d.setColumns()
	d.ListPath = d.listURL(p.Name)
	w.fill(&d.frame, r, "gateways.title")
	ask := url.Values{"limit": {strconv.Itoa(gatewaysPerPage)}, "day": {"true"}}
	for _, k := range []string{"q", "state", "after", "group", "tag", "sort"} {
		if v := q.Get(k); v != "" {
			ask.Set(k, v)
		}
	}
	var answer api.Gateways
	switch err := w.up.get(r.Context(), p, &answer, ask, "gateways"); {
	case schema.Is(err, schema.Unavailable): // a pipeline that starts is no error: the page asks again by itself
		d.Away = schema.Show(err)
	case err != nil:
		return err
	default:
		d.Notice = noticeOf(answer.Complete)
		for i := range answer.Gateways {
			row := rowOf(p.Name, &answer.Gateways[i])
			row.Day = d.stripOf(answer.Gateways[i].Day)
			d.Gateways = append(d.Gateways, row)
		}
		if answer.Next != "" {
			next := d.order()
			next.Set("after", answer.Next)
			d.NextPath = "?" + next.Encode()
		}
		d.Groups = w.groupNames(r, []string{d.Group})
		if len(d.Gateways) == 0 && len(d.filter()) == 0 && d.After == "" && requestOf(r).visitor.may() >= mayWrite {
			if d.Connect, err = w.connectOf(r, p); err != nil {
				return err
			}
		}
	}
	return w.show(rw, r, http.StatusOK, "gateways", "gateways.title", &d)
}

// filter returns what the list is asked for in its address, but for the page.
func (d *gatewaysData) filter() url.Values {
	q := url.Values{}
	for k, v := range map[string]string{"q": d.Query, "state": d.State, "group": d.Group, "tag": d.Tag} {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q
}

// order returns the filter, and how the list is sorted.
func (d *gatewaysData) order() url.Values {
	q := d.filter()
	if d.Sort != "" {
		q.Set("sort", d.Sort)
	}
	return q
}

// setColumns says of each column how the list is sorted by it, and what a click makes of it: at first what somebody looks for
// comes first.
func (d *gatewaysData) setColumns() {
	for at, first := range map[*column]string{
		&d.Columns.Name: api.ByName, &d.Columns.State: api.ByState, &d.Columns.LastSeen: "-" + api.ByLastSeen,
		&d.Columns.Rate: "-" + api.ByRate, &d.Columns.Rejects: "-" + api.ByRejects,
	} {
		q, next := d.filter(), first
		by := strings.TrimPrefix(first, "-")
		switch cmp.Or(d.Sort, api.ByName) {
		case by:
			at.Way, next = "ascending", "-"+by
		case "-" + by:
			at.Way, next = "descending", by
		}
		q.Set("sort", next)
		at.Path = "?" + q.Encode()
	}
}

// listURL returns the address of all gateways that the filter lets through, as CSV.
func (d *gatewaysData) listURL(provider string) string {
	q := d.order()
	q.Set("format", "csv")
	return apiURL(provider, q, "gateways").RequestURI()
}

// Filtered reports whether the list is of some gateways alone.
func (d *gatewaysData) Filtered() bool { return len(d.filter()) > 0 }

// FirstPath returns the address of the first page.
func (d *gatewaysData) FirstPath() string { return "?" + d.order().Encode() }

func rowOf(provider string, g *api.Gateway) gatewayRow {
	row := gatewayRow{Name: g.Name, Path: gatewayPath(provider, g.Name), State: g.State, Sensors: g.Sensors, Attributes: attributesOf(g.Attributes), Groups: g.Groups, Tags: attributesOf(g.Tags)}
	if row.Rate, row.Uncounted = g.Rate, g.Rejects == nil; !row.Uncounted {
		row.Rejects = *g.Rejects
	}
	row.Ahead = time.Duration(g.ClockAhead * float64(time.Second))
	if g.LastSeen != nil {
		row.LastSeen = *g.LastSeen
	}
	return row
}

func attributesOf(all map[string]string) []attribute {
	var out []attribute
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, attribute{name, all[name]})
	}
	return out
}
