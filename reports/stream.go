package reports

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"berth/internal/api"
	"berth/internal/export"
	"berth/internal/headapi"
	"berth/internal/httpserver"
	"berth/internal/sheet"
	"berth/reports/query"
	"berth/schema"
)

// Headers of a streamed answer. Whether it is complete is known before its first reading, except for what is found
// damaged on the way: how many places could not be read, and which, is said after its last, in trailers.
const (
	headerComplete    = "Berth-Complete"
	headerUpTo        = "Berth-Complete-Up-To"
	headerReason      = "Berth-Incomplete-Reason"
	trailerUnreadable = "Berth-Unreadable-Blocks"
	trailerReason     = "Berth-Unreadable"
)

// writing is what a streamed answer is written with: text, piece by piece, by way of a buffer. It is kept between answers: both are most of
// the memory that most of them take.
type writing struct {
	*bufio.Writer
	text []byte // of the piece; whoever writes one may take it, and leaves it for the next
}

// mostText is the longest text that is kept.
const mostText = 1 << 20

var writings sync.Pool

// beginWriting returns what to write to w with, until it is ended.
func beginWriting(w io.Writer) *writing {
	out, ok := writings.Get().(*writing)
	if !ok {
		out = &writing{Writer: bufio.NewWriterSize(nil, 64<<10)}
	}
	out.Reset(w)
	return out
}

// end gives it back. What was not flushed is not written.
func (w *writing) end() {
	w.Reset(nil)
	if cap(w.text) > mostText {
		w.text = nil
	}
	writings.Put(w)
}

// readings streams every reading of a gateway in a range, as one JSON object or as CSV.
func (r *Reports) readings(w http.ResponseWriter, req *http.Request) error {
	from, to, err := r.span(req)
	if err != nil {
		return err
	}
	values := req.URL.Query()
	format := values.Get("format")
	if format != "" && format != "json" && format != "columns" && format != "csv" {
		return schema.Errorf(schema.Invalid, "the format %q is unknown", format).WithNext("use json, columns or csv")
	}
	answer, err := r.engine.Readings(req.Context(), query.ReadingsRequest{
		Gateway: req.PathValue("gateway"), Sensors: values["sensor"], From: from, To: to,
	})
	if err != nil {
		return err
	}

	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Trailer", trailerUnreadable+", "+trailerReason)
	setComplete(h, answer.Complete)
	stream := httpserver.NewStream(w, req)
	defer stream.Close()
	ctx := stream.Context()
	out := beginWriting(stream)
	defer out.end()
	switch format {
	case "csv":
		h.Set("Content-Type", sheet.CSVType)
		err = r.writeCSV(ctx, out, req.PathValue("gateway"), answer) //nolint:contextcheck // the stream's context is the request's
	case "columns":
		beginJSON(h)
		err = r.writeColumns(ctx, out, req.PathValue("gateway"), answer) //nolint:contextcheck // the stream's context is the request's
	default:
		beginJSON(h)
		err = r.writeReadings(ctx, out, req.PathValue("gateway"), answer) //nolint:contextcheck // the stream's context is the request's
	}
	if err != nil {
		return err
	}
	h.Set(trailerUnreadable, strconv.Itoa(answer.Damaged))
	if answer.Damaged > 0 {
		h.Set(trailerReason, answer.Complete.Reason)
	}
	return out.Flush()
}

// setComplete says in headers how far a streamed answer is complete.
func setComplete(h http.Header, c api.Complete) {
	h.Set(headerComplete, strconv.FormatBool(c.Complete))
	if c.UpTo != nil {
		h.Set(headerUpTo, c.UpTo.Format(time.RFC3339Nano))
	}
	if c.Reason != "" {
		h.Set(headerReason, c.Reason)
	}
}

// writeCSV writes a row per reading, as exports do.
func (r *Reports) writeCSV(ctx context.Context, out io.Writer, gateway string, answer *query.Readings) error {
	csv, err := export.Find("csv")
	if err != nil {
		return err
	}
	rows, err := csv.New(out, export.Options{Zone: r.engine.Clock().Zone()})
	if err != nil {
		return err
	}
	err = answer.Walk(ctx, func(sensor string, t int64, v schema.Value) error { return rows.Reading(gateway, sensor, t, v) })
	if err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return rows.Close(nil)
}

// writeReadings writes {"gateway":…,"readings":[…],"unreadable_blocks":…,"complete":…}, a reading at a time.
func (r *Reports) writeReadings(ctx context.Context, out io.Writer, gateway string, answer *query.Readings) error {
	name, err := json.Marshal(gateway)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, `{"gateway":%s,"readings":[`, name); err != nil {
		return err
	}
	text, separator, line := newReadingText(r.engine.Clock()), "\n", []byte(nil)
	err = answer.Walk(ctx, func(sensor string, t int64, v schema.Value) error {
		var err error
		if line, err = text.append(append(line[:0], separator...), sensor, t, v); err != nil {
			return err
		}
		separator = ",\n"
		_, err = out.Write(line)
		return err
	})
	if err != nil {
		return fmt.Errorf("write readings: %w", err)
	}
	return endReadings(out, answer)
}

// endReadings ends a JSON answer that holds readings: how far it is complete.
func endReadings(out io.Writer, answer *query.Readings) error {
	end, err := json.Marshal(struct {
		Unreadable int `json:"unreadable_blocks"`
		api.Complete
	}{answer.Damaged, answer.Complete})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\n],%s\n", end[1:])
	return err
}

const (
	liveEvery = time.Second
	quietMost = 15 * time.Second // a stream with nothing to say still says that it is there
)

// live streams what comes for a gateway, once a second, as server-sent events whose id is the position to resume after.
func (r *Reports) live(w http.ResponseWriter, req *http.Request) error {
	q := query.LiveRequest{
		Gateway: req.PathValue("gateway"),
		Sensors: req.URL.Query()["sensor"],
		After:   req.Header.Get("Last-Event-ID"),
	}
	if q.After != "" {
		if _, err := headapi.ParsePosition(q.After); err != nil {
			return err
		}
	}
	if _, err := r.engine.Gateway(req.Context(), q.Gateway); err != nil {
		return err
	}
	stream := httpserver.NewStream(w, req)
	defer stream.Close()
	if err := stream.BeginEvents(); err != nil {
		return err
	}
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	spoken, complete := time.Now(), true
	for {
		event, position, err := r.engine.Live(stream.Context(), q) //nolint:contextcheck // the stream's context is the request's
		if err != nil {
			return err
		}
		if news := len(event.Readings) > 0 || event.Complete.Complete != complete || position != "" && q.After == ""; news || time.Since(spoken) > quietMost {
			spoken, complete = time.Now(), event.Complete.Complete
			data, err := json.Marshal(&event)
			if err != nil {
				return err
			}
			if err := stream.Event(position, "readings", data); err != nil {
				return nil
			}
		}
		q.After = position
		select {
		case <-stream.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}
