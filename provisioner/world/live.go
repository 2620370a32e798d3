package world

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/internal/headapi"
	"berth/provisioner/plan"
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
