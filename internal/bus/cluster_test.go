package bus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/bus/natstest"
)

// onEveryServer runs a test on the embedded server, and on one of its own that is reached by TLS.
func onEveryServer(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, newHouse(t))
	})
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		test(t, newServers(t, 1, true))
	})
}

// newServers starts NATS servers of their own, one or a cluster, that end with the test.
func newServers(t *testing.T, count int, byTLS bool) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), back: make(chan struct{}, 16)}
	h.authority = must(OpenAuthority(h.dir + "/authority"))(t)
	addresses := natstest.Ports(t, 2*count)
	var config ServerConfig
	h.at = "nats://" + strings.Join(addresses[:count], ",")
	if byTLS {
		h.at = "tls://" + strings.Join(addresses[:count], ",")
		config.Cert, config.Key, config.CA = h.dir+"/cert.pem", h.dir+"/key.pem", h.dir+"/ca.pem"
		h.trust.CA = must(h.authority.CA())(t)
		cert, key, err := h.authority.Certificate("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string][]byte{config.Cert: cert, config.Key: key, config.CA: h.trust.CA} {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range count {
		config.Name, config.Listen = fmt.Sprint("n", i+1), addresses[i]
		config.Store = filepath.Join(h.dir, config.Name)
		if count > 1 {
			config.Cluster, config.Routes = addresses[count+i], addresses[count:]
		}
		h.nodes = append(h.nodes, natstest.New(t, h.dir, config.Name, config.Listen, must(h.authority.ServerConfig(config))(t)))
		h.nodes[i].Start()
	}
	for _, n := range h.nodes {
		n.Ready()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h.remote = must(OpenRemote(ctx, h.options(nil), h.authority, func() { h.back <- struct{}{} }))(t)
	t.Cleanup(h.remote.Stop)
	return h
}
