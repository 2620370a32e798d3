package bus

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/internal/bus/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a server with an authority, and what is needed to stop it and start it again in its place.
type house struct {
	t         testing.TB
	dir       string
	authority *Authority
	server    *Server // embedded; nil when there are nodes
	port      int

	// of its own
	nodes  []*natstest.Node
	remote *Remote
	at     string
	trust  Trust
	back   chan struct{} // receives when they came back and know all accounts
}

// url returns where clients connect.
func (h *house) url() string {
	if h.server == nil {
		return h.at
	}
	return h.server.URL()
}

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// newHouse starts a server that stops when the test ends.
func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir()}
	h.authority = must(OpenAuthority(h.dir + "/authority"))(t)
	h.start()
	t.Cleanup(func() {
		if h.server != nil {
			h.server.Stop()
		}
	})
	return h
}

func (h *house) start() {
	h.t.Helper()
	h.server = must(StartServer(ServerOptions{
		Dir: h.dir + "/nats", Authority: h.authority, Port: h.port, Logger: logger(h.t),
	}))(h.t)
	h.port = must(portOf(h.server.URL()))(h.t)
}

// restart stops the server and starts it again at the same address.
func (h *house) restart() {
	h.t.Helper()
	h.server.Stop()
	h.start()
}

// connect connects until the test ends.
func (h *house) connect(c Credentials) *Conn {
	h.t.Helper()
	conn := must(Connect(h.t.Context(), h.options(c)))(h.t)
	h.t.Cleanup(conn.Close)
	return conn
}

func (h *house) options(c Credentials) Options {
	return Options{URL: h.url(), Credentials: c, Trust: h.trust, Replicas: len(h.nodes), Name: "test", Logger: logger(h.t)}
}

// provider adds a provider and connects as its provisioner and its pipeline.
func (h *house) provider(name string, o LogOptions) (provisioner, pipeline *Conn) {
	h.t.Helper()
	full, limited, _, err := h.authority.Provider(name)
	if err != nil {
		h.t.Fatal(err)
	}
	provisioner = h.connect(full)
	h.prepare(func(ctx context.Context) error { return provisioner.Prepare(ctx, o) })
	return provisioner, h.connect(limited)
}

// prepare prepares something; servers of their own that have just begun may need to be asked again.
func (h *house) prepare(fn func(ctx context.Context) error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	for {
		err := fn(ctx)
		if err == nil {
			return
		}
		if len(h.nodes) == 0 || wait(ctx, reconnectLeast) != nil {
			h.t.Fatal(err)
		}
	}
}

// must returns a function that fails the test if err is set, and else returns v.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// soon fails the test unless the condition becomes true within a minute; it is asked again after each tick.
func soon(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); !condition(); <-tick.C {
		if time.Now().After(limit) {
			t.Fatal("not within a minute: " + what)
		}
	}
}
