package reports

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
	"berth/internal/headapi"
	"berth/internal/httpserver"
	"berth/reports/query"
	"berth/schema"
)

// prefix is where the API of internal/api begins.
const prefix = "/api/v1/providers/:provider"

// routes adds the API of internal/api, and whether the instance runs and is ready.
func (r *Reports) routes() {
	r.http.Use(r.onlySigned)
	r.http.Get(api.AlivePath, httpserver.Alive)
	r.http.Get(api.ReadyPath, httpserver.Ready(r.lacks))
	r.http.Get(prefix+"/latest", r.fleetLatest)
	r.http.Get(prefix+"/series", r.fleetSeries)
	r.http.Get(prefix+"/gateways", r.gateways)
	r.http.Get(prefix+"/gateways/:gateway", r.gateway)
	r.http.Get(prefix+"/gateways/:gateway/sensors", r.sensors)
	r.http.Get(prefix+"/gateways/:gateway/latest", r.latest)
	r.http.Get(prefix+"/gateways/:gateway/series", r.series)
	r.http.Get(prefix+"/gateways/:gateway/readings", r.readings)
	r.http.Get(prefix+"/gateways/:gateway/live", r.live)
	r.http.Get(prefix+"/gateways/:gateway/annotations", r.listAnnotations)
	r.http.Post(prefix+"/gateways/:gateway/annotations", r.annotate)
	r.http.Handle(http.MethodDelete, prefix+"/gateways/:gateway/annotations/:id", r.removeAnnotation)
	r.http.Get(prefix+"/groups", r.listGroups)
	r.http.Get(prefix+"/groupings", r.groupings)
	r.http.Post(prefix+"/groupings", r.sayGroupings)
	r.http.Get(prefix+"/reports/preview", r.preview)
	r.http.Get(prefix+"/sensors", r.saidSensors)
	r.http.Post(prefix+"/sensors", r.saySensors)
	r.http.Get(prefix+"/books", r.books)
	r.http.Get(prefix+"/audit", r.audit)
	r.http.Get(prefix+"/export", r.export)
	r.http.Get(prefix+"/exports", r.listExports)
	for _, of := range []shelf{{name: "rejects"}, {name: "aside", aside: true}} {
		r.http.Get(prefix+"/"+of.name, r.list(of))
		r.http.Get(prefix+"/"+of.name+"/:id", r.one(of))
		r.http.Get(prefix+"/"+of.name+"/:id/raw", r.raw(of))
		r.http.Post(prefix+"/"+of.name+"/:id/feed", r.feed(of, false))
		r.http.Handle(http.MethodDelete, prefix+"/"+of.name+"/:id", r.feed(of, true))
	}
}

// lacks returns what reports cannot do its work without. Without NATS the newest readings cannot be asked for.
func (r *Reports) lacks(ctx context.Context) []httpserver.Lack {
	var lacks []httpserver.Lack
	if !r.bus.Up() {
		lacks = append(lacks, httpserver.AwayNATS())
	}
	if _, err := r.store.Gateways(ctx, "", 1); err != nil {
		r.options.Logger.Debug("the keyspace cannot be read", "error", err)
		lacks = append(lacks, httpserver.Lack{Part: "keyspace", Why: "the keyspace cannot be read"})
	}
	return lacks
}

// onlySigned lets through what is signed with the provider's token and asks about the provider. Whether the instance
// runs and is ready is open to everybody.
func (r *Reports) onlySigned(next httpserver.Handler) httpserver.Handler {
	return func(w http.ResponseWriter, req *http.Request) error {
		if req.URL.Path == api.AlivePath || req.URL.Path == api.ReadyPath {
			return next(w, req)
		}
		if err := credentials.Verify(req, r.pipeline().ReportsToken, time.Now()); err != nil {
			return err
		}
		if provider := req.PathValue("provider"); provider != "" && provider != r.options.Provider {
			return schema.Errorf(schema.NotFound, "this instance answers for another provider")
		}
		return next(w, req)
	}
}

// beginJSON says that an answer is JSON.
func beginJSON(h http.Header) {
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
}

// writeText answers with JSON that is written already.
func writeText(w http.ResponseWriter, text []byte) error {
	beginJSON(w.Header())
	_, err := w.Write(text)
	return err
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, v any) error {
	beginJSON(w.Header())
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// number reads a parameter that may be absent: then it is 0.
func number(req *http.Request, name string) (int, error) {
	text := req.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, schema.Errorf(schema.Invalid, "%s=%q is no number from 1", name, text)
	}
	return n, nil
}

// span reads from and to, which default to the last day.
func (r *Reports) span(req *http.Request) (from, to time.Time, err error) {
	now := time.Now()
	values := req.URL.Query()
	from, to = now.Add(-24*time.Hour), now
	if text := values.Get("from"); text != "" {
		if from, err = api.ParseTime(text, now); err != nil {
			return from, to, err
		}
	}
	if text := values.Get("to"); text != "" {
		if to, err = api.ParseTime(text, now); err != nil {
			return from, to, err
		}
	}
	if !from.Before(to) {
		return from, to, schema.Errorf(schema.Invalid, "the range ends at %s, not after it begins at %s", to.Format(time.RFC3339), from.Format(time.RFC3339))
	}
	return from, to, nil
}

// choiceOf reads which groups and tags are asked for; an empty one, as a form sends it, is none.
func choiceOf(values url.Values) query.Choice {
	named := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" })
	}
	return query.Choice{Groups: named(values["group"]), Tags: named(values["tag"])}
}

func (r *Reports) gateway(w http.ResponseWriter, req *http.Request) error {
	answer, err := r.engine.Gateway(req.Context(), req.PathValue("gateway"))
	if err != nil {
		return err
	}
	return writeJSON(w, answer)
}

func (r *Reports) sensors(w http.ResponseWriter, req *http.Request) error {
	answer, err := r.engine.Sensors(req.Context(), req.PathValue("gateway"))
	if err != nil {
		return err
	}
	return writeJSON(w, answer)
}

func (r *Reports) latest(w http.ResponseWriter, req *http.Request) error {
	answer, err := r.engine.Latest(req.Context(), req.PathValue("gateway"))
	if err != nil {
		return err
	}
	return writeJSON(w, answer)
}

func (r *Reports) series(w http.ResponseWriter, req *http.Request) error {
	from, to, err := r.span(req)
	if err != nil {
		return err
	}
	points, err := number(req, "points")
	if err != nil {
		return err
	}
	answer, err := r.engine.Series(req.Context(), query.SeriesRequest{
		Gateway: req.PathValue("gateway"),
		Sensors: req.URL.Query()["sensor"],
		From:    from,
		To:      to,
		Points:  points,
		Values:  req.URL.Query()["value"],
	})
	if err != nil {
		return err
	}
	text, err := appendSeriesAnswer(nil, answer)
	if err != nil {
		return err
	}
	return writeText(w, append(text, '\n'))
}

// books asks the head for the running totals: nobody else has them.
func (r *Reports) books(w http.ResponseWriter, req *http.Request) error {
	var books api.Books
	err := r.bus.Ask(req.Context(), headapi.Books, []byte("{}"), func(data []byte) error {
		return json.Unmarshal(data, &books)
	})
	if err != nil {
		return schema.Errorf(schema.Unavailable, "the books cannot be read now: ingest does not answer").
			WithNext("try again in a moment").WithCause(err)
	}
	return writeJSON(w, &books)
}
