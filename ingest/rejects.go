package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/ingest/commit"
	"berth/ingest/seal"
	"berth/internal/api"
	"berth/schema"
)

// rejectLimit is how long keeping one reject may take, and maxRaw how much of what is set aside is kept.
const (
	rejectLimit = 5 * time.Second
	maxRaw      = 1 << 20
)

// reasonAside counts readings that were acknowledged and that the keyspace can never take.
const reasonAside = "set_aside"

// putReject keeps a reject durably.
func (i *Ingest) putReject(ctx context.Context, r *api.Reject) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write reject: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, rejectLimit)
	defer cancel()
	return i.conn.PutReject(ctx, data)
}

// keepReject keeps a reject of the gate. It was answered and counted already, so one that cannot be kept is only noted.
func (i *Ingest) keepReject(r api.Reject) {
	if err := i.putReject(context.Background(), &r); err != nil {
		i.log.Warn("a reject was not kept", "gateway", r.Gateway, "reason", r.Reason, "error", err)
	}
}

// setBlockAside keeps what the keyspace can never take among the rejects.
func (i *Ingest) setBlockAside(ctx context.Context, r *seal.Refused) error {
	err := i.putReject(ctx, &api.Reject{
		Time: i.o.Now(), Gateway: r.Gateway, Protocol: "keyspace", Format: r.What, Code: schema.CodeOf(r.Why),
		Reason: schema.Show(r.Why), Readings: uint64(max(r.Readings, 0)), Size: len(r.Data), Raw: r.Data[:min(len(r.Data), maxRaw)],
	})
	if err != nil {
		return err
	}
	i.committer.Count(commit.Counts{Reasons: map[string]int{reasonAside: max(r.Readings, 1)}})
	return nil
}

// setMessageAside keeps a message of the log that cannot be read among the rejects.
func (i *Ingest) setMessageAside(ctx context.Context, sequence uint64, data []byte, why error) error {
	err := i.putReject(ctx, &api.Reject{
		Time: i.o.Now(), Protocol: "log", Format: fmt.Sprintf("message %d", sequence), Code: schema.CodeOf(why),
		Reason: schema.Show(why), Size: len(data), Raw: data[:min(len(data), maxRaw)],
	})
	if err != nil {
		return err
	}
	i.committer.Count(commit.Counts{Reasons: map[string]int{reasonAside: 1}})
	return nil
}
