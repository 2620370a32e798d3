package control

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// toReports keeps no connections: commands are rare.
var toReports = &http.Transport{DisableKeepAlives: true}

// reports hands a request on to the provider's reports, signed with its token, and the answer back as it comes. What it
// answers, problems too, is its own.
func (s *Server) reports(w http.ResponseWriter, r *http.Request) error {
	note(r, "", r.PathValue("path"))
	p, err := s.o.House.Active(r.Context(), r.PathValue("provider"))
	if err != nil {
		return err
	}
	address, err := s.o.World.Address(p.Name, record.RoleReports)
	if err != nil {
		return err
	}
	at := url.URL{Scheme: "http", Host: address, Path: "/api/v1/providers/" + p.Name + "/" + r.PathValue("path"), RawQuery: r.URL.RawQuery}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, at.String(), nil)
	if err != nil {
		return schema.Errorf(schema.Invalid, "the request cannot be handed on").WithCause(err)
	}
	credentials.Sign(req, p.ReportsToken, time.Now())
	resp, err := toReports.RoundTrip(req)
	if err != nil {
		return schema.Errorf(schema.Unavailable, "reports of %s does not answer", p.Name).WithNext("see provisioner show %s", p.Name).WithCause(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	h := w.Header()
	h.Set("Content-Type", resp.Header.Get("Content-Type"))
	for name, values := range resp.Header {
		if strings.HasPrefix(name, ourHeaders) {
			h[name] = values
		}
	}
	for name := range resp.Trailer {
		h.Add("Trailer", name)
	}
	w.WriteHeader(resp.StatusCode)
	out := &flushing{w: w, control: http.NewResponseController(w)}
	_ = out.control.Flush() // who waits sees that it goes on
	_, err = io.Copy(out, resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the answer has begun: only a cut can say that it is not whole
	}
	maps.Copy(h, resp.Trailer)
	return nil
}

// ourHeaders are how the names begin of headers in which reports says more than HTTP does.
const ourHeaders = "Berth-"
