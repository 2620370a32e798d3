package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
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
	Sensors []saidRow
	Known   []string // names of sensors that have sent
	Chosen  saidRow  // the one that the form is about
	File    string   // address of all as CSV
	Saved   bool
	Detail  string // why nothing was saved, in English
	Columns string // of a file
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
	d := &sensorsData{}
	changes, err := formSensors(r)
	if err == nil {
		_, err = w.saySensors(r, changes)
	}
	if err != nil {
		if _, known := errors.AsType[*schema.Error](err); !known {
			return err
		}
		fail(r, err)
		d.Detail = schema.Show(err)
	}
	d.Saved = err == nil
	return w.showSensors(rw, r, d)
}

// formSensors reads what a form says: about one sensor, or in a file.
func formSensors(r *http.Request) (api.SaidSensors, error) {
	if file, _, err := r.FormFile("file"); err == nil {
		defer file.Close() //nolint:errcheck // it is read
		return parseSensors(file)
	}
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
	d.Nav, d.File = "reports", apiURL(p.Name, url.Values{"format": {"csv"}}, "sensors").RequestURI()
	d.Columns = strings.Join(sensorTitles, ",")
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

// saySensors has a provider's reports take over what is said about sensors, and returns all that is said then.
func (w *Web) saySensors(r *http.Request, changes api.SaidSensors) (said api.SaidSensors, err error) {
	p := requestOf(r).provider
	note(r, fmt.Sprintf("%d sensors", len(changes.Sensors)))
	body, err := json.Marshal(changes)
	if err != nil {
		return said, err
	}
	return said, w.up.send(r.Context(), p, &said, body, "sensors")
}

// sensorsAPI answers with what is said about sensors, as JSON or CSV.
func (w *Web) sensorsAPI(rw http.ResponseWriter, r *http.Request) error {
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		return w.pass(rw, r) //nolint:contextcheck // it asks again with contexts of its own
	case "csv":
	default:
		return schema.Errorf(schema.Invalid, "the format %q is unknown", format).WithNext("use json or csv")
	}
	var said api.SaidSensors
	if err := w.up.get(r.Context(), requestOf(r).provider, &said, nil, "sensors"); err != nil {
		return err
	}
	h := rw.Header()
	h.Set("Content-Type", sheet.CSVType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": requestOf(r).provider.Name + "_sensors.csv"}))
	rows, err := sheet.NewCSV(rw, sensorTitles...)
	if err != nil {
		return err
	}
	for _, s := range said.Sensors {
		row := rowOfSaid("", s)
		if err := rows.Row(sheet.Text(row.Name), sheet.Text(row.Label), sheet.Text(row.Unit), sheet.Text(row.Decimals), sheet.Text(row.Interval), sheet.Bool(row.Counter)); err != nil {
			return err
		}
	}
	return rows.Flush()
}

// saySensorsAPI takes over what is said about sensors, as JSON or CSV, and answers with all that is said then.
func (w *Web) saySensorsAPI(rw http.ResponseWriter, r *http.Request) error {
	changes, err := bodyOf(r, "sensors", parseSensors)
	if err != nil {
		return err
	}
	said, err := w.saySensors(r, changes)
	if err != nil {
		return err
	}
	rw.Header().Set("Content-Type", "application/json; charset=utf-8")
	return json.NewEncoder(rw).Encode(said)
}

// sensorTitles are the columns of what is said about sensors as CSV.
var sensorTitles = []string{"sensor", "label", "unit", "decimals", "interval_seconds", "counter"}

// parseSensors reads what is said about sensors from CSV with a row of titles.
func parseSensors(in io.Reader) (api.SaidSensors, error) {
	var all api.SaidSensors
	err := readTable(in, sensorTitles, func(cells []string) error {
		one, err := parseSensor(cells)
		all.Sensors = append(all.Sensors, one)
		return err
	})
	return all, err
}

// parseSensor reads the cells of one sensor, in the order of sensorTitles.
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
