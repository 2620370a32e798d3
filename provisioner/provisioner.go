// Package provisioner assembles the daemon: NATS, embedded or of its own, the house's records, the loop that makes what is
// wanted so, the runtime of the instances, and the API of its command line.
//
// Its one invariant: everything that it keeps is in one data directory, which one daemon holds at a time:
//
//	install             the installation's id
//	lock                held by the daemon, with its process id
//	secret              seals enrolment keys
//	provisioner.sock    the API of the command line
//	authority/          keys of the NATS accounts, and what signs the ports' certificates
//	nats/               the logs and the records, of the embedded NATS server
//	keyspaces/          the readings
//	run/                credentials of running instances that are processes
//	gateway-port        where containers reach the embedded NATS server
//	logs/               what the instances write
package provisioner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"berth/internal/bus"
	"berth/internal/credentials"
	"berth/internal/keyspace"
	"berth/internal/keyspace/open"
	"berth/internal/lifecycle"
	"berth/internal/metrics"
	"berth/provisioner/control"
	"berth/provisioner/disk"
	"berth/provisioner/house"
	"berth/provisioner/loop"
	"berth/provisioner/plan"
	"berth/provisioner/portcert"
	"berth/provisioner/runtime"
	"berth/provisioner/survey"
	"berth/provisioner/world"
	"berth/schema"
	"berth/schema/record"
)

// Options are what the daemon is told.
type Options struct {
	Data      string       // the data directory
	Metrics   string       // where metrics are served to Prometheus, host:port; empty: nowhere
	Keyspaces string       // URL of the keyspaces, such as cassandra://host1,host2; empty or "sqlite": files in the data directory
	Web       string       // where web listens, host:port; port 0 is any; empty: no web is run
	Host      string       // where providers' ports listen
	PortBase  int          // slot n listens on PortBase+n
	NATSPort  int          // of the embedded server; 0: any
	NATS      string       // URL of NATS servers of their own; empty or "embedded": one within the daemon
	Trust     bus.Trust    // of those by TLS
	TLSHosts  []string     // names and addresses at which gateways reach the ports by TLS, beside this machine's own
	Mail      string       // file with the settings of the mail server (mail.Parse); empty: there is none
	TLSCert   string       // file with the certificate that the ports show; empty: it is signed here
	TLSKey    string       // file with its key
	WebURL    string       // how browsers reach the pages, such as https://berth.example.com/berth; empty: at Web
	WebCert   string       // file with the certificate that the pages show; empty: plain HTTP
	WebKey    string       // file with its key
	Proxies   []string     // addresses and networks of proxies before web, whose forwarded headers it believes
	Replicas  int          // of streams and buckets, in a cluster of those; 0: one
	Instances string       // what runs them: process or docker; empty: process
	Docker    string       // address of the Docker engine; empty: the client's default
	Network   string       // a network of the engine that all instances are in, with what they stand on; empty: one of the installation's own
	Images    string       // what the images' names begin with; empty: berth/
	Reserve   string       // what is kept free on the disks of the data, as disk.ParseReserve reads it
	Programs  string       // the folder of the programs that are run
	Env       []string     // the instances' environment, beside what they are told
	Version   string       // of the programs
	Logger    *slog.Logger // the daemon's own log

	Runtime runtime.Runtime // runs the instances; nil: processes of this machine. It is closed at the stop
}

// Validate returns an Invalid error that names the first option which cannot be.
func (o *Options) Validate() error {
	switch {
	case o.Data == "":
		return schema.Errorf(schema.Invalid, "no data directory is given").WithNext("give --data, such as ./var")
	case o.PortBase < 0 || o.PortBase > 65534:
		return schema.Errorf(schema.Invalid, "the port base %d is not between 0 and 65534", o.PortBase)
	case o.NATSPort < 0 || o.NATSPort > 65535:
		return schema.Errorf(schema.Invalid, "the NATS port %d is not between 0 and 65535", o.NATSPort)
	case o.Host == "":
		return schema.Errorf(schema.Invalid, "no host is given").WithNext("give --host, such as 127.0.0.1 or 0.0.0.0")
	}
	if _, err := disk.ParseReserve(o.Reserve); err != nil {
		return err
	}
	if err := errors.Join(o.validateNATS(), o.validateInstances()); err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(o.Metrics); o.Metrics != "" && (err != nil || !isPort(port)) {
		return schema.Errorf(schema.Invalid, "%q is no address for metrics", o.Metrics).WithNext("give --metrics a host and a port, such as 127.0.0.1:9600")
	}
	if o.Web == "" {
		return nil
	}
	if err := o.validateFront(); err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(o.Web); err != nil || !isPort(port) {
		return schema.Errorf(schema.Invalid, "%q is no address for web", o.Web).WithNext("give --web a host and a port, such as 127.0.0.1:8080")
	}
	return nil
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 65535
}

// Provisioner is the daemon.
type Provisioner struct {
	o         Options
	stack     *lifecycle.Stack
	status    control.Status
	server    natsServer
	remote    *bus.Remote // the same, of its own; nil when it is embedded
	renewed   atomic.Bool // NATS of its own was away, and what is in its memory may be gone
	conn      *bus.Conn   // of the house's account
	house     *house.House
	backend   string // URL of the keyspaces
	keyspaces keyspace.Backend
	certs     *portcert.Source // of the ports
	front     world.Front      // of web
	world     *world.World
	loop      *loop.Loop
	runtime   runtime.Runtime
	inside    runtime.Inside
	reached   string // URL by which instances reach NATS
	ca        []byte // whom they trust of the embedded one
	site      plan.Site
	healer    *healer
	disk      *disk.Watch
	survey    *survey.Surveyor
	usage     *bus.Bucket
	metrics   *metrics.Set
}

// New returns a daemon that does nothing yet.
func New(o Options) (*Provisioner, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	o.Data = data
	reserve, err := disk.ParseReserve(o.Reserve)
	if err != nil {
		return nil, err
	}
	folders := []disk.Folder{{Name: "the keyspaces", Path: filepath.Join(data, "keyspaces")}}
	if !o.ownNATS() { // else its disk cannot be seen
		folders = slices.Insert(folders, 0, disk.Folder{Name: "the log", Path: filepath.Join(data, "nats")})
	}
	watch := disk.New(reserve, o.Logger, folders...)
	return &Provisioner{o: o, stack: lifecycle.New(o.Logger), disk: watch, metrics: metrics.New(o.Version)}, nil
}

// Status returns what the daemon says of itself, once it has started.
func (p *Provisioner) Status() control.Status { return p.status }

// Start returns when the command line can be used; web and the providers are started by the loop. When it fails,
// everything is stopped again. Errors: Conflict when another daemon holds the data directory, or something else web's
// address.
func (p *Provisioner) Start(ctx context.Context) error {
	if err := p.start(ctx); err != nil {
		return errors.Join(err, p.Stop(context.WithoutCancel(ctx)))
	}
	return nil
}

func (p *Provisioner) start(ctx context.Context) error {
	unlock, err := lock(p.o.Data)
	if err != nil {
		return err
	}
	p.stack.Push("data directory", time.Second, func(context.Context) error { return unlock() })
	install, err := installID(p.o.Data)
	if err != nil {
		return err
	}
	secretPath := filepath.Join(p.o.Data, "secret")
	secret, err := credentials.LoadSecret(secretPath)
	if err != nil {
		return err
	}
	if err := p.startRuntime(ctx, install); err != nil {
		return err
	}
	if err := p.claimWeb(ctx); err != nil {
		return err
	}
	p.certs, err = portcert.Open(portcert.Options{
		Path: filepath.Join(p.o.Data, "authority", "ports.json"), Install: install, Host: p.o.Host, Hosts: p.o.TLSHosts,
		Cert: p.o.TLSCert, Key: p.o.TLSKey, Flags: "--tls-cert and --tls-key", Logger: p.o.Logger,
	})
	if err != nil {
		return err
	}
	if p.front, err = p.openFront(); err != nil {
		return err
	}
	authority, err := p.startBus(ctx, secret)
	if err != nil {
		return err
	}
	if err := p.startWorld(ctx, authority, secret); err != nil {
		return err
	}
	p.status = control.Status{
		Install: install, Version: p.o.Version, PID: os.Getpid(), Started: time.Now().UTC(), Data: p.o.Data, Web: cmp.Or(p.o.publicURL(), p.webURL()),
		Host: p.o.Host, PortBase: p.o.PortBase, NATS: p.server.URL(), Keyspaces: p.backend,
		CA: string(p.certs.CA()),
	}
	p.startLoop(ctx)
	if err := p.startMetrics(ctx); err != nil {
		return err
	}
	if err := p.startMeter(ctx); err != nil {
		return err
	}
	return p.startControl(ctx)
}

// startBus starts NATS and opens the house's records.
func (p *Provisioner) startBus(ctx context.Context, secret []byte) (*bus.Authority, error) {
	authority, err := bus.OpenAuthority(filepath.Join(p.o.Data, "authority"))
	if err != nil {
		return nil, err
	}
	var revive func() error
	if p.o.ownNATS() {
		err = p.connectNATS(ctx, authority)
	} else {
		var server *bus.Server
		//nolint:contextcheck // it has a limit of its own
		server, err = bus.StartServer(bus.ServerOptions{
			Dir: filepath.Join(p.o.Data, "nats"), Host: "127.0.0.1", Port: p.o.NATSPort, Authority: authority, TLS: p.inside.Gateway.IsValid(),
			Logger: p.o.Logger,
		})
		if err == nil {
			p.server, revive = server, server.Revive
		}
	}
	if err != nil {
		return nil, err
	}
	p.stack.Push("nats", 30*time.Second, func(context.Context) error { p.server.Stop(); return nil })
	if err := p.reachNATS(ctx, authority); err != nil {
		return nil, err
	}
	conn, err := bus.Connect(ctx, p.natsOptions(p.server.URL(), authority.House()))
	if err != nil {
		return nil, err
	}
	p.conn = conn
	p.stack.Push("house connection", 5*time.Second, func(context.Context) error { conn.Close(); return nil })
	if err := p.openHouse(ctx, conn, authority, secret); err != nil {
		return nil, err
	}
	p.healer = &healer{healthy: p.server.Healthy, room: p.disk.Room, revive: revive, renewed: &p.renewed, log: p.o.Logger, after: func(ctx context.Context) error {
		p.world.Doubt()
		return errors.Join(bus.Insist(ctx, conn.PrepareHouse), authority.SyncStreams(authority.HouseKey()))
	}}
	return authority, nil
}

// startWorld opens what the world is observed and changed with. Instances are stopped before it goes: first web, then
// those that answer, then those that write.
func (p *Provisioner) startWorld(ctx context.Context, authority *bus.Authority, secret []byte) error {
	if p.backend = p.o.Keyspaces; p.backend == "" || p.backend == "sqlite" {
		p.backend = sqliteScheme + filepath.Join(p.o.Data, "keyspaces")
	}
	backend, err := open.Open(p.backend, p.o.Logger)
	if err != nil {
		return err
	}
	p.keyspaces = backend
	p.stack.Push("keyspaces", 10*time.Second, func(context.Context) error { return backend.Close() })
	seen, folder, err := p.reachKeyspaces(ctx)
	if err != nil {
		return err
	}
	trust := p.o.Trust
	if len(p.ca) > 0 {
		trust = bus.Trust{CA: p.ca}
	}
	mailSettings, err := readMail(p.o.Mail)
	if err != nil {
		return err
	}
	p.site = plan.Site{Version: p.o.Version, Host: p.o.Host, PortBase: p.o.PortBase, Web: p.o.Web, Told: p.told(seen), Mail: plan.MailFingerprint(mailSettings)}
	p.world = world.New(world.Options{
		Site: p.site, Certificates: p.certs, Front: p.front, NATS: p.server.URL(), Reached: p.reached, Authority: authority, House: p.house, Backend: backend, Keyspaces: p.backend,
		Trust: trust, Replicas: p.o.Replicas, Secret: secret, Mail: mailSettings, Runtime: p.runtime, Inside: p.inside, Seen: seen, Folder: folder,
		Disk: p.disk.Look, Logger: p.o.Logger,
	})
	p.stack.Push("accounts' connections", 10*time.Second, func(context.Context) error { p.world.Close(); return nil })
	if p.runtime.Outlives() {
		return nil
	}
	for _, role := range []string{record.RoleIngest, record.RoleReports, record.RoleWeb} {
		p.stack.Push(role, 30*time.Second, func(ctx context.Context) error { return p.stopRole(ctx, role) })
	}
	return nil
}

// stopRole stops all instances of a role at once.
func (p *Provisioner) stopRole(ctx context.Context, role string) error {
	instances, err := p.runtime.Instances(ctx)
	if err != nil {
		return err
	}
	errs := make(chan error, len(instances))
	n := 0
	for _, i := range instances {
		if i.Role == role && i.State == runtime.Running {
			n++
			go func() { errs <- p.runtime.Stop(ctx, i.Name, runtime.StopOptions{}) }()
		}
	}
	var all []error
	for range n {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// startLoop starts the loop, and what tells it of changes.
func (p *Provisioner) startLoop(ctx context.Context) {
	p.loop = loop.New(loop.Options{World: p.world, Logger: p.o.Logger})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{}, 4)
	run := func(fn func()) {
		go func() { fn(); done <- struct{}{} }()
	}
	run(func() { p.loop.Run(ctx) })
	run(func() { p.healer.run(ctx) })
	run(func() {
		_ = p.house.Watch(ctx, p.loop.Want, func(err error) { // it ends by ctx alone
			p.o.Logger.Error("the providers' records cannot be read, the last ones hold", "error", err)
		})
	})
	run(func() {
		for {
			select {
			case <-p.world.Changes():
			case <-p.runtime.Changes():
			case <-ctx.Done():
				return
			}
			p.loop.Kick()
		}
	})
	p.stack.Push("loop", 50*time.Second, func(context.Context) error {
		cancel()
		for range cap(done) {
			<-done
		}
		return nil
	})
}

// startControl opens the API of the command line.
func (p *Provisioner) startControl(ctx context.Context) error {
	listener, err := control.Listen(p.o.Data)
	if err != nil {
		return err
	}
	api := control.NewServer(control.Options{
		Status: p.status, House: p.house, World: p.world, Loop: p.loop, Runtime: p.runtime, Site: p.site, Doctor: p.examine, Usage: p.usage, Logger: p.o.Logger,
		HidesSenders: p.inside != runtime.Inside{},
	})
	stop, err := p.answerWeb(api)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := p.startOverview(ctx); err != nil {
		stop()
		return errors.Join(err, listener.Close())
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	server := &http.Server{
		Handler:           api,
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(p.o.Logger.Handler(), slog.LevelWarn),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // it ends by Shutdown or Close
	}()
	p.stack.Push("control", 3*time.Second, func(ctx context.Context) error {
		stop()
		cancel() // ends logs that are followed
		defer func() { <-done }()
		if err := server.Shutdown(ctx); err != nil {
			return errors.Join(err, server.Close())
		}
		return nil
	})
	return nil
}

// Stop stops everything: the command line, the loop, web, reports, ingest, and then what they stand on. It may be
// called twice.
func (p *Provisioner) Stop(ctx context.Context) error { return p.stack.Stop(ctx) }

// OperatorLink makes a one-time sign-in link for whoever runs the installation, and returns its URL.
func (p *Provisioner) OperatorLink(ctx context.Context) (string, error) {
	secret, err := p.house.OperatorLink(ctx)
	if err != nil {
		return "", err
	}
	return control.SignInURL(p.status.Web, secret), nil
}
