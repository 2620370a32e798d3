package provisioner

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"berth/internal/api"
	"berth/internal/houseapi"
	"berth/internal/httpserver"
	"berth/internal/metrics"
	"berth/internal/metrics/expose"
	"berth/provisioner/disk"
	"berth/provisioner/doctor"
	"berth/provisioner/survey"
	"berth/schema"
)

// roleProvisioner is the daemon's own role in metrics.
const roleProvisioner = "provisioner"

// startMetrics opens the operator's listener, if one is wanted: metrics of everything, and whether the daemon is well.
func (p *Provisioner) startMetrics(ctx context.Context) error {
	p.survey = survey.New(survey.Options{
		Providers: p.house.Providers, Loop: p.loop, World: p.world, House: p.conn, Web: p.o.Web != "", Logs: p.runtime.Logs,
	})
	if p.o.Metrics == "" {
		return nil
	}
	handler := expose.Handler(p.collect, p.o.Logger)
	s := httpserver.New(httpserver.Options{Logger: p.o.Logger})
	s.Get(api.AlivePath, httpserver.Alive)
	s.Get(api.ReadyPath, httpserver.Ready(p.lacks))
	s.Get("/metrics", func(w http.ResponseWriter, r *http.Request) error {
		handler.ServeHTTP(w, r)
		return nil
	})
	if err := s.Start(ctx, p.o.Metrics); err != nil {
		if _, ok := errors.AsType[*net.OpError](err); ok {
			return schema.Errorf(schema.Conflict, "metrics cannot be served on %s", p.o.Metrics).
				WithNext("free that address, or give another: --metrics 127.0.0.1:9601").WithCause(err)
		}
		return err
	}
	p.stack.Push("metrics", 3*time.Second, s.Stop)
	return nil
}

// lacks returns what the daemon cannot do its work without.
func (p *Provisioner) lacks(context.Context) []httpserver.Lack {
	if p.server.Healthy() != nil || !p.conn.Up() {
		return []httpserver.Lack{{Part: "nats", Why: "NATS, or a stream of it, does not work"}}
	}
	return nil
}

// collect returns the metrics of everything. What cannot be seen is missing.
func (p *Provisioner) collect(ctx context.Context) []metrics.Answer {
	own := metrics.Answer{Role: roleProvisioner, Samples: p.metrics.Samples(ctx)}
	var known metrics.Sink
	known.Put(metrics.Up, 1)
	known.Put(metrics.NATSHealthy, one(p.server.Healthy() == nil))
	for _, d := range p.disks() {
		known.Put(metrics.DiskFree, float64(d.Free), d.Holds)
		known.Put(metrics.DiskSize, float64(d.Size), d.Holds)
	}
	known.Put(metrics.DiskLow, one(p.disk.Look().Low))
	known.Put(metrics.ClockSynced, one(doctor.Synchronized()))
	answers := []metrics.Answer{own}
	v, err := p.survey.Take(ctx)
	if err != nil {
		p.o.Logger.Warn("the installation cannot be looked at for metrics", "error", err)
	} else {
		known.Put(metrics.ScrapeInstances, float64(len(v.Instances)))
		answers = append(answers, v.Answers()...)
	}
	return append(answers, metrics.Answer{Role: roleProvisioner, Samples: known.Samples()})
}

// disks returns how full the disks are that hold data, as far as they can be seen from here.
func (p *Provisioner) disks() []houseapi.SurveyDisk {
	holding := []string{"nats", "keyspaces"}
	if p.remote != nil {
		holding = holding[1:] // its disk is not seen from here
	}
	found := []houseapi.SurveyDisk{}
	for _, holds := range holding {
		if space, err := disk.Of(filepath.Join(p.o.Data, holds)); err == nil {
			found = append(found, houseapi.SurveyDisk{Holds: holds, Free: space.Free, Size: space.Size})
		}
	}
	return found
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
