package bus

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/schema"
)

// newHouseByTLS starts a server that can be reached by TLS too, at the returned URL.
func newHouseByTLS(t *testing.T) (h *house, url string) {
	t.Helper()
	h = &house{t: t, dir: t.TempDir()}
	h.authority = must(OpenAuthority(h.dir + "/authority"))(t)
	h.server = must(StartServer(ServerOptions{Dir: h.dir + "/nats", Authority: h.authority, TLS: true, Logger: logger(t)}))(t)
	t.Cleanup(func() { h.server.Stop() })
	return h, must(h.server.Listen(t.Context(), "127.0.0.2:0"))(t)
}

// TestAFurtherAddressIsReachedByTLS has one account used at the server's own address without TLS, and at another one with.
func TestAFurtherAddressIsReachedByTLS(t *testing.T) {
	h, url := newHouseByTLS(t)
	if !strings.HasPrefix(url, "tls://127.0.0.2:") {
		t.Fatalf("the further address is %s", url)
	}
	ca := must(h.authority.CA())(t)
	full, limited, _, err := h.authority.Provider("acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.connect(full).Prepare(t.Context(), LogOptions{}); err != nil {
		t.Fatal(err)
	}
	remote := must(Connect(t.Context(), Options{URL: url, Credentials: limited, Trust: Trust{CA: ca}, Logger: logger(t)}))(t)
	defer remote.Close()
	if state, err := remote.nc.TLSConnectionState(); err != nil || state.Version < tls.VersionTLS12 {
		t.Errorf("the connection is not by TLS: %+v, %v", state, err)
	}
	w, _ := claim(t, must(remote.OpenLog(t.Context()))(t), "one", 0)
	put(t, w, strings.Repeat("x", MaxBatch))

	// The authority's certificate is kept, so that instances which run on trust the next daemon's server.
	if again := must(must(OpenAuthority(h.dir + "/authority"))(t).CA())(t); string(again) != string(ca) {
		t.Error("the authority's certificate is another one when it is opened again")
	}
	if info, err := os.Stat(filepath.Join(h.dir, "authority", "tls.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the authority's key: %v, %v; want mode 0600", info, err)
	}
	h.server.Stop()
	if err := remote.Ping(t.Context()); err == nil {
		t.Error("the connection is there after the server was stopped")
	}
}

// TestAnUntrustedServerIsRefused connects to servers that show no certificate, another's, or one for another name.
func TestAnUntrustedServerIsRefused(t *testing.T) {
	h, url := newHouseByTLS(t)
	stranger := must(must(OpenAuthority(t.TempDir()))(t).CA())(t)
	ca := must(h.authority.CA())(t)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "tls://"))
	for what, o := range map[string]Options{
		"of another authority":    {URL: url, Trust: Trust{CA: stranger}},
		"of no known authority":   {URL: url},
		"of another name":         {URL: "tls://localhost:" + port, Trust: Trust{CA: ca}},
		"with a bad CA":           {URL: url, Trust: Trust{CA: []byte("none")}},
		"with half a certificate": {URL: url, Trust: Trust{CA: ca, Cert: ca}},
	} {
		o.Credentials, o.Logger = h.authority.House(), logger(t)
		if what == "of another name" { // the relay listens at 127.0.0.2 alone: its own address has the certificate too
			o.URL = strings.Replace(h.server.URL(), "nats://127.0.0.1", "tls://localhost", 1)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		conn, err := Connect(ctx, o)
		cancel()
		if err == nil {
			conn.Close()
		}
		if !schema.Is(err, schema.Unauthorized) && !schema.Is(err, schema.Invalid) {
			t.Errorf("a server %s: %v", what, err)
		}
	}
	// A server without TLS is not spoken to without it.
	plain := newHouse(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if conn, err := Connect(ctx, Options{
		URL: strings.Replace(plain.server.URL(), "nats://", "tls://", 1), Credentials: plain.authority.House(), Logger: logger(t),
	}); err == nil {
		conn.Close()
		t.Error("a server without TLS was accepted where TLS is asked for")
	}
}

func TestURLsOfServers(t *testing.T) {
	for url, good := range map[string]bool{
		"nats://127.0.0.1:4222": true, "tls://nats1:4222,nats2:4222": true, "nats://a,nats://b,c": true, "tls://[::1]:4222": true,
		"": false, "127.0.0.1:4222": false, "http://a": false, "nats://": false, "nats://a,": false, "nats://a,tls://b": false,
		"nats://me:secret@a": false, "nats://a:x": false,
	} {
		if err := CheckURL(url); (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestFurtherAddressesThatCannotBe(t *testing.T) {
	h, _ := newHouseByTLS(t)
	for _, address := range []string{"", "0.0.0.0:0", ":4222", "127.0.0.1", "[::]:0"} {
		if url, err := h.server.Listen(t.Context(), address); !schema.Is(err, schema.Invalid) {
			t.Errorf("listening on %q: %s, %v", address, url, err)
		}
	}
	if _, err := h.server.Listen(t.Context(), strings.TrimPrefix(h.server.URL(), "nats://")); !schema.Is(err, schema.Unavailable) {
		t.Errorf("listening where the server does: %v", err)
	}
	if _, err := newHouse(t).server.Listen(t.Context(), "127.0.0.1:0"); !schema.Is(err, schema.Invalid) {
		t.Errorf("listening by TLS with a server that has none: %v", err)
	}
}
