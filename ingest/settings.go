package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"berth/internal/bus"
	"berth/schema"
	"berth/schema/record"
)

// settings are the provider's records as they are now.
type settings struct {
	provider string
	log      *slog.Logger
	found    chan struct{} // closed when the pipeline's record has been read

	mu       sync.Mutex // guards what follows, and is held while set is called, so that no older records come later
	record   *record.Pipeline
	gateways map[string]record.GatewayKey
	revision uint64        // of the newest record taken
	refused  refused       // the newest that cannot be used
	changed  chan struct{} // closed, and made anew, when records were taken
	set      func(*record.Pipeline, map[string]record.GatewayKey)
	sources  func([]record.Source)
	port     portCertificate
}

// watchSettings follows the provider's records, and waits until there is one of its pipeline.
func (i *Ingest) watchSettings(ctx context.Context) error {
	s := &settings{provider: i.o.Provider, log: i.log, found: make(chan struct{}), changed: make(chan struct{})}
	i.settings = s
	bucket, err := i.conn.Bucket(ctx, bus.BucketOptions{Name: "pipeline"})
	if err != nil {
		return fmt.Errorf("open the provider's records: %w", err)
	}
	i.background(ctx, "settings", otherStop, func(ctx context.Context) {
		_ = bucket.Watch(ctx, s.take) // it ends with the context
	})
	notice := time.NewTimer(time.Second)
	defer notice.Stop()
	for {
		select {
		case <-s.found:
			return nil
		case <-notice.C:
			i.log.Info("waiting for the provider's record")
		case <-ctx.Done():
			return fmt.Errorf("wait for the provider's record: %w", ctx.Err())
		}
	}
}

// take takes the records as they are now. One that cannot be read changes nothing of what it says.
func (s *settings) take(all map[string]bus.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = refused{}
	if e, ok := all[record.PipelineKey]; ok {
		s.refuse(record.PipelineKey, e.Revision, s.takePipeline(e.Value))
	}
	gateways := make(map[string]record.GatewayKey)
	for key, e := range all {
		if !strings.HasPrefix(key, record.GatewayKeyPrefix) {
			continue
		}
		var g record.GatewayKey
		err := json.Unmarshal(e.Value, &g)
		if err == nil && g.Version > record.Version {
			err = fmt.Errorf("it is of version %d", g.Version)
		}
		if err != nil {
			s.refuse(key, e.Revision, err)
			s.log.Error("a gateway's key cannot be read", "key", key, "error", err)
			g, ok := s.gateways[key]
			if ok {
				gateways[key] = g
			}
			continue
		}
		gateways[key] = g
	}
	s.gateways = gateways
	s.port.take(all[record.PortCertificateKey], s.log)
	if s.set != nil && s.record != nil {
		s.set(s.record, s.gateways)
	}
	if s.sources != nil && s.record != nil {
		s.sources(s.record.Sources)
	}
	s.revision = 0
	for _, e := range all {
		s.revision = max(s.revision, e.Revision)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// refused is a record that cannot be used: what it said before holds.
type refused struct {
	key      string
	revision uint64
	err      error
}

// refuse notes that a record cannot be used, if err is not nil. mu is held.
func (s *settings) refuse(key string, revision uint64, err error) {
	if err != nil && revision >= s.refused.revision {
		s.refused = refused{key, revision, err}
	}
}

// await returns when records of at least the given revision have been taken, or with ctx's error. When one of these cannot be
// used, that is a Conflict.
func (s *settings) await(ctx context.Context, revision uint64) error {
	for {
		s.mu.Lock()
		known, changed, not := s.revision >= revision, s.changed, s.refused
		s.mu.Unlock()
		if known && revision > 0 && not.err != nil && not.revision >= revision {
			return schema.Errorf(schema.Conflict, "ingest cannot use the record %s, and goes by what it said before: %v", not.key, not.err).
				WithNext("undo the change, or let ingest be of the provisioner's version: provisioner restart %s", s.provider)
		}
		if known {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *settings) takePipeline(value []byte) error {
	p := &record.Pipeline{Settings: record.DefaultSettings()} // what it does not name yet
	err := json.Unmarshal(value, p)
	switch {
	case err != nil:
	case p.Version > record.Version:
		err = fmt.Errorf("it is of version %d", p.Version)
	case p.Name != s.provider:
		err = fmt.Errorf("it is of provider %q", p.Name)
	default:
		err = p.Settings.Validate()
	}
	if err != nil {
		s.log.Error("the provider's record cannot be used", "error", err)
		return err
	}
	if s.record == nil {
		close(s.found)
	}
	s.record = p
	return nil
}

// pipeline returns the pipeline's record; it is not to be changed.
func (s *settings) pipeline() *record.Pipeline {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record
}

// keys returns the gateways' own keys; they are not to be changed.
func (s *settings) keys() map[string]record.GatewayKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gateways
}

// tell has set called with the records as they are, and at each change.
func (s *settings) tell(set func(*record.Pipeline, map[string]record.GatewayKey)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = set
	set(s.record, s.gateways)
}

// tellSources has set called with the sources as they are, and at each change of the records.
func (s *settings) tellSources(set func([]record.Source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources = set
	set(s.record.Sources)
}
