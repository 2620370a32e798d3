package people

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// MostShares is how many reports a provider may share at a time.
const MostShares = 200

// NewShare keeps a shared report and returns its secret, which cannot be shown again. Those that have expired are removed.
func (b *Book) NewShare(ctx context.Context, s *record.Share) (secret string, err error) {
	s.Version, s.ID, s.Created = record.Version, credentials.NewKey("")[:12], b.now().UTC()
	if err := s.Validate(); err != nil {
		return "", err
	}
	if err := drop(ctx, b.shares, func(other record.Share) bool { return other.Over(s.Created) }); err != nil {
		return "", err
	}
	all, err := b.Shares(ctx, s.Provider, s.Of)
	if err != nil {
		return "", err
	}
	if len(all) >= MostShares {
		return "", schema.Errorf(schema.Limited, "%s shares %d reports already", s.Provider, len(all)).WithNext("revoke some first")
	}
	secret = credentials.NewKey("rl_")
	return secret, put(ctx, b.shares, credentials.Hash(secret), s)
}

// Shares returns the shared reports that have not expired, without their secrets, of the provider that was made then, the
// newest first.
func (b *Book) Shares(ctx context.Context, provider string, made time.Time) ([]record.Share, error) {
	all, err := b.shares.List(ctx)
	if err != nil {
		return nil, err
	}
	out := []record.Share{}
	for _, e := range all {
		var s record.Share
		if err := decode("a shared report", e.Value, &s); err != nil {
			return nil, err
		}
		if s.Provider == provider && s.Of.Equal(made) && !s.Over(b.now()) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b record.Share) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// Share returns what is shared under a secret, or NotFound: it is unknown, was revoked or has expired, and nobody is told
// which.
func (b *Book) Share(ctx context.Context, secret string) (*record.Share, error) {
	none := schema.Errorf(schema.NotFound, "nothing is shared by this link any more").WithNext("ask for a new one whoever gave it to you")
	if secret == "" || len(secret) > mostSecret {
		return nil, none
	}
	value, _, err := b.shares.Get(ctx, credentials.Hash(secret))
	if schema.Is(err, schema.NotFound) {
		return nil, none
	}
	if err != nil {
		return nil, err
	}
	s := &record.Share{}
	if json.Unmarshal(value, s) != nil || s.Over(b.now()) {
		return nil, none
	}
	return s, nil
}

// RevokeShare ends the sharing of the provider's report with that ID, or returns NotFound.
func (b *Book) RevokeShare(ctx context.Context, provider, id string) error {
	all, err := b.shares.List(ctx)
	if err != nil {
		return err
	}
	for key, e := range all {
		var s record.Share
		if decode("a shared report", e.Value, &s) == nil && s.Provider == provider && s.ID == id {
			return b.shares.Delete(ctx, key)
		}
	}
	return schema.Errorf(schema.NotFound, "%s shares no report %q", provider, id)
}
