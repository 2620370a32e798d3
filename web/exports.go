package web

import (
	"net/http"
	"time"

	"berth/internal/api"
)

// exportsData is the page of exports under way, and of the last that have ended.
type exportsData struct {
	frame
	ExportPath string
	Groups     []chosen
	Exports    []exportRow
	Running    bool   // one at least
	Resume     string // the command by which one that broke off goes on
}

// exportRow is how far an export has come.
type exportRow struct {
	api.Export
	Share int           // of the gateways, in percent
	Took  time.Duration // so far
}

func (w *Web) exportsPage(rw http.ResponseWriter, r *http.Request) error {
	p := requestOf(r).provider
	d := &exportsData{ExportPath: apiURL(p.Name, nil, "export").RequestURI(), Groups: w.groupNames(r, nil)}
	d.Nav, d.Resume = "gateways", "provisioner export "+p.Name+" --out FILE --resume"
	var all api.Exports
	if err := w.up.get(r.Context(), p, &all, nil, "exports"); err != nil {
		return err
	}
	for i := range all.Exports {
		row := exportRow{Export: all.Exports[i]}
		end := w.now()
		if row.Ended != nil {
			end = *row.Ended
		}
		d.Running = d.Running || row.Ended == nil
		row.Took = end.Sub(row.Begun).Round(100 * time.Millisecond)
		if row.Gateways > 0 {
			row.Share = 100 * row.Done / row.Gateways
		}
		d.Exports = append(d.Exports, row)
	}
	return w.show(rw, r, http.StatusOK, "exports", "exports.title", d)
}
