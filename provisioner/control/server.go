package control

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"berth/internal/bus"
	"berth/internal/httpserver"
	"berth/internal/people"
	"berth/provisioner/doctor"
	"berth/provisioner/house"
	"berth/provisioner/loop"
	"berth/provisioner/plan"
	"berth/provisioner/ports"
	"berth/provisioner/runtime"
	"berth/provisioner/world"
	"berth/schema"
	"berth/schema/record"
)

// bodyLimit bounds a request's body, in bytes.
const bodyLimit = 1 << 20

// Options are what the API shows and changes. All are needed.
type Options struct {
	Status  Status
	House   *house.House
	World   *world.World
	Loop    *loop.Loop
	Runtime runtime.Runtime
	Site    plan.Site
	Doctor  func(ctx context.Context) []doctor.Check
	Usage   *bus.Bucket
	Logger  *slog.Logger

	HidesSenders bool // the runtime may hide from which address somebody sends
}

// Server answers the API. It is an http.Handler.
type Server struct {
	o         Options
	mux       *http.ServeMux
	followers atomic.Int64 // of logs, by web
}

// NewServer returns the API's handler.
func NewServer(o Options) *Server {
	s := &Server{o: o, mux: http.NewServeMux()}
	for pattern, handle := range map[string]handler{
		"GET /v1/status":                                    s.status,
		"GET /v1/plan":                                      s.plan,
		"GET /v1/doctor":                                    s.doctor,
		"GET /v1/usage":                                     s.used,
		"GET /v1/logs":                                      s.logs,
		"POST /v1/links":                                    s.link,
		"GET /v1/orphans":                                   s.orphans,
		"POST /v1/gc":                                       s.collect,
		"GET /v1/tokens":                                    s.tokens,
		"POST /v1/tokens":                                   s.newToken,
		"DELETE /v1/tokens":                                 s.revokeToken,
		"GET /v1/providers":                                 s.list,
		"POST /v1/providers":                                s.add,
		"GET /v1/providers/{provider}":                      s.show,
		"DELETE /v1/providers/{provider}":                   s.remove,
		"POST /v1/providers/{provider}/restart":             s.restart,
		"POST /v1/providers/{provider}/stop":                s.stop,
		"POST /v1/providers/{provider}/start":               s.start,
		"POST /v1/providers/{provider}/update":              s.update,
		"POST /v1/providers/{provider}/exec":                s.exec,
		"PATCH /v1/providers/{provider}/settings":           s.set,
		"GET /v1/providers/{provider}/tokens":               s.tokens,
		"POST /v1/providers/{provider}/tokens":              s.newToken,
		"DELETE /v1/providers/{provider}/tokens":            s.revokeToken,
		"GET /v1/providers/{provider}/gateways":             s.gateways,
		"POST /v1/providers/{provider}/gateways":            s.changeGateway,
		"GET /v1/providers/{provider}/enrolment":            s.enrolment,
		"GET /v1/providers/{provider}/sources":              s.sources,
		"POST /v1/providers/{provider}/sources":             s.putSource,
		"DELETE /v1/providers/{provider}/sources":           s.removeSource,
		"GET /v1/providers/{provider}/reports/{path...}":    s.reports,
		"POST /v1/providers/{provider}/reports/{path...}":   s.reports,
		"DELETE /v1/providers/{provider}/reports/{path...}": s.reports,
		"/": func(http.ResponseWriter, *http.Request) error { return errNoRoute },
	} {
		s.mux.HandleFunc(pattern, s.serve(pattern, handle))
	}
	return s
}

var errNoRoute = schema.Errorf(schema.NotFound, "the daemon does not know this request").
	WithNext("run a command line of the daemon's own version: provisioner version")

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

type handler func(w http.ResponseWriter, r *http.Request) error

// serve turns an error into a problem, and logs its cause; what changes something is recorded in the audit log.
func (s *Server) serve(pattern string, handle handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
		r, noted := withNote(r)
		err := handle(w, r)
		s.record(r, pattern, noted, err)
		if err == nil {
			return
		}
		if c := schema.CodeOf(err); c == schema.Internal || c == schema.Unavailable {
			s.o.Logger.Warn("a command went wrong", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		httpserver.Problem(w, err)
	}
}

func read(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return schema.Errorf(schema.Invalid, "the request's body cannot be read: %v", err)
	}
	return nil
}

func answer(w http.ResponseWriter, v any) error { return httpserver.JSON(w, http.StatusOK, v) }

func (s *Server) status(w http.ResponseWriter, _ *http.Request) error { return answer(w, s.o.Status) }

func (s *Server) plan(w http.ResponseWriter, r *http.Request) error {
	steps, _, err := s.o.Loop.Plan(r.Context())
	if err != nil {
		return err
	}
	if steps == nil {
		steps = []plan.Step{}
	}
	return answer(w, steps)
}

func (s *Server) doctor(w http.ResponseWriter, r *http.Request) error {
	return answer(w, s.o.Doctor(r.Context()))
}

// logs streams what an instance wrote. Once the first byte is out an error can only cut the stream.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	lines, err := strconv.Atoi(q.Get("lines"))
	if err != nil || lines < 0 {
		return schema.Errorf(schema.Invalid, "%q is no number of lines", q.Get("lines"))
	}
	out := &flushing{w: w, control: http.NewResponseController(w)}
	err = s.o.Runtime.Logs(r.Context(), q.Get("name"), runtime.LogOptions{Lines: lines, Follow: q.Get("follow") == "true"}, out)
	if out.begun || r.Context().Err() != nil {
		return nil //nolint:nilerr // the answer has begun, or nobody waits for it
	}
	return err
}

// flushing hands over each write at once.
type flushing struct {
	w       io.Writer
	control *http.ResponseController
	begun   bool
}

func (f *flushing) Write(p []byte) (int, error) {
	f.begun = true
	n, err := f.w.Write(p)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

func (s *Server) link(w http.ResponseWriter, r *http.Request) error {
	var req LinkRequest
	if err := read(r, &req); err != nil {
		return err
	}
	l := record.Link{Role: req.Role, Provider: req.Provider}
	if req.Invite {
		l.Kind = record.Invite
	}
	note(r, l.Provider, string(l.Kind), string(l.Role))
	secret, err := s.o.House.Link(r.Context(), l)
	if err != nil {
		return err
	}
	return answer(w, Link{URL: SignInURL(s.o.Status.Web, secret), Expires: time.Now().Add(people.LinkLife).UTC().Truncate(time.Second)})
}

// SignInURL returns the page that a sign-in link's secret opens.
func SignInURL(web, secret string) string { return web + "/sign-in?link=" + url.QueryEscape(secret) }

// slots returns by what a new provider is given its slot.
func (s *Server) slots(ctx context.Context) plan.Slots {
	return plan.Slots{PortBase: s.o.Site.PortBase, Holder: func(port int) string {
		return ports.Holder(ctx, s.o.Site.Host, port)
	}}
}
