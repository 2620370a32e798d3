package house

import (
	"context"
	"fmt"

	"berth/internal/credentials"
	"berth/schema/record"
)

// newPassword returns a new password of a provider's role in the keyspaces' cluster, sealed.
func (h *House) newPassword(name string) ([]byte, error) {
	sealed, err := credentials.Seal(h.secret, []byte(credentials.NewKey("")))
	if err != nil {
		return nil, fmt.Errorf("seal the keyspace's password of %s: %w", name, err)
	}
	return sealed, nil
}

// RotatePassword gives a provider's role another password; its instances are started anew with it.
func (h *House) RotatePassword(ctx context.Context, name string) (record.Provider, error) {
	sealed, err := h.newPassword(name)
	if err != nil {
		return record.Provider{}, err
	}
	p, _, err := h.Change(ctx, name, func(p *record.Provider) error { p.KeyspaceSealed = sealed; return nil })
	return p, err
}

// Password returns the password of a provider's role in clear.
func (h *House) Password(p *record.Provider) (string, error) {
	password, err := credentials.Open(h.secret, p.KeyspaceSealed)
	if err != nil {
		return "", fmt.Errorf("open the keyspace's password of %s: %w", p.Name, err)
	}
	return string(password), nil
}

// Complete gives records of an earlier release what they lack.
func (h *House) Complete(ctx context.Context) error {
	all, err := h.Providers(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		if all[i].KeyspaceSealed != nil {
			continue
		}
		sealed, err := h.newPassword(all[i].Name)
		if err != nil {
			return err
		}
		_, _, err = h.change(ctx, all[i].Name, h.read, func(p *record.Provider) error {
			if p.KeyspaceSealed == nil {
				p.KeyspaceSealed = sealed
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
