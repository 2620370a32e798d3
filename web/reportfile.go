package web

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"

	"berth/internal/httpserver"
	"berth/schema"
	"berth/schema/record"
	"berth/web/schedule"
)

// fileMost is the largest file of a report that is held in memory.
const fileMost = 32 << 20

// file has a provider's reports make a report as a file, of the format in the query.
func (u *upstream) file(ctx context.Context, p *record.Provider, query url.Values) (schedule.File, error) {
	at := apiURL(p.Name, query, "reports", "preview")
	resp, err := u.RoundTrip((&http.Request{Method: http.MethodGet, URL: at, Header: http.Header{}}).WithContext(ctx))
	if err != nil {
		return schedule.File{}, whyAway(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	data, err := io.ReadAll(io.LimitReader(resp.Body, fileMost+1))
	if err != nil {
		return schedule.File{}, whyAway(err)
	}
	if resp.StatusCode != http.StatusOK {
		var p httpserver.ProblemBody
		if err := json.Unmarshal(data, &p); err == nil && p.Code != "" {
			return schedule.File{}, &schema.Error{Code: p.Code, Text: p.Detail, Next: p.Next}
		}
		return schedule.File{}, schema.Errorf(schema.Unavailable, "the report was not made: status %d", resp.StatusCode)
	}
	if len(data) > fileMost {
		return schedule.File{}, schema.Errorf(schema.TooLarge, "the file is larger than %d MB", fileMost>>20).WithNext("name fewer gateways, or a shorter period")
	}
	f := schedule.File{Name: "report." + query.Get("format"), Type: resp.Header.Get("Content-Type"), Data: data}
	if _, said, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition")); err == nil && said["filename"] != "" {
		f.Name = said["filename"]
	}
	return f, nil
}

// saveFile answers with a file to be saved.
func saveFile(rw http.ResponseWriter, f schedule.File) error {
	h := rw.Header()
	h.Set("Content-Type", f.Type)
	h.Set("Content-Length", strconv.Itoa(len(f.Data)))
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
	h.Set("Cache-Control", "no-store")
	_, err := rw.Write(f.Data)
	return err
}
