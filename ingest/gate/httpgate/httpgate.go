// Package httpgate is the gate's listener for HTTP: what Influx clients and Telegraf speak, and SenML and plain JSON for
// everybody.
//
//	POST /write             line protocol, as InfluxDB 1 takes it   ?precision= &u= &p= &gateway=   (db is ignored)
//	POST /api/v2/write      line protocol, as InfluxDB 2 takes it   ?precision= &gateway=           (org, bucket are ignored)
//	POST /api/v1/readings   plain JSON, or what Content-Type names  ?gateway=
//	GET  /healthz, /readyz  for load balancers: a status and nothing else; 503: no frames can be taken now
//	GET  /ping, /health     for clients of InfluxDB: whether it is there; whether it takes readings
//
// Content-Type names a format when it is application/json, application/senml+json or application/senml+cbor; of others of
// the family (SensML, which is a stream, SenML in XML) 415 says that they are not taken, and everything else is JSON, as
// clients send it that name no type or any.
//
// The key comes as Authorization: Token or Bearer <key>, as the password of Basic, or as p=; within TLS that was opened with a
// certificate of the gateway's there need be none. The gateway is what a line
// names, else ?gateway=, else the user's name, else the gateway that the key is of. Bodies may be compressed with gzip.
// 204 means that everything is in the log, on disk; 400 with "partial write" that the good lines are and which are not,
// whether they are wrong or beyond a limit: sending those again is in vain. 429 (too many connections, or too fast) and
// 503 carry Retry-After: the same may be taken later.
//
// Plain requests of lines that are pipelined are taken together, see pipelined.go; all else is net/http's.
//
// Line protocol is taken in pieces as it comes, so a large body is never in memory whole. A request that carries an
// Origin is refused: no web page has business here.
package httpgate

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"berth/ingest/gate/intake"
	"berth/internal/api"
	"berth/schema"
)

const (
	// maxHeader is the longest header, in bytes; net/http adds 4 KB to it.
	maxHeader = 4 << 10
	// idleLimit is how long a connection without a request is kept.
	idleLimit = 5 * time.Minute
)

// Listener serves connections that begin with an HTTP method.
type Listener struct {
	in       *intake.Intake
	server   *http.Server
	accept   acceptor
	served   sync.WaitGroup
	requests sync.RWMutex // held for reading by each request that is handled, so that Stop can wait for them

	pipelines sync.WaitGroup
	mu        sync.Mutex // guards what follows
	taken     map[*pipelined]struct{}
	stopping  bool
}

var _ intake.Listener = (*Listener)(nil)

// New returns the listener.
func New(in *intake.Intake) intake.Listener {
	l := &Listener{in: in, accept: acceptor{conns: make(chan net.Conn), closed: make(chan struct{})}, taken: make(map[*pipelined]struct{})}
	l.server = &http.Server{
		Handler:           http.HandlerFunc(l.handle),
		ReadHeaderTimeout: in.Limits.FirstFrame,
		IdleTimeout:       min(in.Limits.Idle, idleLimit),
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // strangers' mistakes are no news
		ConnContext:       connContext,
	}
	l.served.Go(func() { _ = l.server.Serve(&l.accept) }) // it ends when it is stopped
	return l
}

// connKey is where the context of a request has its connection.
type connKey struct{}

// connContext puts a connection into the context of its requests.
func connContext(ctx context.Context, c net.Conn) context.Context {
	if r, ok := c.(*rest); ok {
		c = r.Conn
	}
	return context.WithValue(ctx, connKey{}, c)
}

// Name is the protocol's name.
func (l *Listener) Name() string { return "http" }

// Recognise knows the protocol by the method.
func (l *Listener) Recognise(first []byte) intake.Match {
	return intake.MatchPrefix(first, "POST ", "GET ", "HEAD ", "PUT /", "OPTIONS ", "DELETE ", "PATCH ")
}

// Serve hands the connection to the HTTP server.
func (l *Listener) Serve(c *intake.Conn) {
	c.Serves()
	l.hand(c)
}

// hand hands a connection to the HTTP server.
func (l *Listener) hand(c net.Conn) {
	select {
	case l.accept.conns <- c:
	case <-l.accept.closed:
		_ = c.Close() // nobody is in the middle of anything
	}
}

// Refuse says why the connection is not served.
func (l *Listener) Refuse(c *intake.Conn, why error) {
	_, _ = io.WriteString(c, refusal(why)) // who is refused need not hear it
}

// Stop answers the requests in hand and closes the connections.
func (l *Listener) Stop(ctx context.Context) {
	l.stopPipelines()
	if err := l.server.Shutdown(ctx); err != nil {
		_ = l.server.Close() // they had their time
	}
	_ = l.accept.Close() // it always succeeds
	l.served.Wait()
	l.requests.Lock() // the server does not wait for those whose connections it closed, or that were taken over
	defer l.requests.Unlock()
	l.pipelines.Wait()
}

// acceptor is a net.Listener of connections that were accepted elsewhere.
type acceptor struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept returns the next connection.
func (a *acceptor) Accept() (net.Conn, error) {
	select {
	case c := <-a.conns:
		return c, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (a *acceptor) Close() error {
	a.once.Do(func() { close(a.closed) })
	return nil
}

// Addr returns no address in particular.
func (a *acceptor) Addr() net.Addr { return &net.TCPAddr{} }

// route is what a path takes.
type route struct {
	format string
	typed  bool // unless the request's Content-Type names another
	style  style
}

// routes is the table of paths that take readings.
var routes = map[string]route{
	"/write":           {format: "line", style: influx1},
	"/api/v2/write":    {format: "line", style: influx2},
	"/api/v1/readings": {format: "json", typed: true, style: influx2},
}

// handle answers a request.
func (l *Listener) handle(w http.ResponseWriter, r *http.Request) {
	l.requests.RLock()
	defer l.requests.RUnlock()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // set when there is an answer
	c, known := r.Context().Value(connKey{}).(*intake.Conn)
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && l.asks(w, r) {
		if known {
			c.Asks()
		}
		return
	}
	if known {
		c.AsksMore()
		if ends(c) {
			w.Header().Set("Connection", "close")
		}
	}
	at, takes := routes[r.URL.Path]
	switch {
	case r.Header.Get("Origin") != "":
		l.fail(w, at.style, schema.Errorf(schema.Forbidden, "requests of web pages are refused: this one has an Origin"))
	case takes && r.Method == http.MethodPost:
		l.write(w, r, at)
	case takes:
		w.Header().Set("Allow", http.MethodPost)
		l.answer(w, http.StatusMethodNotAllowed, at.style.body(schema.Invalid, "this path takes POST", nil))
	default:
		l.fail(w, at.style, schema.Errorf(schema.NotFound, "nothing is at this path").
			WithNext("send readings by POST to /write, /api/v2/write or /api/v1/readings"))
	}
}

// asks answers a question of how the port is, which needs no key and is no stranger's harm; false when it is none.
func (l *Listener) asks(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/ping":
		l.answer(w, http.StatusNoContent, nil)
	case "/health":
		l.health(w)
	case api.AlivePath:
		l.answer(w, http.StatusOK, nil)
	case api.ReadyPath:
		status := http.StatusOK
		if !l.in.Ready() {
			status = http.StatusServiceUnavailable
		}
		l.answer(w, status, nil)
	default:
		return false
	}
	return true
}

// health says whether readings are taken without delay.
func (l *Listener) health(w http.ResponseWriter) {
	if !l.in.Ready() {
		l.answer(w, http.StatusServiceUnavailable, health{Name: "berth", Status: "fail", Message: "the log cannot keep up"})
		return
	}
	l.answer(w, http.StatusOK, health{Name: "berth", Status: "pass", Message: "ready for writes"})
}

// health is how InfluxDB 2 says it.
type health struct {
	Name    string `json:"name"`
	Status  string `json:"status"`
	Message string `json:"message"`
}
