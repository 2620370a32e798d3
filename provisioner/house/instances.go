package house

import (
	"context"

	"berth/schema"
	"berth/schema/record"
)

// Restart asks for new instances of a provider. One that is stopped is a Conflict.
func (h *House) Restart(ctx context.Context, name string) (record.Provider, error) {
	p, _, err := h.Change(ctx, name, func(p *record.Provider) error {
		if p.Wanted == record.Stopped {
			return schema.Errorf(schema.Conflict, "%s is stopped", name).WithNext("provisioner start %s", name)
		}
		p.Restart++
		return nil
	})
	return p, err
}

// Stop asks that no instance of a provider runs until Start is called, and reports whether that is new.
func (h *House) Stop(ctx context.Context, name string) (record.Provider, bool, error) {
	return h.Change(ctx, name, func(p *record.Provider) error { p.Wanted = record.Stopped; return nil })
}

// Start asks that a provider's instances run again, and reports whether that is new.
func (h *House) Start(ctx context.Context, name string) (record.Provider, bool, error) {
	return h.Change(ctx, name, func(p *record.Provider) error { p.Wanted = record.Active; return nil })
}

// Keep takes note that the image which the given record has on trial for a role is healthy. One of another trial, or that
// is decided, stays as it is.
func (h *House) Keep(ctx context.Context, tried *record.Provider, role string) error {
	return h.decide(ctx, tried, role, record.Wish.Keep)
}

// Revert asks for the image before the one which the given record has on trial for a role. One of another trial, or that
// is decided, stays as it is.
func (h *House) Revert(ctx context.Context, tried *record.Provider, role, why string) error {
	return h.decide(ctx, tried, role, func(w record.Wish) record.Wish { return w.Revert(why, h.now().UTC()) })
}

func (h *House) decide(ctx context.Context, tried *record.Provider, role string, decision func(record.Wish) record.Wish) error {
	_, _, err := h.change(ctx, tried.Name, h.read, func(p *record.Provider) error {
		if w := p.Roles[role]; w.OnTrial(tried.Roles[role]) {
			p.SetRole(role, decision(w))
		}
		return nil
	})
	return err
}
