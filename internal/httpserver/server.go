// Package httpserver gives Berth's HTTP services the same manners: routes whose handlers return errors, errors as
// problems of RFC 9457, bounds on headers, bodies and time, request ids, recovery from panics, an access log, streams
// that end when the server stops, and a stop that is bounded. What is served, and to whom, is left to the services.
//
// Its one invariant: an answer that could not be finished never looks finished; its connection is cut instead.
//
// It is the only package that knows the router (echo); handlers are those of net/http that return an error.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"berth/schema"
)

// Handler answers a request, or returns an error that the server answers as a problem. Path parameters are read by
// [http.Request.PathValue].
type Handler func(w http.ResponseWriter, r *http.Request) error

// Middleware wraps a handler.
type Middleware func(next Handler) Handler

// Route is a method and a path pattern, whose parameters begin with a colon.
type Route struct {
	Method string
	Path   string
}

// Options set a server's bounds; zero values mean the defaults.
type Options struct {
	Logger *slog.Logger
	// Headers sets what every answer carries; it runs before the handler.
	Headers func(h http.Header)
	// Fail answers a request with err in another way than as a problem, as a page for instance; false: it did not.
	Fail func(w http.ResponseWriter, r *http.Request, err error) bool

	// Answered is told of each request when it has been answered, for counting; status "cut" is of an answer that was not
	// finished, an empty route of a request that matched none.
	Answered func(route, status string, took time.Duration)
	// Front is how clients reach the server.
	Front Front

	MaxHeader     int           // bytes of a request's head; 32 KiB
	MaxBody       int64         // bytes of a request's body; 1 MiB
	HeaderTimeout time.Duration // for a request's head; 5 s
	BodyTimeout   time.Duration // for a request's body; 30 s
	WriteTimeout  time.Duration // for an answer, and for each write of a stream; 30 s
	IdleTimeout   time.Duration // between the requests of a connection; 2 min
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Headers == nil {
		o.Headers = func(http.Header) {}
	}
	if o.Fail == nil {
		o.Fail = func(http.ResponseWriter, *http.Request, error) bool { return false }
	}
	if o.Answered == nil {
		o.Answered = func(string, string, time.Duration) {}
	}
	setDefault(&o.MaxHeader, 32<<10)
	setDefault(&o.MaxBody, 1<<20)
	setDefault(&o.HeaderTimeout, 5*time.Second)
	setDefault(&o.BodyTimeout, 30*time.Second)
	setDefault(&o.WriteTimeout, 30*time.Second)
	setDefault(&o.IdleTimeout, 2*time.Minute)
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Server is an HTTP server. Routes and middleware are added before Start, by one goroutine; then its methods may be
// called concurrently.
type Server struct {
	o      Options
	echo   *echo.Echo
	use    []Middleware
	routes []Route
	server *http.Server
	listen net.Listener
	done   chan error // one value, when serving has ended

	streams    context.Context //nolint:containedctx // ends the streams when the server stops; it belongs to no request
	endStreams context.CancelFunc
}

// New returns a server without routes that is not listening yet.
func New(o Options) *Server {
	o.setDefaults()
	s := &Server{o: o, echo: echo.New(), done: make(chan error, 1)}
	s.streams, s.endStreams = context.WithCancel(context.Background())
	s.echo.HTTPErrorHandler = notRouted
	s.server = &http.Server{
		Handler:           s.o.Front.behind(http.HandlerFunc(s.serve)),
		MaxHeaderBytes:    o.MaxHeader,
		ReadHeaderTimeout: o.HeaderTimeout,
		IdleTimeout:       o.IdleTimeout,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.Background() },
	}
	return s
}

// Use adds middleware around the handlers of all routes, outermost first. It does not run where no route matches.
func (s *Server) Use(m ...Middleware) { s.use = append(s.use, m...) }

// Handle adds a route; the middleware given is its own, inside that of Use, outermost first.
func (s *Server) Handle(method, path string, h Handler, m ...Middleware) {
	for _, wrap := range slices.Backward(m) {
		h = wrap(h)
	}
	s.routes = append(s.routes, Route{Method: method, Path: path})
	s.echo.Add(method, path, s.adapt(h))
}

// Get adds a route for GET.
func (s *Server) Get(path string, h Handler, m ...Middleware) {
	s.Handle(http.MethodGet, path, h, m...)
}

// Post adds a route for POST.
func (s *Server) Post(path string, h Handler, m ...Middleware) {
	s.Handle(http.MethodPost, path, h, m...)
}

// Routes returns all routes in the order they were added.
func (s *Server) Routes() []Route { return s.routes }

// adapt makes a handler one of the router's. The error is kept with the request: see serve.
func (s *Server) adapt(h Handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		x := exchangeOf(r)
		x.route = c.Path()
		chain := h
		for _, wrap := range slices.Backward(s.use) {
			chain = wrap(chain)
		}
		if x.err = setPathValues(r, c); x.err == nil {
			x.err = chain(x.w, r)
		}
		return nil
	}
}

// setPathValues gives the request what the router found in its path.
func setPathValues(r *http.Request, c echo.Context) error {
	for i, name := range c.ParamNames() {
		v := c.ParamValues()[i]
		if r.URL.RawPath != "" { // then the router matched the escaped path
			plain, err := url.PathUnescape(v)
			if err != nil {
				return schema.Errorf(schema.Invalid, "the path is not escaped properly")
			}
			v = plain
		}
		r.SetPathValue(name, v)
	}
	return nil
}

// notRouted takes the router's own errors: the handlers' never reach it.
func notRouted(err error, c echo.Context) {
	r := c.Request()
	x := exchangeOf(r)
	switch he, ok := errors.AsType[*echo.HTTPError](err); {
	case ok && he.Code == http.StatusMethodNotAllowed: // the router has set Allow
		x.err = methodError{schema.Errorf(schema.Invalid, "%s does not take %s", r.URL.Path, r.Method)}
	default:
		x.err = schema.Errorf(schema.NotFound, "there is nothing at %s", r.URL.Path)
	}
}

// Start listens on the address (port 0: any) and serves until Stop. The error is Invalid when the front has a certificate
// that cannot be used.
func (s *Server) Start(ctx context.Context, address string) error {
	var err error
	if s.server.TLSConfig, err = s.o.Front.tls(); err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for HTTP on %s: %w", address, err)
	}
	s.listen = l
	go func() {
		if s.server.TLSConfig != nil {
			s.done <- s.server.ServeTLS(l, "", "")
			return
		}
		s.done <- s.server.Serve(l)
	}()
	return nil
}

// Addr returns the address that the server listens on, after Start.
func (s *Server) Addr() string { return s.listen.Addr().String() }

// Stop ends the streams, takes no new requests, and waits for those that run until the context ends; then it cuts them.
// It may be called twice.
func (s *Server) Stop(ctx context.Context) error {
	s.endStreams()
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("wait for HTTP requests: %w", err), s.server.Close())
	}
	if s.listen != nil {
		served := <-s.done
		s.done <- served // for a second call
		if !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, fmt.Errorf("serve HTTP: %w", served))
		}
	}
	return err
}

// ServeHTTP answers a request, so that tests can do without a listener.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.server.Handler.ServeHTTP(w, r) }
