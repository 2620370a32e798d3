package house

import (
	"context"
	"encoding/json"
	"fmt"

	"berth/internal/credentials"
	"berth/internal/keyspace"
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
// removed with its data kept: then its keys and settings are what they were. One whose data were purged, and are gone,
// is made anew with another slot. Slots.Providers is filled in here.
func (h *House) Add(ctx context.Context, name string, slots plan.Slots, gone bool) (Added, error) {
	return h.AddPlaced(ctx, name, record.Own, slots, gone)
}

// AddPlaced is Add with a placement of the keyspace; one that is there, or is brought back, keeps its own.
func (h *House) AddPlaced(ctx context.Context, name string, placement record.Placement, slots plan.Slots, gone bool) (Added, error) {
	return h.AddAgreed(ctx, name, placement, slots, gone, nil)
}

// AddAgreed is AddPlaced if agree, which may be nil, has nothing against it. It is not asked when the provider is there.
func (h *House) AddAgreed(ctx context.Context, name string, placement record.Placement, slots plan.Slots, gone bool, agree Agree) (Added, error) {
	if err := schema.CheckProvider(name); err != nil {
		return Added{}, err
	}
	h.naming.Lock()
	defer h.naming.Unlock()
	all, err := h.Providers(ctx)
	if err != nil {
		return Added{}, err
	}
	slots.Providers, slots.Now = all, h.now()
	var old *record.Provider
	for i := range all {
		if all[i].Name == name {
			old = &all[i]
		}
	}
	switch {
	case old == nil:
	case placement == record.Shared && old.Placement != placement && !old.Purge:
		return Added{}, schema.Errorf(schema.Conflict, "provider %s has a keyspace of its own", name).
			WithNext("a placement is chosen once: remove it with its data first, or add it without --placement")
	case old.Wanted != record.Removed:
		return Added{Provider: *old}, nil
	case old.Purge && !gone:
		return Added{}, schema.Errorf(schema.Conflict, "provider %s is still being removed with its data", name).
			WithNext("add it again in a moment; see what it waits for: provisioner show %s", name)
	}
	slot, skipped, err := slots.Lowest(name)
	if err != nil {
		return Added{}, err
	}
	added := Added{Changed: true, Restored: old != nil && !old.Purge, Skipped: skipped}
	fresh := func(p *record.Provider) error {
		if added.Restored {
			before := *p
			p.Wanted, p.Slot, p.Removed = record.Active, slot, noTime
			return agreed(agree, &before, p)
		}
		var freed []record.Freed
		if old != nil {
			freed = plan.Freed(p, slots.Now)
		}
		var err error
		if *p, err = h.newProvider(name, placement, slot); err != nil {
			return err
		}
		p.Freed = freed
		return agreed(agree, nil, p)
	}
	if !added.Restored { // what was left of an earlier one of the name is nothing of this one
		if err := h.DropRecords(ctx, name); err != nil {
			return Added{}, err
		}
	}
	if old == nil {
		added.Provider, err = h.create(ctx, name, fresh)
		return added, err
	}
	added.Provider, _, err = h.change(ctx, name, h.read, fresh)
	return added, err
}

func agreed(agree Agree, before, after *record.Provider) error {
	if agree == nil {
		return nil
	}
	return agree(before, after)
}

// create writes the record of a new provider.
func (h *House) create(ctx context.Context, name string, fresh func(p *record.Provider) error) (p record.Provider, err error) {
	if err := fresh(&p); err != nil {
		return p, err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return p, fmt.Errorf("write the record of %s: %w", name, err)
	}
	_, err = h.providers.Create(ctx, name, data)
	return p, err
}

func (h *House) newProvider(name string, placement record.Placement, slot schema.Slot) (record.Provider, error) {
	key := credentials.NewKey("bk_")
	sealed, err := credentials.Seal(h.secret, []byte(key))
	if err != nil {
		return record.Provider{}, fmt.Errorf("seal the enrolment key of %s: %w", name, err)
	}
	password, err := h.newPassword(name)
	if err != nil {
		return record.Provider{}, err
	}
	created, space := h.now().UTC(), name
	if placement == record.Shared {
		space = keyspace.Shared(name, created)
	}
	return record.Provider{
		Version: record.Version, Name: name, Slot: slot, Keyspace: space, Placement: placement, Created: created, Wanted: record.Active,
		Settings: record.DefaultSettings(), EnrolmentHash: credentials.Hash(key), EnrolmentSealed: sealed,
		ReportsToken: credentials.NewKey("rt_"), KeyspaceSealed: password,
	}, nil
}

// Remove asks for a provider's removal, with its data if purge is set, and reports whether that is new. One that was
// removed with its data kept may be purged later.
func (h *House) Remove(ctx context.Context, name string, purge bool) (record.Provider, bool, error) {
	h.naming.Lock()
	defer h.naming.Unlock()
	return h.change(ctx, name, h.read, func(p *record.Provider) error {
		p.Purge = p.Purge || purge
		return h.apply(p, ActRemove)
	})
}

// Forget drops the record of a provider whose data were purged, or finds it gone. One that was added again stays.
func (h *House) Forget(ctx context.Context, name string) error {
	h.naming.Lock()
	defer h.naming.Unlock()
	p, _, err := h.read(ctx, name)
	switch {
	case schema.Is(err, schema.NotFound):
		return nil
	case err != nil:
		return err
	case p.Wanted != record.Removed || !p.Purge:
		return nil
	}
	return h.providers.Delete(ctx, name)
}
