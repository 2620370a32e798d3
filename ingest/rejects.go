package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"berth/ingest/commit"
	"berth/ingest/seal"
	"berth/internal/bus"
	"berth/schema"
	"berth/schema/record"
)

// shelfLimit is how long keeping one reject, or setting one thing aside, may take.
const shelfLimit = 5 * time.Second

// reasonAside counts readings that were acknowledged and can never be stored.
const reasonAside = "set_aside"

// keep puts bytes on a shelf with what is known of them.
func (i *Ingest) keep(ctx context.Context, shelf bus.Shelf, name string, known any, raw []byte) (kept bool, err error) {
	about, err := json.Marshal(known)
	if err != nil {
		return false, fmt.Errorf("write what is known of a reject: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, shelfLimit)
	defer cancel()
	return i.conn.Keep(ctx, shelf, name, about, raw)
}

// keepReject keeps a reject of the gate, which was answered and counted already.
func (i *Ingest) keepReject(r *record.Reject, raw []byte) error {
	_, err := i.keep(context.Background(), bus.Rejects, r.Gateway, r, raw)
	return err
}

// setAside keeps what was acknowledged and can never be stored, and counts it once.
func (i *Ingest) setAside(ctx context.Context, a *record.Aside, why error, raw []byte) error {
	a.Version, a.Time, a.Code, a.Reason, a.Size = record.Version, i.o.Now(), schema.CodeOf(why), schema.Show(why), len(raw)
	kept, err := i.keep(ctx, bus.Aside, fmt.Sprintf("%s %d\n%s", a.Form, a.Sequence, raw), a, raw) // also after a restart the same
	i.aside.changed()
	if err != nil || !kept || i.committer == nil { // before the start there is nothing to count by
		return err
	}
	i.committer.Count(commit.Counts{Reasons: map[string]int{reasonAside: int(max(a.Readings, 1))}})
	return nil
}

// asideState is how much is set aside, as far as known.
type asideState struct {
	mu    sync.Mutex // guards what follows
	known bool       // nothing was set aside, fed or removed since
	state bus.ShelfState
}

func (a *asideState) changed() {
	a.mu.Lock()
	a.known = false
	a.mu.Unlock()
}

// entries returns how many pieces are set aside.
func (a *asideState) entries() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.Entries
}

// detail says what is set aside, nothing if that is nothing.
func (a *asideState) detail(provider string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.Entries == 0 {
		return ""
	}
	return fmt.Sprintf("%d pieces of what was acknowledged cannot be stored or read and are set aside, %d of %d bytes; see provisioner aside ls %s",
		a.state.Entries, a.state.Bytes, a.state.Quota, provider)
}

// lookAside looks at how much is set aside when that may have changed.
func (i *Ingest) lookAside(ctx context.Context) {
	a := &i.aside
	a.mu.Lock()
	known := a.known
	a.known = true
	a.mu.Unlock()
	if known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, shelfLimit)
	defer cancel()
	state, err := i.conn.ShelfState(ctx, bus.Aside)
	if err != nil {
		a.changed() // it is looked at again
		return
	}
	a.mu.Lock()
	a.state = state
	a.mu.Unlock()
}

// setBlockAside sets aside what the keyspace can never take.
func (i *Ingest) setBlockAside(ctx context.Context, r *seal.Refused) error {
	readings := r.Readings
	if rows, err := i.rowsOf(r.Form, r.Data); err == nil {
		readings = rows.Readings()
	}
	return i.setAside(ctx, &record.Aside{Gateway: r.Gateway, What: r.What, Form: r.Form, Readings: uint64(max(readings, 0))}, r.Why, r.Data)
}

// setMessageAside sets aside a message of the log that cannot be read.
func (i *Ingest) setMessageAside(ctx context.Context, sequence uint64, data []byte, why error) error {
	return i.setAside(ctx, &record.Aside{What: "log", Form: record.FormMessage, Sequence: sequence}, why, data)
}
