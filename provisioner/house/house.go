// Package house keeps the house's records (providers, sign-in links, API tokens) and the records of a provider's own
// account that a person may change (keys of gateways). It says what is wanted; provisioner/loop makes it so.
//
// Its one invariant: every change of a record is checked against the revision that was read, so that no change is lost.
package house

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"berth/internal/audit"
	"berth/internal/bus"
	"berth/internal/credentials"
	"berth/internal/people"
	"berth/schema"
	"berth/schema/record"
)

// tries bounds how often a change is made anew after somebody else changed the record.
const tries = 10

// House is the house's records. Its methods may be called concurrently.
type House struct {
	*people.Book // who may do what

	providers, services *bus.Bucket
	reports             []*bus.Bucket // scheduled ones, their runs and what these made; web writes them

	audit  *audit.Log
	secret []byte // seals enrolment keys
	now    func() time.Time

	naming sync.Mutex // held while a provider is added, removed or forgotten
}

// Open opens the house's buckets, and makes them at the first start.
func Open(ctx context.Context, conn *bus.Conn, secret []byte) (*House, error) {
	if err := conn.PrepareHouse(ctx); err != nil {
		return nil, fmt.Errorf("prepare the house's records: %w", err)
	}
	h := &House{secret: secret, now: time.Now, audit: audit.New(conn)}
	var err error
	if h.Book, err = people.Open(ctx, conn, h.now); err != nil {
		return nil, err
	}
	for name, b := range map[string]**bus.Bucket{"providers": &h.providers, "services": &h.services} {
		bucket, err := conn.Bucket(ctx, bus.BucketOptions{Name: name})
		if err != nil {
			return nil, fmt.Errorf("open the house's records: %w", err)
		}
		*b = bucket
	}
	for _, name := range []string{"schedules", "runs", "runfiles"} {
		bucket, err := conn.Bucket(ctx, bus.BucketOptions{Name: name})
		if err != nil {
			return nil, fmt.Errorf("open the house's records: %w", err)
		}
		h.reports = append(h.reports, bucket)
	}
	return h, nil
}

// DropRecords drops all records of a provider in the house but its own: what opens something of it, and scheduled reports with
// the files that they made. What it used stays, for whoever bills it, and so does who changed what.
func (h *House) DropRecords(ctx context.Context, name string) error {
	if err := h.DropKeys(ctx, name); err != nil {
		return err
	}
	for _, b := range h.reports {
		if err := b.DeleteBelow(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Audit returns the log of who changed what.
func (h *House) Audit() *audit.Log { return h.audit }

// Services returns the bucket into which services are mirrored.
func (h *House) Services() *bus.Bucket { return h.services }

// Providers returns all providers' records, in order of their names.
func (h *House) Providers(ctx context.Context) ([]record.Provider, error) {
	all, err := h.providers.List(ctx)
	if err != nil {
		return nil, err
	}
	return decodeProviders(all)
}

// Watch calls set with all providers' records at first and after each change, until ctx ends. A record that cannot be
// read is told to bad, and the change is skipped.
func (h *House) Watch(ctx context.Context, set func([]record.Provider), bad func(error)) error {
	return h.providers.Watch(ctx, func(all map[string]bus.Entry) {
		providers, err := decodeProviders(all)
		if err != nil {
			bad(err)
			return
		}
		set(providers)
	})
}

func decodeProviders(all map[string]bus.Entry) ([]record.Provider, error) {
	var out []record.Provider
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := record.Provider{Settings: record.DefaultSettings()} // what it does not name yet
		if err := decode("provider "+name, all[name].Value, &p); err != nil {
			return nil, err
		}
		if p.Version < 1 || p.Version > record.ProviderVersion {
			return nil, schema.Errorf(schema.Invalid, "the record of %s has version %d, not 1 to %d", name, p.Version, record.ProviderVersion).
				WithNext("run the release that wrote it")
		}
		out = append(out, p)
	}
	return out, nil
}

// Provider returns a provider's record, or NotFound.
func (h *House) Provider(ctx context.Context, name string) (record.Provider, error) {
	p, _, err := h.read(ctx, name)
	return p, err
}

func (h *House) read(ctx context.Context, name string) (record.Provider, uint64, error) {
	if err := schema.CheckProvider(name); err != nil {
		return record.Provider{}, 0, err
	}
	value, revision, err := h.providers.Get(ctx, name)
	if schema.Is(err, schema.NotFound) {
		return record.Provider{}, 0, schema.Errorf(schema.NotFound, "there is no provider %s", name).
			WithNext("provisioner ls shows all, provisioner add %s makes it", name)
	}
	if err != nil {
		return record.Provider{}, 0, err
	}
	all, err := decodeProviders(map[string]bus.Entry{name: {Value: value}})
	if err != nil {
		return record.Provider{}, 0, err
	}
	return all[0], revision, nil
}

// active returns the record of a provider that is not removed, though it may be stopped, or NotFound.
func (h *House) active(ctx context.Context, name string) (record.Provider, uint64, error) {
	p, revision, err := h.read(ctx, name)
	if err == nil && p.Wanted == record.Removed {
		err = schema.Errorf(schema.NotFound, "provider %s is removed", name).WithNext("provisioner add %s brings it back", name)
	}
	return p, revision, err
}

// Active returns the record of a provider that is not removed, though it may be stopped, or NotFound.
func (h *House) Active(ctx context.Context, name string) (record.Provider, error) {
	p, _, err := h.active(ctx, name)
	return p, err
}

// Change changes the record of a provider that is not removed by fn, and reports whether there was something to change. When somebody
// else changes it at the same time, fn is called again on what they wrote.
func (h *House) Change(ctx context.Context, name string, fn func(p *record.Provider) error) (record.Provider, bool, error) {
	return h.change(ctx, name, h.active, fn)
}

type reader func(ctx context.Context, name string) (record.Provider, uint64, error)

func (h *House) change(ctx context.Context, name string, read reader, fn func(p *record.Provider) error) (record.Provider, bool, error) {
	for try := 0; ; try++ {
		p, revision, err := read(ctx, name)
		if err != nil {
			return p, false, err
		}
		before, err := json.Marshal(p)
		if err != nil {
			return p, false, fmt.Errorf("write the record of %s: %w", name, err)
		}
		if err := fn(&p); err != nil {
			return p, false, err
		}
		p.Stamp()
		after, err := json.Marshal(p)
		if err != nil {
			return p, false, fmt.Errorf("write the record of %s: %w", name, err)
		}
		if string(before) == string(after) {
			return p, false, nil
		}
		if _, err = h.providers.Update(ctx, name, after, revision); err == nil {
			return p, true, nil
		}
		if !schema.Is(err, schema.Conflict) || try == tries {
			return p, false, err
		}
	}
}

// SetAccount takes note of a provider's NATS account.
func (h *House) SetAccount(ctx context.Context, name, account string) error {
	_, _, err := h.Change(ctx, name, func(p *record.Provider) error { p.Account = account; return nil })
	return err
}

// EnrolmentKey returns a provider's enrolment key in clear.
func (h *House) EnrolmentKey(p *record.Provider) (string, error) {
	key, err := credentials.Open(h.secret, p.EnrolmentSealed)
	if err != nil {
		return "", fmt.Errorf("open the enrolment key of %s: %w", p.Name, err)
	}
	return string(key), nil
}

// decode reads a record's JSON.
func decode(what string, data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read the record of %s: %w", what, err)
	}
	return nil
}
