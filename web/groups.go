package web

import (
	"fmt"
	"net/http"
	"net/url"

	"berth/internal/api"
	"berth/internal/sheet"
)

// groupings is in which groups gateways are, and with which tags: north;south, site=Kai 3;leased.
var groupings = saying[api.Groupings]{
	path: "groupings", about: "groups", titles: []string{"gateway", "groups", "tags"}, form: formGroups,
	add: func(all *api.Groupings, cells []string) error {
		one, err := api.ParseGrouping(cells[0], cells[1], cells[2])
		all.Gateways = append(all.Gateways, one)
		return err
	},
	rows: func(all api.Groupings) (rows [][]sheet.Cell) {
		for _, g := range all.Gateways {
			rows = append(rows, []sheet.Cell{sheet.Text(g.Gateway), sheet.Text(g.GroupsText()), sheet.Text(g.TagsText())})
		}
		return rows
	},
	note: func(r *http.Request, changes *api.Groupings) {
		note(r, fmt.Sprintf("%d gateways", len(changes.Gateways)))
		if len(changes.Gateways) == 1 {
			note(r, changes.Gateways[0].Gateway)
		}
	},
}

// groupsData is the page of a provider's groups.
type groupsData struct {
	frame
	saidData
	Groups []groupRow
	Tags   []groupRow
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
	said, err := groupings.post(w, r)
	if err != nil {
		return err
	}
	return w.showGroups(rw, r, &groupsData{saidData: said})
}

// formGroups reads what a form says of gateways, a name a line.
func formGroups(r *http.Request) (api.Groupings, error) {
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
	d.Nav = "gateways"
	groupings.fill(&d.saidData, p.Name)
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
