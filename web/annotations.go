package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
	"berth/schema"
)

// annotationsPath is where the API has what people have noted on a gateway's charts.
const annotationsPath = "annotations"

// noteRow is something that people have noted on a gateway's charts.
type noteRow struct {
	ID       string
	From, To time.Time
	Moment   bool // it ends where it begins
	Text     string
	Who      string
}

// chartNote is what the charts' script is told of it.
type chartNote struct {
	Number int   `json:"n"` // in the list below the charts
	From   int64 `json:"from_ms"`
	To     int64 `json:"to_ms"`
}

// setNotes lists what was noted in the page's range.
func (w *Web) setNotes(r *http.Request, d *gatewayData) error {
	var all api.Annotations
	ask := url.Values{"from": {d.From}, "to": {d.To}}
	if err := w.up.get(r.Context(), requestOf(r).provider, &all, ask, "gateways", d.Gateway.Name, annotationsPath); err != nil {
		return err
	}
	for _, a := range all.Annotations {
		d.Notes = append(d.Notes, noteRow{a.ID, a.From, a.To, a.To.Equal(a.From), a.Text, a.Who})
	}
	return nil
}

// gatewayPost notes something on a gateway's charts, removes it, or says in which groups the gateway is.
func (w *Web) gatewayPost(rw http.ResponseWriter, r *http.Request) error {
	err := w.changeGateway(r)
	if err == nil {
		http.Redirect(rw, r, localPath(r.URL.RequestURI()), http.StatusSeeOther)
		return nil
	}
	if _, known := errors.AsType[*schema.Error](err); !known {
		return err
	}
	fail(r, err)
	return w.showGateway(rw, r, &gatewayData{Detail: schema.Show(err)})
}

func (w *Web) changeGateway(r *http.Request) error {
	p, name := requestOf(r).provider, r.PathValue("gateway")
	switch r.PostFormValue("act") {
	case "annotate":
		zone := cmp.Or(chosenZone(r), zoneOf(p))
		from, err := parseTime(r.PostFormValue("begin"), zone, w.now())
		if err != nil {
			return err
		}
		to := from
		if text := r.PostFormValue("end"); text != "" {
			if to, err = parseTime(text, zone, w.now()); err != nil {
				return err
			}
		}
		_, err = w.annotate(r, &api.Annotation{From: from, To: to, Text: strings.ReplaceAll(r.PostFormValue("text"), "\r\n", "\n")})
		return err
	case "unannotate":
		note(r, name+" "+r.PostFormValue("id"))
		var done api.Done
		return w.up.act(r.Context(), http.MethodDelete, p, &done, "gateways", name, annotationsPath, r.PostFormValue("id"))
	case "group":
		one, err := api.ParseGrouping(name, r.PostFormValue("groups"), r.PostFormValue("tags"))
		if err != nil {
			return err
		}
		_, err = groupings.say(w, r, api.Groupings{Gateways: []api.Grouping{one}})
		return err
	default:
		return schema.Errorf(schema.Invalid, "the form cannot be read").WithNext("load the page again")
	}
}

// annotate has a provider's reports keep what the visitor has noted on a gateway's charts.
func (w *Web) annotate(r *http.Request, a *api.Annotation) (made api.Annotation, err error) {
	name := r.PathValue("gateway")
	a.ID, a.Who = credentials.NewKey("")[:12], requestOf(r).visitor.named()
	if a.To.IsZero() {
		a.To = a.From
	}
	note(r, name+" "+a.ID)
	body, err := json.Marshal(a)
	if err != nil {
		return made, err
	}
	return made, w.up.send(r.Context(), requestOf(r).provider, &made, body, "gateways", name, annotationsPath)
}

// annotateAPI keeps the annotation that the body describes.
func (w *Web) annotateAPI(rw http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return tooLong(err)
	}
	var a api.Annotation
	if err := json.Unmarshal(body, &a); err != nil {
		return schema.Errorf(schema.Invalid, "the body is no annotation").WithCause(err).
			WithNext(`send it as application/json: {"from":"2026-03-29T06:00:00+02:00","to":"2026-03-29T07:30:00+02:00","text":"Pump replaced"}`)
	}
	made, err := w.annotate(r, &a)
	if err != nil {
		return err
	}
	rw.Header().Set("Content-Type", "application/json; charset=utf-8")
	return json.NewEncoder(rw).Encode(&made)
}
