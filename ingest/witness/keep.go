package witness

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"berth/internal/credentials"
	"berth/schema/record"
)

// Records are where a witness's records are kept: a bus.Bucket.
type Records interface {
	Put(ctx context.Context, key string, value []byte) (revision uint64, err error)
	Delete(ctx context.Context, key string) error
}

// String returns the record's key in its bucket.
func (k key) String() string {
	switch {
	case k.waiting:
		return record.WaitingPrefix + credentials.Hash(k.gateway)
	case k.gateway == "":
		return record.ShownPrefix + record.ShownEnrolment
	default:
		return record.ShownPrefix + credentials.Hash(k.gateway)
	}
}

// Load takes the records that an instance before this one kept, by their keys. What was seen since the start counts more. A
// record that cannot be read is forgotten.
func (w *Witness) Load(name string, value []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case strings.HasPrefix(name, record.WaitingPrefix):
		var g record.Waiting
		if json.Unmarshal(value, &g) != nil || g.Version != record.Version || len(w.waiting) >= 2*MostWaiting {
			return
		}
		if now := w.waiting[g.Gateway]; now != nil {
			now.First, now.Times = g.First, now.Times+g.Times
			return
		}
		w.waiting[g.Gateway] = &g
		if w.decided != nil && w.decided(g.Gateway) {
			w.forget(g.Gateway)
		}
	case strings.HasPrefix(name, record.ShownPrefix):
		var r record.Shown
		if json.Unmarshal(value, &r) != nil || r.Version != record.Version {
			return
		}
		if r.Gateway != "" && w.decided != nil && !w.decided(r.Gateway) {
			w.dirty[key{gateway: r.Gateway}] = struct{}{}
			return
		}
		was := &shown{hash: r.Hash, used: seconds(r.Used), clear: seconds(r.Clear), last: seconds(r.Last)}
		now := w.shown[r.Gateway]
		switch {
		case now == nil:
			w.shown[r.Gateway] = was
		case now.hash == was.hash:
			now.used = was.used
			now.last = max(now.last, was.last)
			if was.clear != 0 {
				now.clear = was.clear
			}
		}
	}
}

// Flush writes what has changed, most records at once at most. The error is the first; what was not written is tried again
// the next time.
func (w *Witness) Flush(ctx context.Context, to Records, most int) error {
	w.mu.Lock()
	keys := make([]key, 0, min(most, len(w.dirty)))
	values := make([][]byte, 0, cap(keys))
	for k := range w.dirty {
		if len(keys) == most {
			break
		}
		keys, values = append(keys, k), append(values, w.value(k))
		delete(w.dirty, k)
	}
	w.mu.Unlock()
	for n, k := range keys {
		var err error
		if values[n] != nil {
			_, err = to.Put(ctx, k.String(), values[n])
		} else {
			err = to.Delete(ctx, k.String())
		}
		if err != nil {
			w.mu.Lock()
			for _, k := range keys[n:] {
				w.dirty[k] = struct{}{}
			}
			w.mu.Unlock()
			return fmt.Errorf("keep what is seen of senders: %w", err)
		}
	}
	return nil
}

// value returns a record; nil: there is none. The lock is held.
func (w *Witness) value(k key) []byte {
	if g := w.waiting[k.gateway]; k.waiting && g != nil {
		return encode(g)
	}
	if s := w.shown[k.gateway]; !k.waiting && s != nil {
		return encode(record.Shown{
			Version: record.Version, Gateway: k.gateway, Hash: s.hash, Used: unix(s.used), Clear: unix(s.clear), Last: unix(s.last),
		})
	}
	return nil
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		return nil // such records can always be written
	}
	return data
}

func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
