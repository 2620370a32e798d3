package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/ingest/commit"
	"berth/ingest/seal"
	"berth/internal/bus"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/record"
)

// keepLimit is how long keeping one reject, or setting one thing aside, may take.
const keepLimit = 5 * time.Second

// reasonAside counts readings that were acknowledged and can never be stored.
const reasonAside = "set_aside"

// keep puts bytes on a shelf with what is known of them.
func (i *Ingest) keep(ctx context.Context, shelf bus.Shelf, known any, raw []byte) (kept bool, err error) {
	about, err := json.Marshal(known)
	if err != nil {
		return false, fmt.Errorf("write what is known of a reject: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	return i.conn.Keep(ctx, shelf, about, raw)
}

// keepReject keeps a reject of the gate, which was answered and counted already.
func (i *Ingest) keepReject(r *record.Reject, raw []byte) error {
	_, err := i.keep(context.Background(), bus.Rejects, r, raw)
	return err
}

// setAside keeps what was acknowledged and can never be stored, and counts it once.
func (i *Ingest) setAside(ctx context.Context, a *record.Aside, why error, raw []byte) error {
	a.Version, a.Time, a.Code, a.Reason, a.Size = record.Version, i.o.Now(), schema.CodeOf(why), schema.Show(why), len(raw)
	kept, err := i.keep(ctx, bus.Aside, a, raw)
	if err != nil || !kept {
		return err
	}
	i.committer.Count(commit.Counts{Reasons: map[string]int{reasonAside: int(max(a.Readings, 1))}})
	return nil
}

// setBlockAside sets aside what the keyspace can never take.
func (i *Ingest) setBlockAside(ctx context.Context, r *seal.Refused) error {
	readings := r.Readings
	if r.Form == record.FormBlock {
		readings = readingsOf(r.Data)
	}
	return i.setAside(ctx, &record.Aside{Gateway: r.Gateway, What: r.What, Form: r.Form, Readings: uint64(max(readings, 0))}, r.Why, r.Data)
}

func readingsOf(data []byte) int {
	reader, err := block.Open(data)
	if err != nil {
		return 0
	}
	content, err := reader.Content()
	if err != nil {
		return 0
	}
	return content.Readings()
}

// setMessageAside sets aside a message of the log that cannot be read.
func (i *Ingest) setMessageAside(ctx context.Context, sequence uint64, data []byte, why error) error {
	return i.setAside(ctx, &record.Aside{What: "log", Form: record.FormMessage, Sequence: sequence}, why, data)
}
