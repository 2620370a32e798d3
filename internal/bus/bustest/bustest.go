// Package bustest starts a real embedded bus for tests: the server, the house, and providers with their accounts.
package bustest

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"berth/internal/bus"
)

// House is a running server with its authority. It ends with the test.
type House struct {
	Authority *bus.Authority
	Server    *bus.Server
	Log       *slog.Logger
	t         testing.TB
}

// New starts a server in a folder of the test, with the house's buckets.
func New(t testing.TB) *House {
	t.Helper()
	dir := t.TempDir()
	authority, err := bus.OpenAuthority(dir + "/authority")
	if err != nil {
		t.Fatal(err)
	}
	h := &House{Authority: authority, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), t: t}
	h.Server, err = bus.StartServer(bus.ServerOptions{Dir: dir + "/nats", Authority: authority, Logger: h.Log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Server.Stop)
	if err := h.Connect(authority.House()).PrepareHouse(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// Connect connects with credentials until the test ends.
func (h *House) Connect(c bus.Credentials) *bus.Conn {
	h.t.Helper()
	conn, err := bus.Connect(h.t.Context(), bus.Options{URL: h.Server.URL(), Credentials: c, Name: "test", Logger: h.Log})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(conn.Close)
	return conn
}

// Provider makes a provider's account with its log, its rejects and its buckets, and returns the provisioner's
// connection to it and the credentials of its pipeline.
func (h *House) Provider(name string, o bus.LogOptions) (provisioner *bus.Conn, pipeline bus.Credentials) {
	h.t.Helper()
	full, pipeline, _, err := h.Authority.Provider(name)
	if err != nil {
		h.t.Fatal(err)
	}
	conn := h.Connect(full)
	if err := conn.Prepare(h.t.Context(), o); err != nil {
		h.t.Fatal(err)
	}
	return conn, pipeline
}

// Leaks returns the goroutines that nats-server leaves behind when it is stopped while it makes a stream. Tests that stop
// a whole daemon at any moment know them as not ours.
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
	}
}
