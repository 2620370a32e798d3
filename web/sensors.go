package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"berth/internal/api"
	"berth/internal/sheet"
	"berth/schema"
	"berth/schema/record"
)

// sensorsData is the page of what is said about sensors.
type sensorsData struct {
	frame
	saidData
	Sensors []saidRow
	Known   []string // names of sensors that have sent
	Chosen  saidRow  // the one that the form is about
}

// sensors is what is said about sensors.
var sensors = saying[api.SaidSensors]{
	path: "sensors", about: "sensors", titles: []string{"sensor", "label", "unit", "decimals", "interval_seconds", "counter"}, form: formSensors,
	add: func(all *api.SaidSensors, cells []string) error {
		one, err := parseSensor(cells)
		all.Sensors = append(all.Sensors, one)
		return err
	},
	rows: func(all api.SaidSensors) (rows [][]sheet.Cell) {
		for _, s := range all.Sensors {
			row := rowOfSaid("", s)
			rows = append(rows, []sheet.Cell{sheet.Text(row.Name), sheet.Text(row.Label), sheet.Text(row.Unit), sheet.Text(row.Decimals), sheet.Text(row.Interval), sheet.Bool(row.Counter)})
		}
		return rows
	},
	note: func(r *http.Request, changes *api.SaidSensors) {
		note(r, fmt.Sprintf("%d sensors", len(changes.Sensors)))
	},
}

// saidRow is what is said about one sensor.
type saidRow struct {
	Name     string
	Path     string // of the page with the form for it
	Label    string
	Unit     string
	Decimals string // empty: as many as a number has
	Interval string // seconds; empty: what is usual
	Counter  bool
}

// mostAsked is of how many gateways the sensors are listed to choose from.
const mostAsked = 20

func (w *Web) sensorsPage(rw http.ResponseWriter, r *http.Request) error {
	return w.showSensors(rw, r, &sensorsData{})
}

// sensorsPost saves one sensor's form, or a file of many.
func (w *Web) sensorsPost(rw http.ResponseWriter, r *http.Request) error {
	said, err := sensors.post(w, r)
	if err != nil {
		return err
	}
	return w.showSensors(rw, r, &sensorsData{saidData: said})
}

// formSensors reads what a form says about one sensor.
func formSensors(r *http.Request) (api.SaidSensors, error) {
	row := []string{
		r.PostFormValue("sensor"), r.PostFormValue("label"), r.PostFormValue("unit"), r.PostFormValue("decimals"), r.PostFormValue("interval"),
		strconv.FormatBool(r.PostFormValue("counter") != ""),
	}
	one, err := parseSensor(row)
	return api.SaidSensors{Sensors: []api.SaidSensor{one}}, err
}

func (w *Web) showSensors(rw http.ResponseWriter, r *http.Request, d *sensorsData) error {
	p := requestOf(r).provider
	var said api.SaidSensors
	if err := w.up.get(r.Context(), p, &said, nil, "sensors"); err != nil {
		return err
	}
	home := providerPath(p.Name) + "/sensors"
	d.Nav = "reports"
	sensors.fill(&d.saidData, p.Name)
	d.Chosen.Name = r.URL.Query().Get("sensor")
	for _, s := range said.Sensors {
		row := rowOfSaid(home, s)
		if d.Sensors = append(d.Sensors, row); row.Name == d.Chosen.Name {
			d.Chosen = row
		}
	}
	d.Known = w.knownSensors(r, p)
	return w.show(rw, r, http.StatusOK, "sensors", "sensors.title", d)
}

func rowOfSaid(home string, s api.SaidSensor) saidRow {
	row := saidRow{Name: s.Sensor, Path: home + "?" + url.Values{"sensor": {s.Sensor}}.Encode(), Label: s.Label, Unit: s.Unit, Counter: s.Counter}
	if s.Decimals != nil {
		row.Decimals = strconv.Itoa(*s.Decimals)
	}
	if s.Interval > 0 {
		row.Interval = strconv.FormatFloat(s.Interval, 'f', -1, 64)
	}
	return row
}

// knownSensors returns names of sensors of the first gateways, to choose from; fewer where they cannot be asked for now.
func (w *Web) knownSensors(r *http.Request, p *record.Provider) (names []string) {
	var list api.Gateways
	if err := w.up.get(r.Context(), p, &list, url.Values{"limit": {strconv.Itoa(mostAsked)}}, "gateways"); err != nil {
		return nil
	}
	for i := range list.Gateways {
		var of api.Sensors
		if err := w.up.get(r.Context(), p, &of, nil, "gateways", list.Gateways[i].Name, "sensors"); err != nil {
			break
		}
		for _, s := range of.Sensors {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// parseSensor reads the cells of one sensor, in the order of the titles.
func parseSensor(cells []string) (api.SaidSensor, error) {
	s := api.SaidSensor{Sensor: cells[0], Label: strings.TrimSpace(cells[1]), Unit: strings.TrimSpace(cells[2])}
	if text := strings.TrimSpace(cells[3]); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return s, schema.Errorf(schema.Invalid, "%q is no number of decimals", text)
		}
		s.Decimals = &n
	}
	if text := strings.TrimSpace(cells[4]); text != "" {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f < 0 || f > 366*86400 {
			return s, schema.Errorf(schema.Invalid, "%q is no interval in seconds", text)
		}
		s.Interval = f
	}
	switch text := strings.ToLower(strings.TrimSpace(cells[5])); text {
	case "", "false", "no", "0":
	case "true", "yes", "1":
		s.Counter = true
	default:
		return s, schema.Errorf(schema.Invalid, "%q says neither true nor false of whether it is a counter", text)
	}
	if err := schema.CheckSensor(s.Sensor); err != nil {
		return s, err
	}
	return s, s.Record().Validate()
}
