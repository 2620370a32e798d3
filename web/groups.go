package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"berth/internal/api"
	"berth/internal/sheet"
	"berth/schema"
)

// groupingsPath is where the API has in which groups gateways are.
const groupingsPath = "groupings"

// groupsData is the page of a provider's groups.
type groupsData struct {
	frame
	Groups  []groupRow
	Tags    []groupRow
	File    string // address of all as CSV
	Saved   bool
	Detail  string // why nothing was saved, in English
	Columns string // of a file
}

// groupRow is a group or a tag with its gateways.
type groupRow struct {
	Name     string
	Gateways int
	Path     string // of the list of its gateways
	Report   string // of a report about them
}

func (w *Web) groupsPage(rw http.ResponseWriter, r *http.Request) error {
	return w.showGroups(rw, r, &groupsData{})
}

// groupsPost puts gateways into a group or takes them out, or takes over a file.
func (w *Web) groupsPost(rw http.ResponseWriter, r *http.Request) error {
	d := &groupsData{}
	changes, err := formGroups(r)
	if err == nil {
		_, err = w.sayGroups(r, changes)
	}
	if err != nil {
		if _, known := errors.AsType[*schema.Error](err); !known {
			return err
		}
		fail(r, err)
		d.Detail = schema.Show(err)
	}
	d.Saved = err == nil
	return w.showGroups(rw, r, d)
}

// formGroups reads what a form says: of gateways, a name a line, or in a file.
func formGroups(r *http.Request) (api.Groupings, error) {
	if file, _, err := r.FormFile("file"); err == nil {
		defer file.Close() //nolint:errcheck // it is read
		return parseGroupings(file)
	}
	all := api.Groupings{Change: api.Add}
	if r.PostFormValue("act") == api.Remove {
		all.Change = api.Remove
	}
	for _, name := range linesOf(r.PostFormValue("gateways")) {
		one, err := api.ParseGrouping(name, r.PostFormValue("group"), r.PostFormValue("tag"))
		if err != nil {
			return all, err
		}
		all.Gateways = append(all.Gateways, one)
	}
	return all, nil
}

func (w *Web) showGroups(rw http.ResponseWriter, r *http.Request, d *groupsData) error {
	p := requestOf(r).provider
	var groups api.Groups
	if err := w.up.get(r.Context(), p, &groups, nil, "groups"); err != nil {
		return err
	}
	home := providerPath(p.Name)
	row := func(of, name string, n int) groupRow {
		q := url.Values{of: {name}}
		return groupRow{name, n, home + "?" + q.Encode(), home + "/reports?" + url.Values{of: {name}, "period": {"yesterday"}}.Encode()}
	}
	for _, g := range groups.Groups {
		d.Groups = append(d.Groups, row("group", g.Group, g.Gateways))
	}
	for _, t := range groups.Tags {
		d.Tags = append(d.Tags, row("tag", t.Tag, t.Gateways))
	}
	d.Nav, d.File = "gateways", apiURL(p.Name, url.Values{"format": {"csv"}}, groupingsPath).RequestURI()
	d.Columns = strings.Join(groupingTitles, ",")
	return w.show(rw, r, http.StatusOK, "groups", "groups.title", d)
}

// groupNames returns the names of a provider's groups to choose from; none where they cannot be asked for now.
func (w *Web) groupNames(r *http.Request, marked []string) (all []chosen) {
	var groups api.Groups
	if err := w.up.get(r.Context(), requestOf(r).provider, &groups, nil, "groups"); err != nil {
		return nil
	}
	for _, g := range groups.Groups {
		one := chosen{Name: g.Group}
		for _, m := range marked {
			one.Chosen = one.Chosen || m == g.Group
		}
		all = append(all, one)
	}
	return all
}

// sayGroups has a provider's reports take over in which groups gateways are, and returns what is said of them then.
func (w *Web) sayGroups(r *http.Request, changes api.Groupings) (said api.Groupings, err error) {
	note(r, fmt.Sprintf("%d gateways", len(changes.Gateways)))
	if len(changes.Gateways) == 1 {
		note(r, changes.Gateways[0].Gateway)
	}
	body, err := json.Marshal(changes)
	if err != nil {
		return said, err
	}
	return said, w.up.send(r.Context(), requestOf(r).provider, &said, body, groupingsPath)
}

// groupingsAPI answers with the groups and tags of gateways, as JSON or CSV.
func (w *Web) groupingsAPI(rw http.ResponseWriter, r *http.Request) error {
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		return w.pass(rw, r) //nolint:contextcheck // it asks again with contexts of its own
	case "csv":
	default:
		return schema.Errorf(schema.Invalid, "the format %q is unknown", format).WithNext("use json or csv")
	}
	var said api.Groupings
	if err := w.up.get(r.Context(), requestOf(r).provider, &said, url.Values{"gateway": r.URL.Query()["gateway"]}, groupingsPath); err != nil {
		return err
	}
	h := rw.Header()
	h.Set("Content-Type", sheet.CSVType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": requestOf(r).provider.Name + "_groups.csv"}))
	rows, err := sheet.NewCSV(rw, groupingTitles...)
	if err != nil {
		return err
	}
	for _, g := range said.Gateways {
		if err := rows.Row(sheet.Text(g.Gateway), sheet.Text(g.GroupsText()), sheet.Text(g.TagsText())); err != nil {
			return err
		}
	}
	return rows.Flush()
}

// sayGroupingsAPI takes over in which groups gateways are, as JSON or CSV, and answers with what is said of them then.
func (w *Web) sayGroupingsAPI(rw http.ResponseWriter, r *http.Request) error {
	changes, err := bodyOf(r, "groups", parseGroupings)
	if err != nil {
		return err
	}
	said, err := w.sayGroups(r, changes)
	if err != nil {
		return err
	}
	rw.Header().Set("Content-Type", "application/json; charset=utf-8")
	return json.NewEncoder(rw).Encode(said)
}

// groupingTitles are the columns of the groups and tags of gateways as CSV.
var groupingTitles = []string{"gateway", "groups", "tags"}

// parseGroupings reads groups and tags from CSV with a row of titles: north;south, site=Kai 3;leased.
func parseGroupings(in io.Reader) (api.Groupings, error) {
	var all api.Groupings
	err := readTable(in, groupingTitles, func(cells []string) error {
		one, err := api.ParseGrouping(cells[0], cells[1], cells[2])
		all.Gateways = append(all.Gateways, one)
		return err
	})
	return all, err
}
