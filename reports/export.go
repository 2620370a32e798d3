package reports

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
	"berth/internal/export"
	"berth/internal/httpserver"
	"berth/reports/query"
	"berth/schema"
)

const (
	mostExports  = 2  // at a time: each reads as fast as it may
	shownExports = 10 // that have ended
	mostGateways = 1000
)

// An export rests a while after it has worked for a while, so that on a machine that has nothing else to do for it it takes
// no more than two thirds of a core, and ingest never waits for it long.
const (
	paceWork  = 20 * time.Millisecond
	paceRest  = 10 * time.Millisecond
	paceEvery = 1024        // readings between two looks at the clock
	tellEvery = time.Second // at least so often what is written goes out
)

// Headers of an export: what is known before its first reading, and after its last one as trailers.
const (
	headerExport    = "Berth-Export" // its ID in the list of those under way
	headerGateways  = "Berth-Gateways"
	headerZone      = "Berth-Timezone"
	headerFrom      = "Berth-From"
	headerTo        = "Berth-To"
	trailerReadings = "Berth-Readings"
)

// exportTrailers are what an export says after its end.
var exportTrailers = strings.Join([]string{trailerReadings, headerComplete, headerUpTo, headerReason, trailerUnreadable}, ", ")

// exports are those under way, and the last that have ended. The zero value is ready.
type exports struct {
	mu  sync.Mutex // guards all, and what it points to
	all []*api.Export
}

// begin adds an export, unless as many run as may.
func (e *exports) begin(x *api.Export) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	running := 0
	for _, other := range e.all {
		if other.Ended == nil {
			running++
		}
	}
	if running >= mostExports {
		return schema.Errorf(schema.Limited, "%d exports of this provider run already", running).WithNext("wait until one has ended, or end one")
	}
	e.all = append([]*api.Export{x}, e.all...)
	if n := len(e.all); n > mostExports+shownExports {
		e.all = slices.DeleteFunc(e.all, func(o *api.Export) bool { return o == e.all[n-1] && o.Ended != nil })
	}
	return nil
}

// change changes an export that was begun.
func (e *exports) change(fn func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fn()
}

// list returns them as they are now, the newest first.
func (e *exports) list() api.Exports {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := api.Exports{Exports: make([]api.Export, 0, len(e.all))}
	for _, x := range e.all {
		out.Exports = append(out.Exports, *x)
	}
	return out
}

// listExports answers with the exports under way.
func (r *Reports) listExports(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, r.exports.list())
}

// exportRequest reads what an export is to hold.
func (r *Reports) exportRequest(req *http.Request) (q query.ExportRequest, format export.Format, err error) {
	values := req.URL.Query()
	name := values.Get("format")
	if name == "" {
		name = "csv"
	}
	if format, err = export.Find(name); err != nil {
		return q, format, err
	}
	if q.From, q.To, err = r.span(req); err != nil {
		return q, format, err
	}
	q.Gateways, q.Sensors, q.Choice = values["gateway"], values["sensor"], choiceOf(values)
	if len(q.Gateways) > 0 && !q.All() {
		return q, format, bothChosen()
	}
	if len(q.Gateways) > mostGateways {
		return q, format, schema.Errorf(schema.Invalid, "%d gateways are more than %d", len(q.Gateways), mostGateways).WithNext("name none: all are meant then")
	}
	if text := values.Get("after"); text != "" {
		after, err := api.ParseCursor(text)
		if err != nil {
			return q, format, err
		}
		q.After = &after
	}
	return q, format, nil
}

// export streams the readings of many gateways as a file.
func (r *Reports) export(w http.ResponseWriter, req *http.Request) (err error) {
	q, format, err := r.exportRequest(req)
	if err != nil {
		return err
	}
	answer, err := r.engine.Export(req.Context(), q)
	if err != nil {
		return err
	}
	x := &api.Export{
		ID: credentials.NewKey("")[:12], Format: format.Name, From: q.From, To: q.To, Begun: time.Now(), Gateways: len(answer.Gateways),
		Complete: api.Complete{Complete: true},
	}
	if err := r.exports.begin(x); err != nil {
		return err
	}
	defer func() {
		r.exports.change(func() {
			x.Ended, x.Gateway = new(time.Now()), ""
			if err != nil {
				x.Problem = schema.Show(err)
			}
		})
	}()
	h, zone := w.Header(), r.engine.Clock().Zone()
	h.Set("Content-Type", format.MediaType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%s-%s.%s"`, r.options.Provider, fileTime(q.From, zone), fileTime(q.To, zone), format.Ending))
	h.Set("Trailer", exportTrailers)
	h.Set(headerExport, x.ID)
	h.Set(headerGateways, strconv.Itoa(len(answer.Gateways)))
	h.Set(headerZone, zone.String())
	h.Set(headerFrom, q.From.In(zone).Format(time.RFC3339Nano))
	h.Set(headerTo, q.To.In(zone).Format(time.RFC3339Nano))
	stream := httpserver.NewStream(w, req)
	defer stream.Close()
	if err := stream.Flush(); err != nil { // who waits sees that it goes on
		return err
	}
	e := &exporting{Reports: r, x: x, answer: answer, stream: stream, told: time.Now()}
	e.out = bufio.NewWriterSize(counter{stream, e}, 64<<10)
	info := map[string]string{"provider": r.options.Provider, "from": h.Get(headerFrom), "to": h.Get(headerTo), "timezone": zone.String()}
	e.rows, err = format.New(e.out, export.Options{Zone: zone, Info: info, Continue: format.Goes && q.After != nil})
	if err != nil {
		return err
	}
	if err := e.run(stream.Context()); err != nil { //nolint:contextcheck // the stream's context is the request's
		return fmt.Errorf("export: %w", err)
	}
	return e.end(h)
}

// fileTime returns a time as names of files hold it: the day, and the time of day where it does not begin then.
func fileTime(t time.Time, zone *time.Location) string {
	t = t.In(zone)
	if t.Equal(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, zone)) {
		return t.Format("20060102")
	}
	return t.Format("20060102T150405")
}

// exporting is an export under way.
type exporting struct {
	*Reports
	x      *api.Export
	answer *query.Export
	stream *httpserver.Stream
	out    *bufio.Writer
	rows   export.Writer

	readings uint64
	bytes    uint64
	rested   time.Time // when it rested last
	told     time.Time // when what was written went out last
}

// counter counts what goes out.
type counter struct {
	io.Writer
	e *exporting
}

// Write counts and hands on.
func (c counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.e.bytes += uint64(n)
	return n, err
}

// run writes the readings of gateway after gateway.
func (e *exporting) run(ctx context.Context) error {
	e.rested = time.Now()
	for i, gateway := range e.answer.Gateways {
		e.exports.change(func() { e.x.Gateway = gateway })
		err := e.answer.Walk(ctx, gateway, func(sensor string, t int64, v schema.Value) error {
			if e.readings++; e.readings%paceEvery == 0 {
				if err := e.pace(ctx); err != nil {
					return err
				}
			}
			return e.rows.Reading(gateway, sensor, t, v)
		})
		if err != nil {
			return err
		}
		if err := e.pace(ctx); err != nil {
			return err
		}
		e.exports.change(func() { e.x.Done = i + 1 })
	}
	return nil
}

// pace rests when it is time to, and tells how far the export is.
func (e *exporting) pace(ctx context.Context) error {
	now := time.Now()
	if now.Sub(e.rested) < paceWork {
		return nil
	}
	e.tell()
	if now.Sub(e.told) > tellEvery {
		e.told = now
		if err := e.rows.Flush(); err != nil {
			return err
		}
		if err := e.out.Flush(); err != nil {
			return err
		}
		if err := e.stream.Flush(); err != nil {
			return err
		}
	}
	select {
	case <-time.After(paceRest):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	e.rested = time.Now()
	return nil
}

// tell says how far the export is.
func (e *exporting) tell() {
	e.exports.change(func() {
		e.x.Readings, e.x.Bytes, e.x.Complete, e.x.Damaged = e.readings, e.bytes, e.answer.Complete, e.answer.Damaged
	})
}

// end ends the file and says in it, and in trailers, what it holds and how far that is complete.
func (e *exporting) end(h http.Header) error {
	c := e.answer.Complete
	info := map[string]string{
		"gateways": strconv.Itoa(len(e.answer.Gateways)), "readings": strconv.FormatUint(e.readings, 10), "complete": strconv.FormatBool(c.Complete),
	}
	if c.UpTo != nil {
		info["complete up to"] = c.UpTo.Format(time.RFC3339Nano)
	}
	if c.Reason != "" {
		info["incomplete because"] = c.Reason
	}
	if err := e.rows.Close(info); err != nil {
		return err
	}
	if err := e.out.Flush(); err != nil {
		return err
	}
	e.tell()
	setComplete(h, c)
	h.Set(trailerReadings, strconv.FormatUint(e.readings, 10))
	h.Set(trailerUnreadable, strconv.Itoa(e.answer.Damaged))
	return nil
}
