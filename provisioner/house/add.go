package house

import (
	"context"
	"encoding/json"
	"fmt"

	"berth/internal/credentials"
	"berth/provisioner/plan"
	"berth/schema"
	"berth/schema/record"
)

// Added is what came of adding a provider.
type Added struct {
	Provider record.Provider
	Changed  bool     // false: it was there
	Restored bool     // it had been removed, and its data kept
	Skipped  []string // ports that were not given, and why
}

// Add makes a provider's record with the lowest slot that may be given, or finds it, or brings back one that was
// removed with its data kept: then its keys and settings are what they were. Slots.Providers is filled in here.
func (h *House) Add(ctx context.Context, name string, slots plan.Slots) (Added, error) {
	if err := schema.CheckProvider(name); err != nil {
		return Added{}, err
	}
	h.adding.Lock()
	defer h.adding.Unlock()
	all, err := h.Providers(ctx)
	if err != nil {
		return Added{}, err
	}
	slots.Providers, slots.Now = all, h.now()
	for i := range all {
		switch p := &all[i]; {
		case p.Name != name:
		case p.Wanted == record.Active:
			return Added{Provider: *p}, nil
		case p.Purge:
			return Added{}, schema.Errorf(schema.Conflict, "provider %s is being removed with its data, and its slot %d rests until %s",
				name, p.Slot, plan.RestsUntil(p).Local().Format("15:04:05")).WithNext("choose another name, or wait: provisioner ls --all")
		}
	}
	slot, skipped, err := slots.Lowest(name)
	if err != nil {
		return Added{}, err
	}
	p, changed, err := h.change(ctx, name, h.read, func(p *record.Provider) error {
		p.Wanted, p.Slot, p.Removed = record.Active, slot, noTime
		return nil
	})
	if !schema.Is(err, schema.NotFound) {
		return Added{Provider: p, Changed: changed, Restored: changed, Skipped: skipped}, err
	}
	if p, err = h.newProvider(name, slot); err != nil {
		return Added{}, err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return Added{}, fmt.Errorf("write the record of %s: %w", name, err)
	}
	if _, err := h.providers.Create(ctx, name, data); err != nil {
		return Added{}, err
	}
	return Added{Provider: p, Changed: true, Skipped: skipped}, nil
}

func (h *House) newProvider(name string, slot schema.Slot) (record.Provider, error) {
	key := credentials.NewKey("bk_")
	sealed, err := credentials.Seal(h.secret, []byte(key))
	if err != nil {
		return record.Provider{}, fmt.Errorf("seal the enrolment key of %s: %w", name, err)
	}
	return record.Provider{
		Version: record.Version, Name: name, Slot: slot, Keyspace: name, Created: h.now().UTC(), Wanted: record.Active,
		Settings: record.DefaultSettings(), EnrolmentHash: credentials.Hash(key), EnrolmentSealed: sealed,
		ReportsToken: credentials.NewKey("rt_"),
	}, nil
}

// Remove asks for a provider's removal, with its data if purge is set, and reports whether that is new. One that was
// removed with its data kept may be purged later.
func (h *House) Remove(ctx context.Context, name string, purge bool) (record.Provider, bool, error) {
	return h.change(ctx, name, h.read, func(p *record.Provider) error {
		if p.Wanted != record.Removed {
			p.Wanted, p.Removed = record.Removed, h.now().UTC()
		}
		p.Purge = p.Purge || purge
		return nil
	})
}

// Forget drops the record of a provider whose data are gone, or finds it gone.
func (h *House) Forget(ctx context.Context, name string) error { return h.providers.Delete(ctx, name) }
