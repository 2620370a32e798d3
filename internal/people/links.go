package people

import (
	"context"
	"encoding/json"

	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// mostSecret bounds what is looked up as a secret, in bytes.
const mostSecret = 200

// NewLink keeps a one-time link and returns its secret, which cannot be shown again. Links that have expired are removed.
func (b *Book) NewLink(ctx context.Context, l record.Link) (secret string, err error) {
	if err := drop(ctx, b.links, func(l record.Link) bool { return b.now().After(l.Expires) }); err != nil {
		return "", err
	}
	secret = credentials.NewKey("ln_")
	l.Version, l.Created = record.Version, b.now().UTC()
	l.Expires = l.Created.Add(LinkLife)
	return secret, put(ctx, b.links, credentials.Hash(secret), l)
}

// Find returns a link that has not expired and the revision of its record, or Unauthorized.
func (b *Book) Find(ctx context.Context, secret string) (record.Link, uint64, error) {
	var l record.Link
	spent := schema.Errorf(schema.Unauthorized, "the link is unknown, was used, or has expired")
	if secret == "" || len(secret) > mostSecret {
		return l, 0, spent
	}
	value, revision, err := b.links.Get(ctx, credentials.Hash(secret))
	if schema.Is(err, schema.NotFound) {
		return l, 0, spent
	}
	if err != nil {
		return l, 0, err
	}
	if json.Unmarshal(value, &l) != nil || !b.now().Before(l.Expires) {
		return l, 0, spent
	}
	return l, revision, nil
}

// Spend uses up the link whose record has the revision, or returns Unauthorized when somebody else did so first.
func (b *Book) Spend(ctx context.Context, secret string, revision uint64) error {
	key := credentials.Hash(secret)
	// The revision decides who was first; an empty record has expired. Deleting alone could not tell.
	_, err := b.links.Update(ctx, key, []byte("{}"), revision)
	if schema.Is(err, schema.Conflict) || schema.Is(err, schema.NotFound) {
		return schema.Errorf(schema.Unauthorized, "the link was used meanwhile")
	}
	if err != nil {
		return err
	}
	_ = b.links.Delete(ctx, key) // what stays of it opens nothing, and goes when the next is made
	return nil
}
