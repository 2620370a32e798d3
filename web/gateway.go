package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"berth/internal/api"
	"berth/internal/locale"
	"berth/schema"
	"berth/schema/record"
)

const (
	// chartsAtFirst is how many sensors have a chart when none were chosen.
	chartsAtFirst = 6
	// mostCharts is how many may be chosen.
	mostCharts = 12
	// localLayout is how a browser's input of date and time is written; it has no zone.
	localLayout = "2006-01-02T15:04"
)

// quickSpans are the ranges to choose by one click.
var quickSpans = []string{"1h", "6h", "24h", "7d", "30d"}

// gatewayData is the page of one gateway.
type gatewayData struct {
	frame
	Gateway  gatewayRow
	First    time.Time
	Interval string // empty: not known yet
	Sensors  []sensorRow
	Charts   []sensorRow // those that have a chart
	Quick    []quickRange
	From, To string // as the API takes them
	FromAt   string // of an absolute range, as inputs take them
	ToAt     string
	Live     bool   // the range ends now
	Earlier  string // address of a range as long, half of it earlier
	Later    string // and later; empty: this one ends now
	Export   string
	Table    string // address of the page with what the charts show as tables
	Tables   bool   // this is that page
	Config   string // what the script needs, as JSON
	Notes    []noteRow
	Groups   string // as texts that a form takes
	Tags     string
	Detail   string // why nothing was changed, in English
	Notice   notice
	Problem  string // key of what is wrong with the range that was asked for

	from, to, now time.Time
}

type sensorRow struct {
	Name     string
	Label    string // how people call it; its name if they say nothing
	Unit     string
	Decimals string // to show its numbers with; empty: as many as they have
	Kind     string
	Value    string
	Time     time.Time
	Charted  bool
	Drawable bool
	Table    []tableRow // what its chart shows, where tables were asked for
	Each     bool       // of which each row is a reading
}

type quickRange struct {
	Span   string
	Path   string
	Active bool
}

// chartConfig is what the charts' script is told.
type chartConfig struct {
	Series  string            `json:"series"` // URL of the series, without points
	Live    string            `json:"live"`   // URL of the live readings; empty: the range is over
	From    string            `json:"from"`
	To      string            `json:"to"`
	Span    int64             `json:"span_ms"` // of a range that ends now
	Zone    string            `json:"zone"`
	Locale  string            `json:"locale"`
	Sensors []string          `json:"sensors"`
	Labels  map[string]string `json:"labels"`
	Notes   []chartNote       `json:"notes"`
}

func (w *Web) gatewayPage(rw http.ResponseWriter, r *http.Request) error {
	return w.showGateway(rw, r, &gatewayData{})
}

func (w *Web) showGateway(rw http.ResponseWriter, r *http.Request, d *gatewayData) error {
	p := requestOf(r).provider
	name := r.PathValue("gateway")
	var g api.Gateway
	if err := w.up.get(r.Context(), p, &g, nil, "gateways", name); err != nil {
		return err
	}
	var latest api.Latest
	if err := w.up.get(r.Context(), p, &latest, nil, "gateways", name, "latest"); err != nil {
		return err
	}
	var labels api.SaidSensors
	if err := w.up.get(r.Context(), p, &labels, nil, "sensors"); err != nil {
		return err
	}
	d.Gateway, d.Interval, d.Notice = rowOf(p.Name, &g), intervalOf(g.Interval), noticeOf(latest.Complete)
	said := api.Grouping{Groups: g.Groups, Tags: g.Tags}
	d.Groups, d.Tags = said.GroupsText(), said.TagsText()
	d.Nav = "gateways"
	if g.FirstSeen != nil {
		d.First = *g.FirstSeen
	}
	w.fill(&d.frame, r, "gateway.title")
	q := r.URL.Query()
	d.setRange(q, w.now())
	d.setSensors(&latest, labels.Sensors, q["sensor"])
	if err := w.setNotes(r, d); err != nil {
		return err
	}
	if err := d.setLinks(p, w.o.Front.Base, q); err != nil {
		return err
	}
	if d.Table = d.with("tables", "true"); q.Get("tables") == "true" {
		if err := w.setTables(r, d); err != nil {
			return err
		}
	}
	return w.show(rw, r, http.StatusOK, "gateway", "gateway.title", d)
}

// setRange reads from and to of the page's address; times without a zone are in the page's. A range that cannot be
// is replaced by the last hour, and said.
func (d *gatewayData) setRange(q url.Values, now time.Time) {
	d.From, d.To = cmp.Or(q.Get("from"), "now-1h"), cmp.Or(q.Get("to"), "now")
	from, fromErr := parseTime(d.From, d.zone, now)
	to, toErr := parseTime(d.To, d.zone, now)
	if fromErr != nil || toErr != nil || !from.Before(to) {
		d.Problem, d.From, d.To = "range.wrong", "now-1h", "now"
		from, to = now.Add(-time.Hour), now
	}
	d.Live = d.To == "now"
	if !d.Live {
		d.From, d.To = from.In(d.zone).Format(time.RFC3339), to.In(d.zone).Format(time.RFC3339)
	}
	d.from, d.to, d.now = from, to, now
	d.FromAt, d.ToAt = from.In(d.zone).Format(localLayout), to.In(d.zone).Format(localLayout)
	for _, span := range quickSpans {
		d.Quick = append(d.Quick, quickRange{Span: span, Active: d.Live && d.From == "now-"+span})
	}
}

// parseTime reads a time of a page's address or form, whose zone holds for one that says none.
func parseTime(s string, zone *time.Location, now time.Time) (time.Time, error) {
	for _, layout := range []string{localLayout, "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil && api.Answerable(t) {
			return t, nil
		}
	}
	return api.ParseTime(s, now)
}

// setSensors lists all sensors with their latest values, and chooses those that have a chart.
func (d *gatewayData) setSensors(latest *api.Latest, said []api.SaidSensor, chosen []string) {
	for _, l := range latest.Readings {
		row := sensorRow{Name: l.Sensor, Label: l.Sensor, Kind: l.Kind, Time: l.Time, Drawable: l.Kind != schema.Text.String()}
		if i := slices.IndexFunc(said, func(s api.SaidSensor) bool { return s.Sensor == l.Sensor }); i >= 0 {
			row.say(&said[i])
		}
		row.Value = row.latest(d.Language, l.Value.Value)
		row.Charted = slices.Contains(chosen, l.Sensor) || len(chosen) == 0 && row.Drawable
		if len(d.Charts) >= mostCharts || len(chosen) == 0 && len(d.Charts) >= chartsAtFirst {
			row.Charted = false
		}
		if row.Charted {
			d.Charts = append(d.Charts, row)
		}
		d.Sensors = append(d.Sensors, row)
	}
}

// say shows a sensor as people say that it is shown.
func (row *sensorRow) say(s *api.SaidSensor) {
	row.Label, row.Unit = cmp.Or(s.Label, s.Sensor), s.Unit
	if s.Decimals != nil && row.Kind != schema.Bool.String() && row.Kind != schema.Text.String() {
		row.Decimals = strconv.Itoa(*s.Decimals)
	}
}

// latest writes the sensor's latest value: a number with its decimals where people said how many, else all that it has.
func (row *sensorRow) latest(l locale.Language, v schema.Value) string {
	n, ok := v.Number()
	switch decimals, err := strconv.Atoi(row.Decimals); {
	case !ok || row.Kind == schema.Bool.String() || math.IsNaN(n) || math.IsInf(n, 0):
		return v.String()
	case err == nil:
		return l.Number(strconv.FormatFloat(n, 'f', decimals, 64))
	case v.Kind() == schema.Int: // a float has fewer digits
		return l.Number(v.String())
	default:
		return l.Number(strconv.FormatFloat(n, 'f', -1, 64))
	}
}

// Drawable reports whether there is a sensor that can have a chart.
func (d *gatewayData) Drawable() bool {
	return slices.ContainsFunc(d.Sensors, func(s sensorRow) bool { return s.Drawable })
}

// setLinks makes the addresses on the page, and what the script is told.
func (d *gatewayData) setLinks(p *record.Provider, base string, q url.Values) error {
	for i := range d.Quick {
		to := url.Values{"from": {"now-" + d.Quick[i].Span}, "to": {"now"}}
		if chosen := q["sensor"]; len(chosen) > 0 {
			to["sensor"] = chosen
		}
		d.Quick[i].Path = "?" + to.Encode()
	}
	d.setPan(q["sensor"])
	c := chartConfig{
		From: d.From, To: d.To, Zone: d.zone.String(), Locale: d.Language.Intl, Labels: d.Group("chart."), Sensors: []string{},
		Series: base + publicURL(p, nil, d.Gateway.Name, "series"), Notes: []chartNote{},
	}
	for i, n := range d.Notes {
		c.Notes = append(c.Notes, chartNote{i + 1, n.From.UnixMilli(), n.To.UnixMilli()})
	}
	ask := url.Values{"from": {d.From}, "to": {d.To}}
	for _, s := range d.Charts {
		c.Sensors = append(c.Sensors, s.Name)
		ask.Add("sensor", s.Name)
	}
	d.Export = publicURL(p, url.Values{"from": ask["from"], "to": ask["to"], "sensor": ask["sensor"], "format": {"csv"}}, d.Gateway.Name, "readings")
	if d.Live {
		c.Live = base + publicURL(p, nil, d.Gateway.Name, "live")
		now := time.Now()
		from, err := api.ParseTime(d.From, now)
		if err != nil {
			return err
		}
		c.Span = now.Sub(from).Milliseconds()
	}
	config, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write the charts' configuration: %w", err)
	}
	d.Config = string(config)
	return nil
}

// setPan makes the addresses of the ranges beside this one. One that would end later than now ends now, and is live.
func (d *gatewayData) setPan(sensors []string) {
	span := d.to.Sub(d.from)
	at := func(from, to string) string {
		q := url.Values{"from": {from}, "to": {to}}
		if len(sensors) > 0 {
			q["sensor"] = sensors
		}
		return "?" + q.Encode()
	}
	millis := func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
	d.Earlier = at(millis(d.from.Add(-span/2)), millis(d.to.Add(-span/2)))
	switch to := d.to.Add(span / 2); {
	case d.Live:
	case to.Before(d.now):
		d.Later = at(millis(d.from.Add(span/2)), millis(to))
	default:
		d.Later = at(fmt.Sprintf("now-%ds", max(int64(span.Seconds()), 1)), "now")
	}
}

// publicURL returns the path and query of a part of a gateway's API, as browsers ask it.
func publicURL(p *record.Provider, q url.Values, gateway, part string) string {
	return apiURL(p.Name, q, "gateways", gateway, part).RequestURI()
}

// intervalOf writes a usual interval, to three digits or so.
func intervalOf(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d <= 0:
		return ""
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}
