package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/reports/query"
)

// fleet reads what a question about all gateways says of the page of them.
func fleet(req *http.Request) (query.FleetRequest, error) {
	limit, err := number(req, "limit")
	values := req.URL.Query()
	return query.FleetRequest{Sensors: values["sensor"], After: values.Get("after"), Limit: limit}, err
}

func (r *Reports) fleetLatest(w http.ResponseWriter, req *http.Request) error {
	q, err := fleet(req)
	if err != nil {
		return err
	}
	answer, err := r.engine.FleetLatest(req.Context(), q)
	if err != nil {
		return err
	}
	return writeJSON(w, answer)
}

// fleetSeries streams the series of all gateways, a gateway at a time, as one api.FleetSeries.
func (r *Reports) fleetSeries(w http.ResponseWriter, req *http.Request) error {
	q, err := fleet(req)
	if err != nil {
		return err
	}
	from, to, err := r.span(req)
	if err != nil {
		return err
	}
	points, err := number(req, "points")
	if err != nil {
		return err
	}
	answer, err := r.engine.FleetSeries(req.Context(), q, query.SeriesRequest{From: from, To: to, Points: points, Values: req.URL.Query()["value"]})
	if err != nil {
		return err
	}
	beginJSON(w.Header())
	stream := httpserver.NewStream(w, req)
	defer stream.Close()
	out := beginWriting(stream)
	defer out.end()
	separator, complete := `{"gateways":[`+"\n", answer.Complete
	err = answer.Walk(stream.Context(), func(one *api.SeriesAnswer) error { //nolint:contextcheck // the stream's context is the request's
		if !one.Complete.Complete && complete.Complete {
			complete = one.Complete
		}
		var err error
		if out.text, err = appendSeriesAnswer(append(out.text[:0], separator...), one); err != nil {
			return err
		}
		separator = ",\n"
		_, err = out.Write(out.text)
		return err
	})
	if err != nil {
		return fmt.Errorf("write series: %w", err)
	}
	if separator != ",\n" {
		if _, err := io.WriteString(out, separator); err != nil {
			return err
		}
	}
	end, err := json.Marshal(struct {
		Next string `json:"next,omitempty"`
		api.Complete
	}{answer.Next, complete})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "\n],%s\n", end[1:]); err != nil {
		return err
	}
	return out.Flush()
}
