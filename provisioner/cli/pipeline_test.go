package cli_test

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"berth/internal/bus"
	"berth/schema/record"
)

// pipelineTag waits until the provider's instances can read the gateway tag, with their own credentials.
func pipelineTag(t *testing.T, h *house, tag string) {
	t.Helper()
	spec := h.runtime.Specs()[1]
	conn, err := bus.Connect(t.Context(), bus.Options{
		URL: spec.Env["BERTH_NATS"], Credentials: spec.Files["BERTH_CREDENTIALS"], Name: "test", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	bucket, err := conn.Bucket(t.Context(), bus.BucketOptions{Name: "pipeline"})
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		value, _, err := bucket.Get(t.Context(), record.PipelineKey)
		if err != nil {
			t.Fatal(err)
		}
		var p record.Pipeline
		if err := json.Unmarshal(value, &p); err != nil {
			t.Fatal(err)
		}
		if p.Settings.GatewayTag == tag {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the gateway tag never arrived: %+v", p)
		}
	}
}
