// Package reports answers questions about one provider's readings over HTTP: the API of internal/api, for requests that
// are signed with the provider's token. It keeps nothing: what it answers comes from the keyspace and from the head of
// the provider's ingest (reports/query). Who may ask what is left to web, which signs.
//
// Its one invariant: of readings it only ever reads. What is to be fed again, or removed, it asks of ingest; of records it
// writes one, what the provider says about its sensors.
package reports

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/internal/httpserver"
	"berth/internal/keyspace/late"
	"berth/internal/keyspace/open"
	"berth/internal/lifecycle"
	"berth/internal/metrics"
	"berth/internal/version"
	"berth/reports/pdf"
	"berth/reports/query"
	"berth/reports/render"
	"berth/reports/report"
	"berth/schema"
	"berth/schema/record"
)

// Options say whose readings are answered for, and where everything is.
type Options struct {
	Provider    string
	Bus         string // URL of NATS
	Credentials bus.Credentials
	Trust       bus.Trust // of NATS by TLS
	Keyspaces   string    // URL of the keyspaces' backend
	Listen      string    // host:port of the API; port 0: any
	Announce    string    // network, such as 172.18.0.0/16, in which others reach the API; empty: at Listen
	Font        string    // file of a font for PDF, with Latin and Chinese; empty: one that the system has
	Instance    string    // the instance's name in the registry
	Spec        string    // hash of what it was started with
	Logger      *slog.Logger
}

// Validate returns an Invalid error that names what is missing.
func (o Options) Validate() error {
	switch err := schema.CheckProvider(o.Provider); {
	case err != nil:
		return err
	case o.Bus == "" || o.Keyspaces == "" || o.Listen == "":
		return schema.Errorf(schema.Invalid, "the addresses of NATS, of the keyspaces and of the API are needed").
			WithNext("give --nats, --keyspaces and --listen")
	case o.Instance == "":
		return schema.Errorf(schema.Invalid, "the instance has no name").WithNext("give --instance")
	}
	return nil
}

// Reports is one running instance.
type Reports struct {
	options Options
	stops   *lifecycle.Stack
	bus     *bus.Conn
	http    *httpserver.Server
	store   late.Reader
	engine  *query.Engine
	metrics *metrics.Set

	auditing sync.Mutex // one audit at a time: it reads everything
	maker    *report.Maker
	renderer *render.Renderer
	making   chan struct{} // holds a token for each report that is being made
	exports  exports       // those under way

	records *bus.Bucket // "pipeline": what the provisioner writes, and what people say about sensors and gateways
	current atomic.Pointer[record.Pipeline]
	keys    atomic.Pointer[[]string]
	said    atomic.Pointer[record.Sensors] // what the provider says about them

	groups      shards[record.Groups]      // of its gateways
	annotations shards[record.Annotations] // of its gateways' charts
}

// New returns an instance that is not started.
func New(o Options) (*Reports, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &Reports{options: o, stops: lifecycle.New(o.Logger), metrics: metrics.New(version.Version), making: make(chan struct{}, mostAtOnce)}
	r.http = httpserver.New(httpserver.Options{Logger: o.Logger, Answered: r.answered})
	r.current.Store(&record.Pipeline{})
	r.keys.Store(&[]string{})
	r.said.Store(&record.Sensors{})
	return r, nil
}

// stepLimit bounds each step of a stop.
const stepLimit = 5 * time.Second

// Start connects, waits for the provider's record, opens the keyspace, and serves. When it returns an error, what was
// started is stopped.
func (r *Reports) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			_ = r.Stop(context.WithoutCancel(ctx)) // the first error says more
		}
	}()
	r.bus, err = bus.Connect(ctx, bus.Options{URL: r.options.Bus, Credentials: r.options.Credentials, Trust: r.options.Trust, Name: "reports." + r.options.Provider, Logger: r.options.Logger})
	if err != nil {
		return err
	}
	r.stops.Push("bus", stepLimit, func(context.Context) error { r.bus.Close(); return nil })

	if err := r.followRecord(ctx); err != nil {
		return err
	}
	if err := r.openKeyspace(ctx); err != nil {
		return err
	}
	r.engine = query.New(query.Options{
		Store:    &r.store,
		Head:     r.bus,
		Settings: func() record.Settings { return r.pipeline().Settings },
		Keys:     func() []string { return *r.keys.Load() },
		Grouping: r.grouping,
		Rejects:  func(ctx context.Context) (func(string) uint64, error) { return r.bus.CountKept(ctx, bus.Rejects) },
		Logger:   r.options.Logger,
	})
	r.maker = report.New(report.Options{
		Provider: r.options.Provider, Engine: r.engine, Rejects: r,
		Sensors: func() map[string]record.Sensor { return r.said.Load().Sensors }, Annotations: r.Annotations,
	})
	r.renderer = &render.Renderer{Maker: r.maker, Font: sync.OnceValue(func() string { return pdf.Find(r.options.Font) })}
	r.routes()
	if err := r.http.Start(ctx, r.options.Listen); err != nil {
		return err
	}
	r.stops.Push("http", stepLimit, r.http.Stop)
	if err := r.watched(); err != nil {
		return err
	}
	address, err := reachedAt(r.Addr(), r.options.Announce)
	if err != nil {
		return err
	}
	r.announce(ctx, address)
	r.options.Logger.Info("reports is ready", "address", address)
	return nil
}

// Addr returns the address of the API, after Start.
func (r *Reports) Addr() string { return r.http.Addr() }

// Stop stops everything, in the reverse order of Start, within bounds. It may be called twice.
func (r *Reports) Stop(ctx context.Context) error { return r.stops.Stop(ctx) }

// pipeline returns the provider's record as it is now.
func (r *Reports) pipeline() *record.Pipeline { return r.current.Load() }

// background runs fn until the instance stops; at a stop it is waited for.
func (r *Reports) background(ctx context.Context, name string, fn func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := fn(ctx); err != nil && ctx.Err() == nil {
			r.options.Logger.Error("a background task ended", "task", name, "error", err)
		}
	})
	r.stops.Push(name, stepLimit, func(context.Context) error {
		cancel()
		wg.Wait()
		return nil
	})
}

// followRecord keeps the provider's record and the names of its gateways' keys current, and returns when the record has
// come for the first time.
func (r *Reports) followRecord(ctx context.Context) error {
	bucket, err := r.bus.Bucket(ctx, bus.BucketOptions{Name: "pipeline"})
	if err != nil {
		return fmt.Errorf("open the provider's record: %w", err)
	}
	r.records = bucket
	known := make(chan struct{})
	var once sync.Once
	r.background(ctx, "record", func(ctx context.Context) error {
		return bucket.Watch(ctx, func(all map[string]bus.Entry) {
			if r.take(all) {
				once.Do(func() { close(known) })
			}
		})
	})
	select {
	case <-known:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the record of provider %s: %w", r.options.Provider, context.Cause(ctx))
	}
}

// take takes over what the bucket holds (the provider's record, keys of gateways, what is said about sensors and gateways), and
// reports whether the provider's record was among it.
func (r *Reports) take(all map[string]bus.Entry) bool {
	bad := func(key string, err error) {
		r.options.Logger.Error("what is said about gateways cannot be read; what was said before stays", "key", key, "error", err)
	}
	r.groups.take(all, record.GroupsPrefix, bad)
	r.annotations.take(all, record.AnnotationsPrefix, bad)
	names := []string{}
	sensors := &record.Sensors{}
	found := false
	for key, entry := range all {
		switch {
		case key == record.PipelineKey:
			var p record.Pipeline
			if err := json.Unmarshal(entry.Value, &p); err != nil {
				r.options.Logger.Error("the provider's record cannot be read; the one before stays", "error", err)
				continue
			}
			r.current.Store(&p)
			found = true
		case key == record.SensorsKey:
			if err := json.Unmarshal(entry.Value, sensors); err != nil || sensors.Version > record.Version {
				r.options.Logger.Error("what is said about sensors cannot be read; what was said before stays", "error", err)
				sensors = r.said.Load()
			}
		case strings.HasPrefix(key, record.GatewayKeyPrefix):
			var g record.GatewayKey
			if err := json.Unmarshal(entry.Value, &g); err != nil {
				r.options.Logger.Error("a gateway's key cannot be read", "key", key, "error", err)
				continue
			}
			if !g.Relay && g.Revoked.IsZero() {
				names = append(names, g.Gateway)
			}
		}
	}
	slices.Sort(names)
	r.keys.Store(&names)
	r.said.Store(sensors)
	return found
}

// Pauses between two tries to open a keyspace that is away; they double.
const (
	lateFirst = 250 * time.Millisecond
	lateMost  = 5 * time.Second
	askLimit  = 5 * time.Second
)

// openKeyspace opens the provider's keyspace for reading. One that is away is opened once it is back: until then answers
// have what the head holds, and say what is missing.
func (r *Reports) openKeyspace(ctx context.Context) error {
	backend, err := open.Open(r.options.Keyspaces, r.options.Logger)
	if err != nil {
		return err
	}
	r.stops.Push("keyspaces", stepLimit, func(context.Context) error { return backend.Close() })
	r.stops.Push("keyspace", stepLimit, func(context.Context) error { return r.store.Close() })
	try := func(ctx context.Context) error {
		reader, err := backend.Reader(ctx, r.pipeline().Keyspace)
		if err != nil {
			r.store.Fail(err)
			return err
		}
		return r.store.Set(reader)
	}
	asking, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	err = try(asking)
	if err == nil || ctx.Err() != nil || schema.Is(err, schema.NotFound) || schema.Is(err, schema.Invalid) {
		return err
	}
	r.options.Logger.Warn("the keyspace is away", "error", err)
	r.background(ctx, "keyspace's return", func(ctx context.Context) error {
		for pause := lateFirst; ; pause = min(2*pause, lateMost) {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
			if try(ctx) == nil {
				r.options.Logger.Info("the keyspace is open")
				return nil
			}
		}
	})
	return nil
}

// announceEvery is how often the instance renews its entry in the registry.
const announceEvery = 2 * time.Second

// announce tells the registry that the instance answers.
func (r *Reports) announce(ctx context.Context, address string) {
	service := record.Service{
		Version: record.Version, Provider: r.options.Provider, Role: record.RoleReports, Instance: r.options.Instance,
		Address: address, Program: version.Version, Spec: r.options.Spec, Started: time.Now().UTC(), State: "ready", PID: os.Getpid(),
	}
	r.background(ctx, "registry", func(ctx context.Context) error {
		return r.bus.Announce(ctx, func() record.Service {
			now := service
			if damage, since := r.engine.Damage(); damage != "" {
				now.Detail = damage // its work it can do: its state stays
				now.Episodes = []record.Episode{{State: headapi.StateDamaged, Detail: damage, From: since}}
			}
			return now
		}, announceEvery)
	})
}
