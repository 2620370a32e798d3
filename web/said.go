package web

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"berth/internal/httpserver"
	"berth/internal/sheet"
	"berth/schema"
)

// saying is something that people say of what sends here, and a provider's reports keeps: in which groups gateways are, what
// sensors measure. It comes by a page's form or as a file of CSV, by the API as JSON or CSV, and is to be had so.
type saying[T any] struct {
	path   string                             // where the API has it
	about  string                             // in names of files and texts
	titles []string                           // of its columns as CSV
	form   func(r *http.Request) (T, error)   // reads what a form says that has no file
	add    func(all *T, cells []string) error // reads a row, whose cells are in the order of titles
	rows   func(all T) [][]sheet.Cell         // is what add reads
	note   func(r *http.Request, changes *T)  // tells the audit log
}

// saidData is what a page has that says something.
type saidData struct {
	About   string // ends the keys of its texts
	File    string // address of all as CSV
	Columns string // of a file
	Saved   bool
	Detail  string // why nothing was saved, in English
}

// post takes over what a page's form says, or its file.
func (s *saying[T]) post(w *Web, r *http.Request) (d saidData, err error) {
	changes, err := s.read(r)
	if err == nil {
		_, err = s.say(w, r, changes)
	}
	if err != nil {
		if _, known := errors.AsType[*schema.Error](err); !known {
			return d, err
		}
		fail(r, err)
		d.Detail = schema.Show(err)
	}
	d.Saved = err == nil
	return d, nil
}

func (s *saying[T]) read(r *http.Request) (T, error) {
	if file, _, err := r.FormFile("file"); err == nil {
		defer file.Close() //nolint:errcheck // it is read
		return s.parse(file)
	}
	return s.form(r)
}

// parse reads CSV with a row of titles.
func (s *saying[T]) parse(in io.Reader) (all T, err error) {
	err = readTable(in, s.titles, func(cells []string) error { return s.add(&all, cells) })
	return all, err
}

// say has a provider's reports take over changes, and returns what is said then.
func (s *saying[T]) say(w *Web, r *http.Request, changes T) (said T, err error) {
	s.note(r, &changes)
	body, err := json.Marshal(changes)
	if err != nil {
		return said, err
	}
	return said, w.up.send(r.Context(), requestOf(r).provider, &said, body, s.path)
}

// fill completes the page's data.
func (s *saying[T]) fill(d *saidData, provider string) {
	d.About, d.Columns = s.about, strings.Join(s.titles, ",")
	d.File = apiURL(provider, url.Values{"format": {"csv"}}, s.path).RequestURI()
}

// get answers with what is said, as JSON or CSV.
func (s *saying[T]) get(w *Web) httpserver.Handler {
	return func(rw http.ResponseWriter, r *http.Request) error {
		switch format := r.URL.Query().Get("format"); format {
		case "", "json":
			return w.pass(rw, r) //nolint:contextcheck // it asks again with contexts of its own
		case "csv":
		default:
			return schema.Errorf(schema.Invalid, "the format %q is unknown", format).WithNext("use json or csv")
		}
		var said T
		p := requestOf(r).provider
		if err := w.up.get(r.Context(), p, &said, url.Values{"gateway": r.URL.Query()["gateway"]}, s.path); err != nil {
			return err
		}
		h := rw.Header()
		h.Set("Content-Type", sheet.CSVType)
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": p.Name + "_" + s.about + ".csv"}))
		out, err := sheet.NewCSV(rw, s.titles...)
		if err != nil {
			return err
		}
		for _, row := range s.rows(said) {
			if err := out.Row(row...); err != nil {
				return err
			}
		}
		return out.Flush()
	}
}

// set takes over what the body says, as JSON or CSV, and answers with what is said then.
func (s *saying[T]) set(w *Web) httpserver.Handler {
	return func(rw http.ResponseWriter, r *http.Request) error {
		changes, err := bodyOf(r, s.about, s.parse)
		if err != nil {
			return err
		}
		said, err := s.say(w, r, changes)
		if err != nil {
			return err
		}
		rw.Header().Set("Content-Type", "application/json; charset=utf-8")
		return json.NewEncoder(rw).Encode(said)
	}
}
