package world

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/internal/bus"
	"berth/internal/houseapi"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// createLog makes the provider's account, streams and buckets, and listens to what its instances say of themselves.
func (w *World) createLog(ctx context.Context, p *record.Provider) error {
	conn, account, err := w.connect(ctx, p.Name)
	if err != nil {
		return err
	}
	if err := w.prepare(ctx, conn, p); err != nil {
		return err
	}
	if err := w.o.Authority.SyncStreams(account); err != nil {
		return err
	}
	if err := w.follow(ctx, p.Name, conn); err != nil {
		return err
	}
	if p.Account != account {
		if err := w.o.House.SetAccount(ctx, p.Name, account); err != nil {
			return err
		}
	}
	w.set(p.Name, func(p *provider) { p.log = plan.Present })
	return nil
}

// answerDisk answers a provider's instances whether there is room on the disks.
func (w *World) answerDisk(_ context.Context, _ []byte, reply func([]byte) error) error {
	if w.o.Disk == nil {
		return schema.Errorf(schema.Unavailable, "nobody watches the disks")
	}
	data, err := json.Marshal(w.o.Disk())
	if err != nil {
		return fmt.Errorf("write what is free on the disks: %w", err)
	}
	return reply(data)
}

// connect returns the connection to the provider's account, which is made when there is none.
func (w *World) connect(ctx context.Context, name string) (*bus.Conn, string, error) {
	creds, _, account, err := w.o.Authority.Provider(name) //nolint:contextcheck // it has a limit of its own
	if err != nil {
		return nil, "", err
	}
	if conn, err := w.connected(name); err == nil {
		return conn, account, nil
	}
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := bus.Connect(within, bus.Options{URL: w.o.NATS, Credentials: creds, Trust: w.o.Trust, Replicas: w.o.Replicas, Name: "provisioner of " + name, Logger: w.o.Logger.With("provider", name)})
	if err != nil {
		return nil, "", err
	}
	stop, err := conn.Answer(houseapi.DiskSubject, w.answerDisk)
	if err != nil {
		conn.Close()
		return nil, "", err
	}
	w.set(name, func(p *provider) {
		p.conn = conn
		p.stop = func() {
			stop()
			conn.Close()
		}
	})
	return conn, account, nil
}

// follow watches the provider's services, once for a connection.
func (w *World) follow(ctx context.Context, name string, conn *bus.Conn) error {
	w.mu.Lock()
	following := w.providers[name].services != nil
	w.mu.Unlock()
	if following {
		return nil
	}
	bucket, err := conn.Bucket(ctx, bus.BucketOptions{Name: "services"})
	if err != nil {
		return err
	}
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = bucket.Watch(watch, func(all map[string]bus.Entry) { w.heard(name, all) })
	}()
	w.set(name, func(p *provider) {
		p.services, p.registry = map[string]record.Service{}, bucket
		stop := p.stop
		p.stop = func() {
			cancel()
			<-done
			stop()
		}
	})
	return nil
}

// heard takes note of what a provider's instances say of themselves. A service that cannot be read is left out.
func (w *World) heard(name string, all map[string]bus.Entry) {
	services, now := make(map[string]record.Service, len(all)), time.Now()
	for key, e := range all {
		var s record.Service
		if err := json.Unmarshal(e.Value, &s); err != nil || s.Key() != key {
			w.o.Logger.Warn("an instance announces itself in a form that cannot be read", "provider", name, "key", key, "error", err)
			continue
		}
		s.Provider = name // whatever it says: the account tells whose it is
		services[key] = s
	}
	w.set(name, func(p *provider) {
		if p.services == nil {
			return
		}
		p.services = services
		for key := range services {
			p.hearing.note(key, all[key].Revision, now)
		}
	})
	w.changed()
}

// Renew gives the provider's instances that are started from now on other credentials of NATS, and cuts off those that run.
func (w *World) Renew(name string) error {
	return w.o.Authority.Renew(name)
}

// removeLog removes the provider's account with all that it holds, its records in the house, and what its instances wrote.
func (w *World) removeLog(ctx context.Context, p *record.Provider) error {
	if err := w.o.House.DropRecords(ctx, p.Name); err != nil {
		return err
	}
	conn, _, err := w.connect(ctx, p.Name)
	if err != nil {
		return err
	}
	if err := conn.Remove(ctx); err != nil {
		return err
	}
	w.disconnect(p.Name)
	if err := w.o.Authority.Forget(p.Name); err != nil { //nolint:contextcheck // it has a limit of its own
		return err
	}
	for _, role := range plan.Roles() {
		if err := w.o.Runtime.Stop(ctx, plan.Unit{Provider: p.Name, Role: role}.Name(), runtime.StopOptions{Purge: true}); err != nil {
			return err
		}
	}
	w.set(p.Name, func(p *provider) { p.log, p.pipeline, p.certificate = plan.Absent, "", "" })
	return nil
}

func (w *World) disconnect(name string) {
	var stop func()
	w.set(name, func(p *provider) {
		stop = p.stop
		p.stop, p.conn, p.registry, p.services, p.hearing = nil, nil, nil, nil, hearing{}
	})
	if stop != nil {
		stop()
	}
}

// prepare makes the provider's streams and buckets what they should be. A log that holds more than its new quota keeps the
// old one until it is prepared again: ingest goes by the new one at once.
func (w *World) prepare(ctx context.Context, conn *bus.Conn, p *record.Provider) error {
	err := conn.Prepare(ctx, bus.LogOptions{Quota: p.Settings.Limits.LogBytes})
	if schema.Is(err, schema.Conflict) {
		w.o.Logger.Warn("the log's stream keeps its old quota", "provider", p.Name, "error", err)
		return nil
	}
	return err
}

// writePipeline gives the log its quota and tells the provider's instances what they may know, the quota first: they look
// at it then.
func (w *World) writePipeline(ctx context.Context, p *record.Provider) error {
	conn, err := w.connected(p.Name)
	if err != nil {
		return err
	}
	if err := w.prepare(ctx, conn, p); err != nil {
		return err
	}
	bucket, err := w.Bucket(ctx, p.Name)
	if err != nil {
		return err
	}
	told := plan.Pipeline(p)
	if w.o.Inside != (runtime.Inside{}) {
		told.Settings.Networks = nil // behind an engine's network a sender's address may be the engine's own
	}
	if told.Sources, err = w.sealSources(p); err != nil {
		return err
	}
	data, err := json.Marshal(told)
	if err != nil {
		return fmt.Errorf("write the settings of %s: %w", p.Name, err)
	}
	revision, err := bucket.Put(ctx, record.PipelineKey, data)
	if err != nil {
		return err
	}
	fingerprint := plan.PipelineFingerprint(p)
	w.set(p.Name, func(p *provider) { p.pipeline, p.written = fingerprint, revision })
	return nil
}
