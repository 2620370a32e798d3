package house

import (
	"context"

	"berth/schema"
	"berth/schema/record"
)

// Act is what somebody wants to become of a provider that is there.
type Act string

// The acts.
const (
	ActRestart Act = "restart" // new instances; of one that is stopped it is a Conflict
	ActStop    Act = "stop"    // no instance runs until it is started
	ActStart   Act = "start"
	ActRemove  Act = "remove" // its data are kept
)

// Agree is told what a change makes of a record before it is written, and again when somebody else has changed the record
// meanwhile. Its error is what comes of the change. before is nil when there is no such record, or nothing is left of what
// it was.
type Agree func(before, after *record.Provider) error

// Do does an act, if agree, which may be nil, has nothing against it, and reports whether that is new.
func (h *House) Do(ctx context.Context, name string, act Act, agree Agree) (record.Provider, bool, error) {
	read := h.active
	if act == ActRemove {
		h.naming.Lock()
		defer h.naming.Unlock()
		read = h.read
	}
	return h.change(ctx, name, read, func(p *record.Provider) error {
		before := *p
		if err := h.apply(p, act); err != nil || agree == nil {
			return err
		}
		return agree(&before, p)
	})
}

// apply makes a record say that an act is wanted.
func (h *House) apply(p *record.Provider, act Act) error {
	switch {
	case act == ActRestart && p.Wanted == record.Stopped:
		return schema.Errorf(schema.Conflict, "%s is stopped", p.Name).WithNext("provisioner start %s", p.Name)
	case act == ActRestart:
		p.Restart++
	case act == ActStop:
		p.Wanted = record.Stopped
	case act == ActStart:
		p.Wanted = record.Active
	case act == ActRemove && p.Wanted != record.Removed:
		p.Wanted, p.Removed = record.Removed, h.now().UTC()
	case act != ActRemove:
		return schema.Errorf(schema.Invalid, "%q cannot be done to a provider", string(act))
	}
	return nil
}

// Restart asks for new instances of a provider. One that is stopped is a Conflict.
func (h *House) Restart(ctx context.Context, name string) (record.Provider, error) {
	p, _, err := h.Do(ctx, name, ActRestart, nil)
	return p, err
}

// Stop asks that no instance of a provider runs until Start is called, and reports whether that is new.
func (h *House) Stop(ctx context.Context, name string) (record.Provider, bool, error) {
	return h.Do(ctx, name, ActStop, nil)
}

// Start asks that a provider's instances run again, and reports whether that is new.
func (h *House) Start(ctx context.Context, name string) (record.Provider, bool, error) {
	return h.Do(ctx, name, ActStart, nil)
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
