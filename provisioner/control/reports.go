package control

import (
	"io"
	"net/http"
	"net/url"
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
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	_, err = io.Copy(&flushing{w: w, control: http.NewResponseController(w)}, resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the answer has begun: only a cut can say that it is not whole
	}
	return nil
}
