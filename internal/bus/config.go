package bus

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"berth/schema"
)

// ServerConfig is what an operator decides of a NATS server of its own.
type ServerConfig struct {
	Name       string // of the server; of each of a cluster another
	Listen     string // host:port where clients connect
	Store      string // folder of the streams
	StoreLimit int64  // bounds the sum of all streams' quotas, in bytes; 16 TiB when 0
	Monitor    string // host:port where it says over HTTP how it is; empty: nowhere

	Cert, Key, CA string // paths of PEM files: its certificate, and for a cluster who signed that of the others; empty: no TLS

	Cluster string   // host:port where the other servers connect; empty: it is alone
	Routes  []string // host:port of all servers of the cluster; it may be among them
}

// check returns an Invalid error that names what cannot be.
func (c *ServerConfig) check() error {
	addresses := append([]string{c.Listen}, c.Routes...)
	for _, optional := range []string{c.Cluster, c.Monitor} {
		if optional != "" {
			addresses = append(addresses, optional)
		}
	}
	for _, a := range addresses {
		_, port, err := net.SplitHostPort(a)
		if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 1 || n > 65535 {
			return schema.Errorf(schema.Invalid, "%q is no host and port", a).WithNext("write it as host:port, such as 10.0.0.1:4222")
		}
	}
	switch {
	case c.Name == "" || strings.ContainsAny(c.Name, " \t\n"):
		return schema.Errorf(schema.Invalid, "%q is no name of a server", c.Name).WithNext("name it without blanks")
	case !filepath.IsAbs(c.Store):
		return schema.Errorf(schema.Invalid, "the store %q is no absolute path", c.Store).WithNext("give the folder of the streams as the server sees it")
	case (c.Cert == "") != (c.Key == ""):
		return schema.Errorf(schema.Invalid, "a certificate and its key belong together").WithNext("give both, or neither")
	case (c.Cluster == "") != (len(c.Routes) == 0):
		return schema.Errorf(schema.Invalid, "a server of a cluster needs its own address there and those of all").
			WithNext("give both, or neither")
	}
	return nil
}

// ServerConfig returns the configuration of a NATS server of its own, for nats-server -c. It trusts the authority's
// operator, and is told of the accounts when the provisioner connects. JetStream syncs before it confirms, as the embedded
// server does. The text holds no secret.
func (a *Authority) ServerConfig(c ServerConfig) (string, error) {
	if err := c.check(); err != nil {
		return "", err
	}
	if c.StoreLimit == 0 {
		c.StoreLimit = defaultStoreLimit
	}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("server_name: %q", c.Name)
	say("listen: %q", c.Listen)
	if c.Monitor != "" {
		say("http: %q", c.Monitor)
	}
	say("max_payload: %d\nping_interval: \"10s\"\nping_max: 2\n", maxPayload)
	say("# Who may do what is in accounts, which this operator signs and the provisioner tells.")
	say("operator: %q\nsystem_account: %q", a.operatorJWT(), a.systemAccount())
	say("resolver: {\n  type: full\n  dir: %q\n  allow_delete: true\n  hard_delete: true\n  interval: %q\n  limit: 100000\n}",
		filepath.Join(c.Store, "accounts"), resolverSync)
	say("resolver_preload: {\n  %s: %q\n}\n", a.systemAccount(), a.root.System.Key.JWT)
	say("# What is confirmed must be on disk: never change sync_interval.")
	say("jetstream: {\n  store_dir: %q\n  max_memory_store: %d\n  max_file_store: %d\n  sync_interval: always\n}",
		c.Store, int64(memoryLimit), c.StoreLimit)
	if c.Cert != "" {
		say("\ntls: {\n  cert_file: %q\n  key_file: %q\n}", c.Cert, c.Key)
	}
	if c.Cluster != "" {
		say("\ncluster: {\n  name: berth\n  listen: %q\n  no_advertise: true\n  routes: [", c.Cluster)
		for _, r := range c.Routes {
			say("    %q", "nats-route://"+r)
		}
		say("  ]")
		if c.Cert != "" && c.CA != "" {
			say("  tls: {\n    cert_file: %q\n    key_file: %q\n    ca_file: %q\n    verify: true\n  }", c.Cert, c.Key, c.CA)
		}
		say("}")
	}
	return b.String(), nil
}
