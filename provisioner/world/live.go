package world

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/internal/headapi"
	"berth/provisioner/plan"
	"berth/schema"
	"berth/schema/record"
)

// writtenStep is how often Written looks.
const writtenStep = 5 * time.Millisecond

// Written returns the revision of the settings that the loop has written for the provider's instances, once they are
// those of the given record, or ctx's error.
func (w *World) Written(ctx context.Context, p *record.Provider) (uint64, error) {
	want := plan.PipelineFingerprint(p)
	tick := time.NewTicker(writtenStep)
	defer tick.Stop()
	for {
		var have string
		var revision uint64
		w.mu.Lock()
		if known := w.providers[p.Name]; known != nil {
			have, revision = known.pipeline, known.written
		}
		w.mu.Unlock()
		if have == want {
			return revision, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for the settings of %s: %w", p.Name, ctx.Err())
		}
	}
}

// Address returns where a running instance of the provider answers, by what it says of itself, or Unavailable.
func (w *World) Address(name, role string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.providers[name]; p != nil {
		var newest record.Service
		for _, s := range p.services {
			if s.Role == role && s.Started.After(newest.Started) {
				newest = s
			}
		}
		if newest.Address != "" {
			return newest.Address, nil
		}
	}
	return "", schema.Errorf(schema.Unavailable, "%s of %s does not run", role, name).WithNext("see provisioner show %s", name)
}

// Live returns when the provider's ingest goes by its records of at least the given revision. Errors: Unavailable when
// it does not run, or does not answer before ctx ends.
func (w *World) Live(ctx context.Context, name string, revision uint64) error {
	conn, err := w.connected(name)
	if err != nil {
		return err
	}
	request, err := json.Marshal(headapi.RecordsRequest{Revision: revision})
	if err != nil {
		return fmt.Errorf("ask ingest of %s: %w", name, err)
	}
	return conn.Ask(ctx, headapi.Records, request, func([]byte) error { return nil })
}
