package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/bus"
	"berth/schema"
	"berth/schema/record"
)

// TestRecordsAreKnownOnceTheGateHasThem waits for a revision as a command does that has just written it.
func TestRecordsAreKnownOnceTheGateHasThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipeline, err := json.Marshal(record.Pipeline{Version: record.Version, Name: "acme", Settings: record.DefaultSettings()})
		if err != nil {
			t.Fatal(err)
		}
		key, err := json.Marshal(record.GatewayKey{Version: record.Version, Gateway: "gw1", Hash: "h"})
		if err != nil {
			t.Fatal(err)
		}
		s := &settings{provider: "acme", log: slog.New(slog.DiscardHandler), found: make(chan struct{}), changed: make(chan struct{})}
		all := map[string]bus.Entry{record.PipelineKey: {Value: pipeline, Revision: 7}}
		s.take(all)
		keys := 0 // that the gate has
		s.tell(func(_ *record.Pipeline, gateways map[string]record.GatewayKey) { keys = len(gateways) })
		if err := s.await(t.Context(), 7); err != nil {
			t.Errorf("what was taken is not known: %v", err)
		}
		known := make(chan error, 1)
		go func() { known <- s.await(t.Context(), 9) }()
		synctest.Wait()
		s.take(all)
		synctest.Wait()
		if len(known) != 0 {
			t.Fatal("known before it came")
		}
		all["gateway.x"] = bus.Entry{Value: key, Revision: 9}
		s.take(all)
		if err := <-known; err != nil || keys != 1 {
			t.Errorf("%v, the gate has %d keys, want 1", err, keys)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.await(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("what never came: %v", err)
		}
		all["gateway.y"] = bus.Entry{Value: []byte("{"), Revision: 10}
		s.take(all)
		all[record.PipelineKey] = bus.Entry{Value: []byte(`{"version":99,"name":"acme"}`), Revision: 11}
		s.take(all)
		all["gateway.z"] = bus.Entry{Value: key, Revision: 12}
		s.take(all)
		for revision, refused := range map[uint64]bool{0: false, 9: true, 11: true, 12: false} {
			if err := s.await(t.Context(), revision); schema.Is(err, schema.Conflict) != refused || !refused && err != nil {
				t.Errorf("revision %d of records that cannot be used: %v, want it refused: %v", revision, err, refused)
			}
		}
		if s.pipeline().Name != "acme" || s.pipeline().Version == 99 {
			t.Error("a record that cannot be used is gone by")
		}
	})
}
