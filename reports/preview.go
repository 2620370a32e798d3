package reports

import (
	"context"
	"io"
	"mime"
	"net/http"
	"time"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/httpserver"
	"berth/internal/locale"
	"berth/reports/render"
	"berth/reports/report"
	"berth/schema"
)

// preview answers with a report in the format and language asked for.
func (r *Reports) preview(w http.ResponseWriter, req *http.Request) error {
	q, err := r.reportRequest(req)
	if err != nil {
		return err
	}
	format, err := render.FormatOf(req.URL.Query().Get("format"))
	if err != nil {
		return err
	}
	language := req.URL.Query().Get("lang")
	if language == "" {
		language = locale.Choose(req.Header.Get("Accept-Language"))
	}
	done, err := r.turn(req.Context())
	if err != nil {
		return err
	}
	defer done()
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Language")
	stream := httpserver.NewStream(w, req)
	defer stream.Close()
	begun := &beginning{w: stream, begin: func() {
		h.Set("Content-Type", format.Type)
		h.Set("Content-Disposition", disposition(format, render.FileName(r.options.Provider, q, format)))
	}}
	_, err = r.renderer.Write(stream.Context(), begun, q, format, language) //nolint:contextcheck // the stream's context is the request's
	return err
}

// beginning is a writer that does something before its first write.
type beginning struct {
	w     io.Writer
	begin func()
}

// Write writes p.
func (b *beginning) Write(p []byte) (int, error) {
	if b.begin != nil {
		b.begin()
		b.begin = nil
	}
	return b.w.Write(p)
}

// disposition says how a file is called, and that it is to be saved if browsers cannot show it (RFC 6266, RFC 8187).
func disposition(f render.Format, name string) string {
	kind := "attachment"
	if f.Inline {
		kind = "inline"
	}
	return mime.FormatMediaType(kind, map[string]string{"filename": name})
}

// reportRequest reads what a report is asked for.
func (r *Reports) reportRequest(req *http.Request) (report.Request, error) {
	values := req.URL.Query()
	q := report.Request{Gateways: values["gateway"], Choice: choiceOf(values)}
	if len(q.Gateways) > 0 && !q.All() {
		return q, bothChosen()
	}
	if len(q.Gateways) > mostChosen {
		return q, schema.Errorf(schema.Invalid, "%d gateways are more than the %d that can be named", len(q.Gateways), mostChosen)
	}
	for _, name := range q.Gateways {
		if err := schema.CheckGateway(name); err != nil {
			return q, err
		}
	}
	var err error
	period := values.Get("period")
	if period == "" && (values.Has("from") || values.Has("to")) {
		var from, to time.Time
		if from, to, err = r.span(req); err == nil {
			q.Period, err = report.Range(from.In(r.maker.Zone()), to.In(r.maker.Zone()))
		}
		return q, err
	}
	if period == "" {
		period = "yesterday"
	}
	q.Period, err = report.ParsePeriod(period, time.Now(), r.maker.Zone())
	return q, err
}

// bothChosen is the error for a question that names gateways and groups or tags.
func bothChosen() error {
	return schema.Errorf(schema.Invalid, "gateways are named, and groups or tags are").WithNext("name gateways, or groups and tags")
}

// mostChosen is how many gateways a report may name; of all there may be any number.
const mostChosen = 1000

const (
	// mostAtOnce is how many reports are made at once; each reads all that it is about.
	mostAtOnce = 2
	// turnLimit is how long a report waits for its turn.
	turnLimit = 30 * time.Second
)

// turn waits until a report may be made; done says that it is.
func (r *Reports) turn(ctx context.Context) (done func(), err error) {
	limit := time.NewTimer(turnLimit)
	defer limit.Stop()
	select {
	case r.making <- struct{}{}:
		return func() { <-r.making }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-limit.C:
		return nil, schema.Errorf(schema.Limited, "%d reports are being made already", mostAtOnce).WithNext("try again in a moment")
	}
}

// What of the rejects is read for one report.
const (
	mostRejectsRead = 20_000
	rejectsPage     = 1000
	rejectsBytes    = 64 << 20
)

// Rejected returns how many readings of each sender were refused between two times, by their rejects; a frame of which
// nothing could be read counts as one. Since is when the oldest came that is here, where older ones may have been given up.
func (r *Reports) Rejected(ctx context.Context, from, to time.Time) (byGateway map[string]uint64, since time.Time, err error) {
	byGateway = map[string]uint64{}
	bytes, before, oldest := rejectsBytes, uint64(0), time.Time{}
	for read := 0; read < mostRejectsRead && bytes > 0; {
		kept, _, err := r.bus.List(ctx, bus.Rejects, before, rejectsPage, bytes)
		if err != nil {
			return nil, since, err
		}
		for i := range kept {
			reject, err := api.RejectOf(kept[i].ID, kept[i].About, kept[i].Raw)
			if err != nil {
				continue // the list of rejects says so
			}
			if oldest = reject.Time; oldest.Before(from) {
				return byGateway, time.Time{}, nil
			}
			if oldest.Before(to) {
				byGateway[reject.Gateway] += max(reject.Readings, 1)
			}
			bytes -= len(kept[i].Raw)
		}
		if len(kept) == 0 {
			break
		}
		read, before = read+len(kept), kept[len(kept)-1].ID
		if before == 1 {
			return byGateway, time.Time{}, nil // all that ever were
		}
	}
	return byGateway, oldest, nil
}
