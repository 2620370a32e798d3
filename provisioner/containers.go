package provisioner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/bus"
	"berth/internal/credentials"
	"berth/internal/durable"
	"berth/provisioner/runtime"
	"berth/provisioner/runtime/docker"
	"berth/provisioner/runtime/process"
	"berth/schema"
	"berth/schema/record"
)

// What runs instances.
const (
	Processes  = "process"
	Containers = "docker"
)

// reachLimit bounds the try whether containers reach what stands on this machine.
const reachLimit = 2 * time.Second

// validateInstances returns an Invalid error if what runs instances cannot be as it is said.
func (o *Options) validateInstances() error {
	switch o.Instances {
	case "", Processes:
		if o.Docker != "" || o.Network != "" || o.Images != "" {
			return schema.Errorf(schema.Invalid, "--docker-host, --docker-network and --images are of containers").WithNext("give --runtime docker too")
		}
		return nil
	case Containers:
	default:
		return schema.Errorf(schema.Invalid, "%q runs no instances", o.Instances).WithNext("give --runtime process or --runtime docker")
	}
	hosts := []string{o.Host}
	if host, _, err := net.SplitHostPort(o.Web); err == nil {
		hosts = append(hosts, host)
	}
	for _, host := range hosts {
		if _, err := netip.ParseAddr(host); err != nil {
			return schema.Errorf(schema.Invalid, "a Docker engine publishes ports at addresses, and %q is a name", host).
				WithNext("give --host and --web an address, such as 127.0.0.1 or 0.0.0.0")
		}
	}
	return nil
}

// startRuntime opens what runs instances.
func (p *Provisioner) startRuntime(ctx context.Context, install string) (err error) {
	logs := filepath.Join(p.o.Data, "logs")
	switch {
	case p.o.Runtime != nil:
		p.runtime = p.o.Runtime
	case p.o.Instances == Containers:
		err = p.startDocker(ctx, install, logs)
	default:
		p.runtime, err = process.New(process.Options{
			Programs: p.o.Programs, Secrets: filepath.Join(p.o.Data, "run"), Logs: logs, Env: p.o.Env, Logger: p.o.Logger,
		})
	}
	if err != nil {
		return err
	}
	p.stack.Push("runtime", 30*time.Second, p.runtime.Close)
	return nil
}

func (p *Provisioner) startDocker(ctx context.Context, install, logs string) error {
	o := docker.Options{Host: p.o.Docker, Install: install, Logs: logs, Network: p.o.Network, Env: map[string]string{}, Logger: p.o.Logger}
	for _, pair := range p.o.Env { // all else is of this machine
		if name, value, ok := strings.Cut(pair, "="); ok && strings.HasPrefix(name, "BERTH_") {
			o.Env[name] = value
		}
	}
	if p.o.Images != "" {
		o.Image = func(role, version string) string { return p.o.Images + role + ":" + version }
	}
	r, err := docker.New(ctx, o)
	if err != nil {
		return err
	}
	p.runtime, p.inside = r, r.Inside()
	return nil
}

// Outlived reports whether instances go on when the daemon ends.
func (p *Provisioner) Outlived() bool { return p.runtime.Outlives() }

// webRuns reports whether a web of this installation runs that outlived the daemon before: it holds its address.
func (p *Provisioner) webRuns(ctx context.Context) bool {
	all, err := p.runtime.Instances(ctx)
	return err == nil && slices.ContainsFunc(all, func(i runtime.Instance) bool {
		return i.Role == record.RoleWeb && i.State == runtime.Running
	})
}

// told returns what instances that outlive the daemon were told, and must be told anew when it changes.
func (p *Provisioner) told(seen func(string) string) string {
	if !p.inside.Gateway.IsValid() {
		if !p.o.ownNATS() {
			return ""
		}
		return fmt.Sprintf("%s %d", p.o.NATS, p.o.Replicas)
	}
	return credentials.Hash(fmt.Sprintf("%s %d %s %s %s", p.reached, p.o.Replicas, seen(p.backend), p.inside.Network, p.ca))[:12]
}

// reachNATS finds out by which URL containers reach NATS. The embedded server takes connections at this machine's address
// in their network too, by TLS, and always at the same port: instances outlive it.
func (p *Provisioner) reachNATS(ctx context.Context, authority *bus.Authority) (err error) {
	gateway := p.inside.Gateway
	if !gateway.IsValid() {
		return nil
	}
	server, ok := p.server.(*bus.Server)
	if !ok {
		p.reached, err = passed(ctx, "NATS", p.o.NATS, "4222", gateway)
		return err
	}
	if !here(gateway) {
		return schema.Errorf(schema.Invalid, "the Docker engine is another machine's, or this is a container of it: its containers do not reach a NATS server within the provisioner").
			WithNext("give --nats the URL of a NATS server that they reach, or use the engine of this machine")
	}
	path := filepath.Join(p.o.Data, "gateway-port")
	port, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read at which port containers reach NATS: %w", err)
	}
	number, _ := strconv.Atoi(strings.TrimSpace(string(port))) // none is any
	if p.reached, err = server.Listen(ctx, net.JoinHostPort(gateway.String(), strconv.Itoa(number))); err != nil {
		return err
	}
	_, chosen, err := net.SplitHostPort(strings.TrimPrefix(p.reached, "tls://"))
	if err != nil {
		return fmt.Errorf("read at which port containers reach NATS: %w", err)
	}
	if err := durable.WriteFile(path, []byte(chosen+"\n")); err != nil {
		return fmt.Errorf("keep at which port containers reach NATS: %w", err)
	}
	p.ca, err = authority.CA()
	return err
}

// reachKeyspaces returns what URLs of keyspaces are for instances, and the folder of keyspaces that are files.
func (p *Provisioner) reachKeyspaces(ctx context.Context) (seen func(url string) string, folder string, err error) {
	gateway := p.inside.Gateway
	if !gateway.IsValid() {
		return nil, "", nil
	}
	if dir, files := strings.CutPrefix(p.backend, sqliteScheme); files {
		if !here(gateway) {
			return nil, "", schema.Errorf(schema.Invalid, "the Docker engine is another machine's, or this is a container of it: its containers do not see the files of the keyspaces").
				WithNext("keep them in Cassandra: --keyspaces cassandra://…; or use the engine of this machine")
		}
		return func(string) string { return sqliteScheme + p.inside.Folders }, dir, nil
	}
	if _, err := passed(ctx, "Cassandra", p.backend, "9042", gateway); err != nil {
		return nil, "", err
	}
	return func(url string) string { through, _ := throughGateway(url, gateway); return through }, "", nil
}

// here reports whether an address is this machine's.
func here(address netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(all, func(a net.Addr) bool {
		own, err := netip.ParsePrefix(a.String())
		return err == nil && own.Addr() == address
	})
}

// throughGateway returns a URL of servers as containers reach them: what is at an address of loopback is reached through
// this machine's address in their network. Those servers are returned too.
func throughGateway(url string, gateway netip.Addr) (through string, local []string) {
	names, query, parameters := strings.Cut(url, "?")
	servers := strings.Split(names, ",")
	for n, server := range servers {
		scheme := ""
		if before, rest, ok := strings.Cut(server, "://"); ok {
			scheme, server = before+"://", rest
		}
		host, port, err := net.SplitHostPort(server)
		if err != nil {
			host, port = strings.Trim(server, "[]"), ""
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			continue
		}
		local = append(local, server)
		servers[n] = scheme + gateway.String()
		if port != "" {
			servers[n] = scheme + net.JoinHostPort(gateway.String(), port)
		}
	}
	through = strings.Join(servers, ",")
	if parameters {
		through += "?" + query
	}
	return through, local
}

// passed returns a URL of servers as containers reach them, or says why they do not: a server that listens on loopback
// alone is not reached through the gateway. One that is away may be either.
func passed(ctx context.Context, what, url, port string, gateway netip.Addr) (string, error) {
	through, local := throughGateway(url, gateway)
	for _, server := range local {
		listens := port
		if _, p, err := net.SplitHostPort(server); err == nil {
			listens = p
		}
		at := net.JoinHostPort(gateway.String(), listens)
		if answers(ctx, at) || !answers(ctx, net.JoinHostPort("127.0.0.1", listens)) {
			continue
		}
		return "", schema.Errorf(schema.Invalid, "%s at %s listens on loopback alone: containers reach this machine at %s", what, server, at).
			WithNext("have it listen on %s too, or on every address, or name another", gateway)
	}
	return through, nil
}

func answers(ctx context.Context, address string) bool {
	d := net.Dialer{Timeout: reachLimit}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
