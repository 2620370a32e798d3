package cli

import (
	"cmp"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/internal/bus"
	"berth/provisioner"
)

// trustFlags are the files by which NATS servers are known.
type trustFlags struct{ ca, cert, key string }

func (t *trustFlags) add(f *pflag.FlagSet) {
	f.StringVar(&t.ca, "nats-ca", "", "file with whom to trust of NATS servers at tls://; empty: whom the machine trusts (BERTH_NATS_CA)")
	f.StringVar(&t.cert, "nats-cert", "", "file with a certificate to show to NATS servers that ask for one (BERTH_NATS_CERT)")
	f.StringVar(&t.key, "nats-key", "", "file with that certificate's key (BERTH_NATS_KEY)")
}

func (t *trustFlags) read() (bus.Trust, error) { return bus.ReadTrust(t.ca, t.cert, t.key) }

// natsConfig writes what a NATS server of its own is started with.
func (a *app) natsConfig() *cobra.Command {
	var c provisioner.NATSConfig
	cmd := &cobra.Command{
		Use: "nats-config", Short: "Write the configuration of a NATS server of its own", Args: args(0),
		Long: "Write the configuration of a NATS server of its own, for nats-server -c: it trusts this installation, and syncs before\n" +
			"it confirms. For a cluster call it once for each server, with another --name each and the same --routes. It needs\n" +
			"no daemon; the first call in a new data directory makes the keys of all accounts.",
		Example: "  provisioner nats-config --name n1 --listen 0.0.0.0:4222 --store /var/lib/nats --out /etc/nats --tls-host nats1\n" +
			"  nats-server -c /etc/nats/nats-server.conf\n" +
			"  provisioner serve --nats tls://nats1:4222 --nats-ca /etc/nats/ca.pem",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Data = a.data
			text, err := provisioner.WriteNATSConfig(cmd.Context(), c)
			if err != nil {
				return err
			}
			if c.Out == "" {
				say(a.Out, "%s", text)
				return nil
			}
			say(a.Out, "Written to %s. Start the server: nats-server -c %s/nats-server.conf\n", c.Out, cmp.Or(c.SeenAs, c.Out))
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Server.Name, "name", "nats1", "the server's name; in a cluster each has another")
	f.StringVar(&c.Server.Listen, "listen", "0.0.0.0:4222", "host:port where the server takes connections")
	f.StringVar(&c.Server.Store, "store", "/var/lib/nats", "folder of the streams, as the server sees it")
	f.Int64Var(&c.Server.StoreLimit, "store-limit", 0, "bounds the sum of all streams' quotas, in bytes; 0: 16 TiB")
	f.StringVar(&c.Server.Monitor, "monitor", "", "host:port where the server says over HTTP how it is; empty: nowhere")
	f.StringVar(&c.Server.Cluster, "cluster", "", "host:port where the other servers of a cluster connect")
	f.StringSliceVar(&c.Server.Routes, "routes", nil, "host:port of all servers of the cluster, with commas between them")
	f.StringSliceVar(&c.Hosts, "tls-host", nil, "names and addresses by which the server is reached: a certificate is made, signed by this installation")
	f.StringVar(&c.Server.Cert, "tls-cert", "", "path of a certificate of another authority, as the server sees it")
	f.StringVar(&c.Server.Key, "tls-key", "", "path of that certificate's key")
	f.StringVar(&c.Server.CA, "tls-ca", "", "path of that authority's certificate, for a cluster's servers among themselves")
	f.StringVar(&c.Out, "out", "", "folder to write to; empty: the configuration is printed")
	f.StringVar(&c.SeenAs, "seen-as", "", "that folder as the server sees it, in a container or on its own machine; empty: as it is")
	return cmd
}
