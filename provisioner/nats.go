package provisioner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/bus"
	"berth/provisioner/doctor"
	"berth/provisioner/house"
	"berth/schema"
)

// embedded names the NATS server within the daemon.
const embedded = "embedded"

// Times of a start on NATS servers of their own.
const (
	natsPatience = time.Minute            // how long they are waited for
	natsAgain    = 500 * time.Millisecond // how often they are asked
)

// natsServer is NATS as the daemon stands on it: within it, or of its own.
type natsServer interface {
	URL() string
	Healthy() error
	Stop()
}

var _, _ natsServer = (*bus.Server)(nil), (*bus.Remote)(nil)

// ownNATS reports whether NATS is not the daemon's.
func (o *Options) ownNATS() bool { return o.NATS != "" && o.NATS != embedded }

// validateNATS returns an Invalid error if NATS cannot be as it is said.
func (o *Options) validateNATS() error {
	switch {
	case o.Replicas < 0 || o.Replicas > 5:
		return schema.Errorf(schema.Invalid, "%d is no number of replicas", o.Replicas).WithNext("give --nats-replicas 1, 3 or 5")
	case o.ownNATS() && o.NATSPort != 0:
		return schema.Errorf(schema.Invalid, "--nats-port is of the embedded NATS server").WithNext("leave it out with --nats %s", o.NATS)
	case o.ownNATS():
		return bus.CheckURL(o.NATS)
	case o.Replicas > 1:
		return schema.Errorf(schema.Invalid, "the embedded NATS server has no replicas").WithNext("give --nats the servers of a cluster")
	}
	return nil
}

// connectNATS connects to NATS servers of their own.
func (p *Provisioner) connectNATS(ctx context.Context, authority *bus.Authority) error {
	within, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()
	p.o.Logger.Info("waiting for nats", "servers", p.o.NATS)
	remote, err := bus.OpenRemote(within, p.natsOptions(p.o.NATS, nil), authority, func() { p.renewed.Store(true) })
	if err != nil {
		return err
	}
	p.server, p.remote = remote, remote
	return nil
}

// openHouse opens the house's records. A cluster that has just started takes connections before it has a leader, who alone
// answers, and before that knows of servers enough for the replicas; so it is asked again for a while.
func (p *Provisioner) openHouse(ctx context.Context, conn *bus.Conn, authority *bus.Authority, secret []byte) error {
	within, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()
	again := time.NewTicker(natsAgain)
	defer again.Stop()
	for {
		err := bus.Insist(within, func(ctx context.Context) error {
			err := p.tryHouse(ctx, conn, authority, secret)
			if schema.Is(err, schema.Unavailable) {
				p.o.Logger.Info("waiting for nats to keep records", "error", err)
			}
			return err
		})
		if !schema.Is(err, schema.Unavailable) {
			return err
		}
		select {
		case <-again.C:
		case <-within.Done():
			return err
		}
	}
}

func (p *Provisioner) tryHouse(ctx context.Context, conn *bus.Conn, authority *bus.Authority, secret []byte) (err error) {
	if p.house, err = house.Open(ctx, conn, secret); err != nil {
		return err
	}
	if err = p.house.Complete(ctx); err != nil {
		return err
	}
	return authority.SyncStreams(authority.HouseKey())
}

// natsOptions are how the daemon connects to NATS.
func (p *Provisioner) natsOptions(url string, credentials bus.Credentials) bus.Options {
	return bus.Options{URL: url, Credentials: credentials, Trust: p.o.Trust, Replicas: p.o.Replicas, Name: "provisioner", Logger: p.o.Logger}
}

// examineServers checks what can be known of NATS servers of their own. How full their disks are cannot.
func (p *Provisioner) examineServers(ctx context.Context) []doctor.Check {
	const name = "nats servers"
	if p.remote == nil {
		return nil
	}
	states, err := p.remote.Survey(ctx)
	if err != nil {
		return []doctor.Check{doctor.Bad(doctor.Fail, name, "start them, and look at their own logs", "they do not say how they are: %s", schema.Show(err))}
	}
	var checks []doctor.Check
	names := make([]string, 0, len(states))
	for _, s := range states {
		names = append(names, s.Name+" ("+s.Version+")")
		if wrong := s.Wrong(); wrong != "" {
			checks = append(checks, doctor.Bad(doctor.Fail, name, "configure it with what provisioner nats-config prints, and restart it", "%s: %s", s.Name, wrong))
		}
		if s.Trouble != "" {
			checks = append(checks, doctor.Bad(doctor.Fail, name, "look at that server's own log, and at its disk", "%s is not healthy: %s", s.Name, s.Trouble))
		}
	}
	if want := max(p.o.Replicas, 1); len(states) < want {
		checks = append(checks, doctor.Bad(doctor.Warn, name, "start the missing ones: with less than half of them nothing is acknowledged",
			"%d of at least %d answer: %s", len(states), want, strings.Join(names, ", ")))
	}
	if len(checks) == 0 {
		checks = append(checks, doctor.Good(name, "%s sync before they confirm; how full their disks are is not seen from here", strings.Join(names, ", ")))
	}
	return checks
}

// NATSConfig is what is to be written for a NATS server of its own.
type NATSConfig struct {
	Data   string   // the daemon's data directory, which holds the keys of all accounts
	Out    string   // folder to write to; empty: only the configuration is returned
	SeenAs string   // the folder as the server sees it; empty: as it is
	Hosts  []string // names and addresses by which the server is reached by TLS, with a certificate of the installation's own
	Server bus.ServerConfig
}

// WriteNATSConfig returns the configuration of a NATS server of its own, for this installation's accounts, and writes it with
// the certificate that it needs. The keys of the accounts are made if there are none. It needs no daemon.
func WriteNATSConfig(ctx context.Context, c NATSConfig) (string, error) {
	authority, err := openAuthority(c.Data)
	if err != nil {
		return "", err
	}
	files := map[string][]byte{}
	if len(c.Hosts) > 0 {
		seen := c.SeenAs
		if seen == "" {
			if seen, err = filepath.Abs(c.Out); err != nil {
				return "", fmt.Errorf("find the folder to write to: %w", err)
			}
		}
		if c.Out == "" || c.Server.Cert != "" {
			return "", schema.Errorf(schema.Invalid, "a certificate that is made needs a folder, and no other beside it").WithNext("give --out, and leave --tls-cert out")
		}
		if files["cert.pem"], files["key.pem"], err = authority.Certificate(c.Hosts...); err != nil {
			return "", err
		}
		if files["ca.pem"], err = authority.CA(); err != nil {
			return "", err
		}
		c.Server.Cert, c.Server.Key, c.Server.CA = filepath.Join(seen, "cert.pem"), filepath.Join(seen, "key.pem"), filepath.Join(seen, "ca.pem")
	}
	text, err := authority.ServerConfig(c.Server)
	if err != nil || c.Out == "" {
		return text, err
	}
	files["nats-server.conf"] = []byte(text)
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return "", fmt.Errorf("make the folder to write to: %w", err)
	}
	for name, content := range files {
		mode := os.FileMode(0o644)
		if name == "key.pem" {
			mode = 0o600
		}
		if err := os.WriteFile(filepath.Join(c.Out, name), content, mode); err != nil {
			return "", fmt.Errorf("write for the server: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
	}
	return text, nil
}

// openAuthority opens the authority of a data directory. Where there is none yet it is made while no daemon runs.
func openAuthority(data string) (*bus.Authority, error) {
	dir := filepath.Join(data, "authority")
	if _, err := os.Stat(filepath.Join(dir, "authority.json")); err != nil {
		unlock, err := lock(data)
		if err != nil {
			return nil, err
		}
		defer unlock() //nolint:errcheck // the process ends soon
	}
	return bus.OpenAuthority(dir)
}
