// Package web is the front door: it signs people in, knows which provider they belong to, serves the pages, and passes
// questions about readings on to a running reports instance of that provider. It never reads a keyspace itself, and it
// knows no NATS account but the house's.
//
// Its one invariant: what belongs to a provider is served only to an operator, to that provider's admin, or to a token
// of that provider; to everybody else the provider does not exist.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

	"berth/internal/audit"
	"berth/internal/bus"
	"berth/internal/credentials"
	"berth/internal/httpserver"
	"berth/internal/lifecycle"
	"berth/internal/mail"
	"berth/internal/metrics"
	"berth/internal/password"
	"berth/internal/people"
	"berth/internal/reportview"
	"berth/internal/version"
	"berth/schema"
	"berth/schema/record"
	"berth/web/assets"
	"berth/web/locale"
	"berth/web/schedule"
)

// announceEvery is how often web renews its entry in the registry, which outlasts three of them.
const announceEvery = 5 * time.Second

// How many passwords are hashed at a time, and how many wait; each takes 19 MiB and some 30 ms.
const (
	hashesAtOnce  = 2
	hashesWaiting = 32
)

// Options say what web serves, and where.
type Options struct {
	Listen      string           // host:port; port 0 is any
	Bus         string           // URL of NATS
	Credentials bus.Credentials  // of the house's account
	Trust       bus.Trust        // of NATS by TLS
	HouseSecret []byte           // opens enrolment keys
	PublicHost  string           // under which gateways reach the providers' ports; empty or unspecified: the host the browser asked
	Mail        mail.Options     // by which scheduled reports are sent; no server: none can be
	PortBase    int              // a provider's port is this plus its slot
	Front       httpserver.Front // how browsers reach web
	Instance    string
	Spec        string
	Logger      *slog.Logger
}

// Validate returns an Invalid error that names the first option which cannot be.
func (o Options) Validate() error {
	switch {
	case o.Logger == nil:
		return errors.New("web has no logger")
	case o.Listen == "":
		return schema.Errorf(schema.Invalid, "no address to listen on was given").WithNext("give --listen, such as 127.0.0.1:8080")
	case len(o.HouseSecret) == 0:
		return schema.Errorf(schema.Invalid, "no house secret was given").WithNext("give --house-secret the file that the provisioner made")
	}
	return httpserver.CheckBase(o.Front.Base)
}

// Web is the front door. Start and Stop are called by one goroutine.
type Web struct {
	o         Options
	http      *httpserver.Server
	stack     *lifecycle.Stack
	conn      *bus.Conn
	dir       *directory
	book      *people.Book
	store     *sessionStore
	sessions  *scs.SessionManager
	hasher    *password.Hasher
	attempts  *pacer // to sign in
	asked     *pacer // of the API
	audit     *audit.Log
	usage     *bus.Bucket // what providers used
	up        *upstream
	passing   passBuffers
	schedule  *schedule.Scheduler
	pages     *pages
	cross     *http.CrossOriginProtection
	cookie    string
	recheck   time.Duration // how often a request that goes on must show again that it may
	now       func() time.Time
	started   time.Time
	metrics   *metrics.Set
	described []byte // the API, by itself
}

// New returns a front door that does nothing yet. It fails when the pages' files were not built.
func New(o Options) (*Web, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	files, err := assets.Load()
	if err != nil {
		return nil, err
	}
	catalog, err := locale.Load()
	if err != nil {
		return nil, err
	}
	p, err := loadPages(files, catalog)
	if err != nil {
		return nil, err
	}
	w := &Web{
		o: o, pages: p, stack: lifecycle.New(o.Logger), cross: http.NewCrossOriginProtection(), recheck: 5 * time.Second,
		// Cookies do not know ports: two installations on one host need two names.
		cookie: "berth_" + credentials.Hash(string(o.HouseSecret) + " cookie")[:8], now: time.Now,
	}
	w.hasher, w.attempts, w.asked = password.NewHasher(hashesAtOnce, hashesWaiting), newPacer(), newPacer()
	w.dir = newDirectory(o.Logger)
	w.up = newUpstream(w.dir)
	w.metrics = metrics.New(version.Version)
	w.http = httpserver.New(httpserver.Options{
		Logger: o.Logger, Answered: w.answered, Headers: securityHeaders, Fail: w.failPage, MaxBody: 64 << 10, Front: w.o.Front,
	})
	if w.described, _, err = describe(w.routes()); err != nil {
		return nil, err
	}
	for _, r := range w.routes() {
		if err := r.check(); err != nil {
			return nil, err
		}
		w.http.Handle(r.method, r.path, r.handler, w.guard(r))
	}
	return w, nil
}

// Start connects to the house's records, begins to serve and announces itself.
func (w *Web) Start(ctx context.Context) error {
	if err := w.start(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(err, w.Stop(stopCtx))
	}
	return nil
}

func (w *Web) start(ctx context.Context) error {
	w.started = w.now()
	conn, err := bus.Connect(ctx, bus.Options{URL: w.o.Bus, Credentials: w.o.Credentials, Trust: w.o.Trust, Name: "web " + w.o.Instance, Logger: w.o.Logger})
	if err != nil {
		return err
	}
	w.conn = conn
	w.stack.Push("bus", 2*time.Second, func(context.Context) error { conn.Close(); return nil })
	buckets := map[string]*bus.Bucket{}
	for _, name := range []string{"providers", "services", "sessions", "usage"} {
		if buckets[name], err = conn.Bucket(ctx, bus.BucketOptions{Name: name}); err != nil {
			return fmt.Errorf("open the house's records: %w", err)
		}
	}
	if w.book, err = people.Open(ctx, conn, func() time.Time { return w.now() }); err != nil {
		return err
	}
	w.audit, w.usage = audit.New(conn), buckets["usage"]
	w.store = &sessionStore{bucket: buckets["sessions"], now: func() time.Time { return w.now() }}
	w.sessions = newSessions(w.store)
	w.background(ctx, "directory", func(ctx context.Context) { w.dir.watch(ctx, buckets["providers"], buckets["services"]) })
	select {
	case <-w.dir.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	w.stack.Push("connections to reports", time.Second, func(context.Context) error { w.up.close(); return nil })
	if err := w.http.Start(ctx, w.o.Listen); err != nil {
		return listenError(err, w.o.Listen)
	}
	w.stack.Push("http", 5*time.Second, w.http.Stop)
	if err := w.watched(buckets["sessions"]); err != nil {
		return err
	}
	if err := w.startSchedules(ctx); err != nil {
		return err
	}
	w.background(ctx, "announce", func(ctx context.Context) { _ = conn.Announce(ctx, w.service, announceEvery) }) // ctx's error alone
	w.o.Logger.Info("web serves", "address", w.Addr(), "version", version.Version)
	return nil
}

// background runs fn until Stop, which waits for it.
func (w *Web) background(ctx context.Context, name string, fn func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the start
	var wg sync.WaitGroup
	wg.Go(func() { fn(ctx) })
	w.stack.Push(name, 5*time.Second, func(context.Context) error {
		cancel()
		wg.Wait()
		return nil
	})
}

// Stop ends what Start began, within the context's time. It may be called twice.
func (w *Web) Stop(ctx context.Context) error { return w.stack.Stop(ctx) }

// Addr returns the address that web listens on, after Start.
func (w *Web) Addr() string { return w.http.Addr() }

// service is how web announces itself.
func (w *Web) service() record.Service {
	return record.Service{
		Version: record.Version, Role: record.RoleWeb, Instance: w.o.Instance, Address: w.Addr(), Program: version.Version,
		Spec: w.o.Spec, Started: w.started, State: "ready", PID: os.Getpid(),
	}
}

func listenError(err error, address string) error {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return schema.Errorf(schema.Conflict, "the pages cannot be served on %s", address).
			WithNext("free that address, or give another: --listen 127.0.0.1:8081 (provisioner serve: --web)").WithCause(err)
	}
	return err
}

// securityHeaders go with every answer, the API's too. No page has a script or style of its own in its text, and
// nothing is loaded from another host.
func securityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; object-src 'none'; script-src 'self'; style-src 'self' "+reportview.StyleSource()+"; connect-src 'self'; "+
		"img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}
