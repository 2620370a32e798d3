// Package meter writes down what providers use: twice a minute how the running totals of each stand, in the record of the
// day. The totals themselves ride in the provider's log, so that a kill of anything loses nothing: a day that was not
// looked at is in the next one that is. When a log is given up (set --drop-log), what it had counted until the last look
// stays. What was used is read by internal/usage.
//
// Its one invariant: a day begins where the one before it ended.
package meter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"berth/internal/bus"
	"berth/schema"
	"berth/schema/record"
)

const (
	every   = 30 * time.Second
	keptFor = 800 * 24 * time.Hour
)

// Now is how a provider's totals stand.
type Now struct {
	Provider string
	Of       time.Time // when it was made
	Used     record.Used
	Instance string // whose running total Used.Bytes are: another's begin anew
	Gateways uint64
	Storage  uint64
}

// Options are what a Meter leans on. All are needed but Now.
type Options struct {
	Bucket *bus.Bucket
	Look   func(ctx context.Context) ([]Now, error) // those that answer
	Logger *slog.Logger
	Now    func() time.Time
}

// Meter writes down what is used.
type Meter struct{ o Options }

// New returns a Meter that does nothing yet.
func New(o Options) *Meter {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Meter{o}
}

// Run writes down what is used until ctx ends.
func (m *Meter) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := false
	for {
		err := m.Step(ctx)
		if err != nil && ctx.Err() == nil && !said {
			m.o.Logger.Warn("what providers use cannot be written down; it is tried again, and nothing is lost", "error", err)
		}
		said = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Step looks once.
func (m *Meter) Step(ctx context.Context) error {
	all, err := m.o.Look(ctx)
	if err != nil {
		return err
	}
	kept, err := m.o.Bucket.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for i := range all {
		if err := m.write(ctx, &all[i], kept); err != nil {
			errs = append(errs, fmt.Errorf("write down what %s uses: %w", all[i].Provider, err))
		}
	}
	return errors.Join(append(errs, m.forget(ctx, kept))...)
}

func prefix(n *Now) string { return fmt.Sprintf("%s.%d.", n.Provider, n.Of.Unix()) }

// write writes down one provider's day. Conflict is another daemon that does so: it has looked as well.
func (m *Meter) write(ctx context.Context, n *Now, kept map[string]bus.Entry) error {
	now := m.o.Now().UTC()
	day := now.Format(time.DateOnly)
	last, revision, err := newest(prefix(n), kept)
	if err != nil {
		return err
	}
	if last != nil && last.Day > day {
		return nil // the clock was set back: the day that was begun goes on when it comes
	}
	u := last
	if last == nil || last.Day < day {
		u = begin(last, n, now)
		u.Day, revision = day, 0
	}
	before := seen(u)
	if u.Instance != n.Instance {
		before.Bytes = 0
	}
	since := n.Used.Since(&before)
	u.At, u.End, u.Gateways, u.Storage, u.Most = now, u.End.Plus(&since), n.Gateways, n.Storage, max(u.Most, n.Storage)
	u.Instance, u.Sent, u.Seen = n.Instance, n.Used.Bytes, &n.Used
	value, err := json.Marshal(u)
	if err != nil {
		return err
	}
	if revision == 0 {
		_, err = m.o.Bucket.Create(ctx, prefix(n)+day, value)
	} else {
		_, err = m.o.Bucket.Update(ctx, prefix(n)+day, value, revision)
	}
	if schema.Is(err, schema.Conflict) {
		return nil
	}
	return err
}

// seen returns how a provider's totals stood when they were last looked at.
func seen(u *record.Usage) record.Used {
	if u.Seen != nil {
		return *u.Seen
	}
	before := u.End
	before.Bytes = u.Sent
	return before
}

// newest returns the last day of a provider; nil when it has none.
func newest(prefix string, kept map[string]bus.Entry) (last *record.Usage, revision uint64, err error) {
	at := ""
	for key := range kept {
		if strings.HasPrefix(key, prefix) && key > at {
			at = key
		}
	}
	if at == "" {
		return nil, 0, nil
	}
	last = &record.Usage{}
	if err := json.Unmarshal(kept[at].Value, last); err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", at, err)
	}
	return last, kept[at].Revision, nil
}

// begin begins a day where the last one ended. The first begins with the provider; one that was there before anybody looked
// begins now.
func begin(last *record.Usage, n *Now, now time.Time) *record.Usage {
	u := &record.Usage{Version: record.Version, Provider: n.Provider, Of: n.Of}
	switch {
	case last != nil:
		u.From, u.Begin, u.End, u.Instance, u.Sent, u.Seen = last.At, last.End, last.End, last.Instance, last.Sent, last.Seen
	case now.Sub(n.Of) < 24*time.Hour:
		u.From = n.Of.UTC()
	default:
		u.From, u.Begin = now, n.Used
		u.Begin.Bytes = 0
		u.End, u.Instance, u.Sent = u.Begin, n.Instance, n.Used.Bytes
	}
	return u
}

// forget removes days that are no longer kept.
func (m *Meter) forget(ctx context.Context, kept map[string]bus.Entry) error {
	oldest := m.o.Now().UTC().Add(-keptFor).Format(time.DateOnly)
	for key := range kept {
		if day := key[strings.LastIndexByte(key, '.')+1:]; day < oldest {
			if err := m.o.Bucket.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}
