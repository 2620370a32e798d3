package bus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/bus/natstest"
)

// servers are NATS servers of their own, one or a cluster, with an authority that tells them of accounts.
type servers struct {
	t         *testing.T
	dir       string
	authority *Authority
	nodes     []*natstest.Node
	url       string
	trust     Trust
	replicas  int
}

// newServers starts servers that end with the test, by TLS if asked for.
func newServers(t *testing.T, count int, byTLS bool) *servers {
	t.Helper()
	s := &servers{t: t, dir: t.TempDir(), replicas: count}
	s.authority = must(OpenAuthority(s.dir + "/authority"))(t)
	addresses := natstest.Ports(t, 2*count)
	scheme := "nats://"
	var config ServerConfig
	if byTLS {
		scheme = "tls://"
		s.trust.CA = must(s.authority.CA())(t)
		cert, key, err := s.authority.Certificate("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		config.Cert, config.Key, config.CA = s.dir+"/cert.pem", s.dir+"/key.pem", s.dir+"/ca.pem"
		for path, text := range map[string][]byte{config.Cert: cert, config.Key: key, config.CA: s.trust.CA} {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range count {
		c := config
		c.Name, c.Listen = fmt.Sprint("n", i+1), addresses[i]
		c.Store = filepath.Join(s.dir, c.Name)
		if count > 1 {
			c.Cluster, c.Routes = addresses[count+i], addresses[count:]
		}
		s.nodes = append(s.nodes, natstest.New(t, s.dir, c.Name, c.Listen, must(s.authority.ServerConfig(c))(t)))
		s.nodes[i].Start()
	}
	for _, n := range s.nodes {
		n.Ready()
	}
	s.url = scheme + strings.Join(addresses[:count], ",")
	feed := s.connect(s.authority.System())
	answered(t, "the servers know the accounts", func(context.Context) error { return s.authority.Feed(feed) })
	return s
}

func (s *servers) connect(c Credentials) *Conn {
	s.t.Helper()
	conn := must(Connect(s.t.Context(), Options{URL: s.url, Credentials: c, Trust: s.trust, Name: "test", Logger: logger(s.t)}))(s.t)
	s.t.Cleanup(conn.Close)
	return conn
}
