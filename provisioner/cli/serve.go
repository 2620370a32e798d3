package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/health"
	"berth/internal/lifecycle"
	"berth/internal/logging"
	"berth/provisioner"
	"berth/provisioner/disk"
	"berth/schema"
)

// Times of the daemon's start and stop.
const (
	webLimit  = 30 * time.Second // for web to answer, before the link is printed all the same
	stopLimit = 2 * time.Minute
)

func (a *app) serve() *cobra.Command {
	o := provisioner.Options{Version: a.Version, Programs: a.Programs}
	var (
		debug    bool
		form     string
		answerAt string
		trust    trustFlags
	)
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the daemon until it is interrupted", Args: args(0),
		Long: "Run the daemon: NATS within it (or of its own, by --nats), web, and the pipelines of all providers. Everything it keeps is in\n" +
			"the data directory. Ctrl-C stops all in order, but for instances in containers (--runtime docker), which go on; the next\n" +
			"serve finds everything again.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := logging.CheckForm(form); err != nil {
				return err
			}
			var err error
			if o.Trust, err = trust.read(); err != nil {
				return err
			}
			o.Data, o.Logger = a.data, logging.New(a.Err, logging.Options{Service: "provisioner", Form: form, Debug: debug})
			for _, pair := range a.Environ {
				if host, ok := strings.CutPrefix(pair, "DOCKER_HOST="); ok && o.Instances == provisioner.Containers {
					o.Docker = cmp.Or(o.Docker, host)
				}
				if !strings.HasPrefix(pair, "BERTH_") {
					o.Env = append(o.Env, pair)
				}
			}
			if debug {
				o.Env = append(o.Env, "BERTH_DEBUG=true")
			}
			return a.runDaemon(cmd.Context(), o, answerAt)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Web, "web", "127.0.0.1:8080", "host:port of the pages; port 0 is any (BERTH_WEB)")
	f.StringVar(&o.WebURL, "web-url", "", "how browsers reach the pages, such as https://example.com/berth; empty: at --web (BERTH_WEB_URL)")
	f.StringVar(&o.WebCert, "web-cert", "", "file with the certificate that the pages show, read again when it changes; empty: plain HTTP (BERTH_WEB_CERT)")
	f.StringVar(&o.WebKey, "web-key", "", "file with that certificate's key (BERTH_WEB_KEY)")
	f.StringSliceVar(&o.Proxies, "web-proxy", nil, "address or network of a proxy before the pages, whose X-Forwarded-For, -Proto and -Host are believed; may be repeated (BERTH_WEB_PROXY)")
	f.StringVar(&o.Host, "host", "127.0.0.1", "host where providers' ports listen; 0.0.0.0 is every one (BERTH_HOST)")
	f.IntVar(&o.PortBase, "port-base", 6000, "provider n listens on this plus n (BERTH_PORT_BASE)")
	f.StringVar(&o.Mail, "mail", "", "file with the mail server that scheduled reports go by: smtp://user:password@host:587?from=address, then PEM of whom to trust (BERTH_MAIL)")
	f.StringVar(&o.Metrics, "metrics", "", "host:port of metrics for Prometheus, such as 127.0.0.1:9600; empty: none (BERTH_METRICS)")
	f.StringVar(&o.Keyspaces, "keyspaces", "sqlite", "URL of the keyspaces, such as cassandra://host1,host2?replication=3; sqlite is files in the data directory (BERTH_KEYSPACES)")
	f.StringVar(&o.NATS, "nats", "embedded", "embedded, or the URL of NATS servers of their own, such as nats://h1:4222,h2:4222 or tls://… (BERTH_NATS)")
	f.IntVar(&o.Replicas, "nats-replicas", 1, "how many servers of a NATS cluster keep each stream (BERTH_NATS_REPLICAS)")
	trust.add(f)
	f.StringSliceVar(&o.TLSHosts, "tls-host", nil, "name or address at which gateways reach the ports by TLS, beside this machine's own; may be repeated (BERTH_TLS_HOST)")
	f.StringVar(&o.TLSCert, "tls-cert", "", "file with the certificate that the ports show, read again when it changes; empty: signed here, see provisioner ca (BERTH_TLS_CERT)")
	f.StringVar(&o.TLSKey, "tls-key", "", "file with that certificate's key (BERTH_TLS_KEY)")
	f.IntVar(&o.NATSPort, "nats-port", 0, "port of the embedded NATS server; 0 is any (BERTH_NATS_PORT)")
	f.StringVar(&o.Instances, "runtime", provisioner.Processes, "what runs instances: process, or docker: containers of a Docker engine (BERTH_RUNTIME)")
	f.StringVar(&o.Docker, "docker-host", "", "address of the Docker engine; empty: DOCKER_HOST, or unix:///var/run/docker.sock (BERTH_DOCKER_HOST)")
	f.StringVar(&o.Network, "docker-network", "", "network of the engine in which containers reach NATS and keyspaces; empty: one of the installation's own (BERTH_DOCKER_NETWORK)")
	f.StringVar(&o.Images, "images", "", "what the images' names begin with; empty: berth/ (BERTH_IMAGES)")
	f.StringVar(&o.Reserve, "disk-reserve", disk.DefaultReserve, "gateways wait while less is free: a share, a size, or the less of both (BERTH_DISK_RESERVE)")
	f.StringVar(&o.Programs, "programs", a.Programs, "folder of the programs that are run (BERTH_PROGRAMS)")
	f.StringVar(&answerAt, "health", "", health.Usage+" (BERTH_HEALTH)")
	f.StringVar(&form, "log-format", logging.Auto, "form of the daemon's own log: json, text, or auto: text on a terminal (BERTH_LOG_FORMAT)")
	f.BoolVar(&debug, "debug", false, "log in detail (BERTH_DEBUG)")
	return cmd
}

func (a *app) runDaemon(ctx context.Context, o provisioner.Options, answerAt string) error {
	ctx, cancel := lifecycle.Run(ctx, 0)
	defer cancel()
	answerer, err := health.Listen(ctx, answerAt, "provisioner")
	if err != nil {
		return err
	}
	defer answerer.Close()
	p, err := provisioner.New(o)
	if err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	answerer.Say("runs")
	err = a.welcome(ctx, p)
	if err == nil {
		<-ctx.Done()
		o.Logger.Info("stopping", "cause", context.Cause(ctx))
	}
	answerer.Say("stops")
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer done()
	err = errors.Join(err, p.Stop(stop))
	if err == nil {
		sayln(a.Out, "Stopped.")
	}
	return err
}

// health asks the daemon that runs beside it, without its data and its socket: it may still be starting.
func (a *app) health() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use: "health", Short: "Ask the daemon that runs here whether it does; for an engine's or a supervisor's check", Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			said, err := health.Ask(cmd.Context(), address)
			if err != nil {
				return errors.Join(errUnhealthy, err)
			}
			return a.print(map[string]string{"health": said}, func(w io.Writer) { sayln(w, said) })
		},
	}
	cmd.Flags().StringVar(&address, "health", "", health.AskUsage+" (BERTH_HEALTH)")
	return cmd
}

// errUnhealthy marks what an engine wants to see as exit code 1.
var errUnhealthy = errors.New("not healthy")

// welcome prints where the daemon is and a one-time sign-in link, once web answers.
func (a *app) welcome(ctx context.Context, p *provisioner.Provisioner) error {
	s := p.Status()
	if s.Web == "" {
		say(a.Out, "Berth runs.\n  data      %s\n", s.Data)
		return nil
	}
	within, cancel := context.WithTimeout(ctx, webLimit)
	defer cancel()
	waited := p.WebReady(within)
	if ctx.Err() != nil {
		return nil
	}
	link, err := p.OperatorLink(ctx)
	if err != nil {
		return err
	}
	say(a.Out, "Berth runs.\n  web       %s\n  sign in   %s   (once, within 24 hours)\n  data      %s\n", s.Web, link, s.Data)
	if waited != nil {
		say(a.Out, "  note      %s\n", schema.Show(waited))
	}
	end := "Ctrl-C stops everything."
	if p.Outlived() {
		end = "Ctrl-C stops this daemon; web and pipelines go on."
	}
	say(a.Out, "Next, in another terminal: %s add provider1%s\n%s\n", cmp.Or(a.Invoked, "provisioner"), a.dataFlag(), end)
	return nil
}

// dataFlag returns the flag that names the data directory, where commands need it.
func (a *app) dataFlag() string {
	if a.data == "./var" {
		return ""
	}
	return " --data " + a.data
}
