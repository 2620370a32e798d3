package web

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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
	After      string
	Gateways   []gatewayRow
	NextPath   string // of the next page; empty: this was the last
	ExportPath string // of an export of all
	Away       string // why the list could not be had; empty: it is here
	Notice     notice
	Connect    *connect // set when there is no gateway yet
}

type gatewayRow struct {
	Name       string
	Path       string
	State      api.State
	LastSeen   time.Time
	Sensors    int
	Attributes []attribute
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
	d := gatewaysData{Query: q.Get("q"), After: q.Get("after"), ExportPath: apiURL(p.Name, nil, "export").RequestURI()}
	d.Nav = "gateways"
	ask := url.Values{"limit": {strconv.Itoa(gatewaysPerPage)}}
	for _, k := range []string{"q", "after"} {
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
			d.Gateways = append(d.Gateways, rowOf(p.Name, &answer.Gateways[i]))
		}
		if answer.Next != "" {
			next := url.Values{"after": {answer.Next}}
			if d.Query != "" {
				next.Set("q", d.Query)
			}
			d.NextPath = "?" + next.Encode()
		}
		if len(d.Gateways) == 0 && d.Query == "" && d.After == "" && requestOf(r).visitor.may() >= mayWrite {
			if d.Connect, err = w.connectOf(r, p); err != nil {
				return err
			}
		}
	}
	return w.show(rw, r, http.StatusOK, "gateways", "gateways.title", &d)
}

func rowOf(provider string, g *api.Gateway) gatewayRow {
	row := gatewayRow{Name: g.Name, Path: gatewayPath(provider, g.Name), State: g.State, Sensors: g.Sensors, Attributes: attributesOf(g)}
	row.Ahead = time.Duration(g.ClockAhead * float64(time.Second))
	if g.LastSeen != nil {
		row.LastSeen = *g.LastSeen
	}
	return row
}

func attributesOf(g *api.Gateway) []attribute {
	var out []attribute
	for _, name := range slices.Sorted(maps.Keys(g.Attributes)) {
		out = append(out, attribute{name, g.Attributes[name]})
	}
	return out
}
