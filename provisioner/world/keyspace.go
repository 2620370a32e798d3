package world

import (
	"context"

	"berth/internal/keyspace"
	"berth/schema/record"
)

// createKeyspace makes a provider's keyspace, and lets its instances in.
func (w *World) createKeyspace(ctx context.Context, p *record.Provider) error {
	if err := w.o.Backend.Create(ctx, p.Keyspace); err != nil {
		return err
	}
	isolating, ok := w.o.Backend.(keyspace.Isolating)
	if !ok || len(p.KeyspaceSealed) == 0 {
		return nil
	}
	password, err := w.o.House.Password(p)
	if err != nil {
		return err
	}
	return isolating.Grant(ctx, p.Keyspace, password)
}

// access returns the URL with which a provider's instances reach its keyspace, and the secret files that they need for it.
func (w *World) access(p *record.Provider) (url string, files map[string][]byte, err error) {
	isolating, ok := w.o.Backend.(keyspace.Isolating)
	if !ok || len(p.KeyspaceSealed) == 0 {
		return w.seen(w.o.Keyspaces), nil, nil
	}
	password, err := w.o.House.Password(p)
	if err != nil {
		return "", nil, err
	}
	url, files, err = isolating.Access(p.Keyspace, password)
	return w.seen(url), files, err
}

// seen returns what a URL of keyspaces is for instances.
func (w *World) seen(url string) string {
	if w.o.Seen == nil {
		return url
	}
	return w.o.Seen(url)
}
