package house

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/bus"
	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

var noTime time.Time

// OperatorLink makes a one-time sign-in link for whoever runs the installation and returns its secret.
func (h *House) OperatorLink(ctx context.Context) (string, error) {
	return h.link(ctx, record.Link{Role: record.Operator})
}

// AdminLink makes a one-time sign-in link for a provider's admin and returns its secret.
func (h *House) AdminLink(ctx context.Context, provider string) (string, error) {
	if _, err := h.Active(ctx, provider); err != nil {
		return "", err
	}
	return h.link(ctx, record.Link{Role: record.Admin, Provider: provider})
}

func (h *House) link(ctx context.Context, l record.Link) (string, error) {
	if err := h.dropLinks(ctx, func(l record.Link) bool { return h.now().After(l.Expires) }); err != nil {
		return "", err
	}
	secret := credentials.NewKey("ln_")
	l.Version, l.Created = record.Version, h.now().UTC()
	l.Expires = l.Created.Add(LinkLife)
	return secret, put(ctx, h.links, credentials.Hash(secret), l)
}

// dropLinks removes the links that bad reports.
func (h *House) dropLinks(ctx context.Context, bad func(record.Link) bool) error {
	all, err := h.links.List(ctx)
	if err != nil {
		return err
	}
	for key, e := range all {
		var l record.Link
		if decode("a link", e.Value, &l) == nil && !bad(l) {
			continue
		}
		if err := h.links.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// NewToken makes an API token of a provider and returns its secret, which cannot be shown again.
func (h *House) NewToken(ctx context.Context, provider, name string) (string, error) {
	if _, err := h.Active(ctx, provider); err != nil {
		return "", err
	}
	if name == "" || len(name) > 64 || strings.TrimSpace(name) != name {
		return "", schema.Errorf(schema.Invalid, "%q is no token name: 1 to 64 characters without white space at its ends", name)
	}
	tokens, err := h.Tokens(ctx, provider)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(tokens, func(t record.Token) bool { return t.Name == name }) {
		return "", schema.Errorf(schema.Conflict, "%s has a token named %s already", provider, name).
			WithNext("give another --name, or revoke it: provisioner token revoke %s %s", provider, name)
	}
	secret := credentials.NewKey("bt_")
	return secret, put(ctx, h.tokens, credentials.Hash(secret), record.Token{
		Version: record.Version, Provider: provider, Name: name, Created: h.now().UTC(),
	})
}

// Tokens returns a provider's API tokens, without their secrets, in order of names.
func (h *House) Tokens(ctx context.Context, provider string) ([]record.Token, error) {
	byHash, err := h.tokensOf(ctx, provider)
	if err != nil {
		return nil, err
	}
	var tokens []record.Token
	for _, t := range byHash {
		tokens = append(tokens, t)
	}
	slices.SortFunc(tokens, func(a, b record.Token) int { return cmp.Compare(a.Name, b.Name) })
	return tokens, nil
}

func (h *House) tokensOf(ctx context.Context, provider string) (map[string]record.Token, error) {
	all, err := h.tokens.List(ctx)
	if err != nil {
		return nil, err
	}
	tokens := map[string]record.Token{}
	for key, e := range all {
		var t record.Token
		if err := decode("a token", e.Value, &t); err != nil {
			return nil, err
		}
		if t.Provider == provider {
			tokens[key] = t
		}
	}
	return tokens, nil
}

// RevokeToken ends the provider's API token of that name, or returns NotFound.
func (h *House) RevokeToken(ctx context.Context, provider, name string) error {
	byHash, err := h.tokensOf(ctx, provider)
	if err != nil {
		return err
	}
	for key, t := range byHash {
		if t.Name == name {
			return h.tokens.Delete(ctx, key)
		}
	}
	return schema.Errorf(schema.NotFound, "%s has no token named %s", provider, name).WithNext("provisioner token ls %s", provider)
}

// DropKeys ends all tokens and links of a provider.
func (h *House) DropKeys(ctx context.Context, provider string) error {
	byHash, err := h.tokensOf(ctx, provider)
	if err != nil {
		return err
	}
	for key := range byHash {
		if err := h.tokens.Delete(ctx, key); err != nil {
			return err
		}
	}
	return h.dropLinks(ctx, func(l record.Link) bool { return l.Provider == provider })
}

// Gateways are the keys of single gateways, in a provider's own account.
type Gateways struct {
	provider string
	bucket   *bus.Bucket // pipeline
	now      func() time.Time
}

// KeyChange is what came of a change of a gateway's key.
type KeyChange struct {
	Key      string // in clear; empty: no new one was made
	Record   record.GatewayKey
	Revision uint64 // of the record
	Changed  bool
}

// Gateways returns the keys of gateways that a provider's bucket "pipeline" holds.
func (h *House) Gateways(provider string, pipeline *bus.Bucket) Gateways {
	return Gateways{provider: provider, bucket: pipeline, now: h.now}
}

func gatewayKey(gateway string) string { return "gateway." + credentials.Hash(gateway) }

// List returns the keys of all gateways, in order of the gateways' names.
func (g Gateways) List(ctx context.Context) ([]record.GatewayKey, error) {
	all, err := g.bucket.List(ctx)
	if err != nil {
		return nil, err
	}
	var keys []record.GatewayKey
	for key, e := range all {
		if !strings.HasPrefix(key, "gateway.") {
			continue
		}
		var k record.GatewayKey
		if err := decode("a gateway's key", e.Value, &k); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b record.GatewayKey) int { return cmp.Compare(a.Gateway, b.Gateway) })
	return keys, nil
}

// Add gives a gateway a key of its own; it cannot be shown again. For one that has a key nothing is changed, unless that
// was revoked. Whether a gateway is a relay is changed only with its key.
func (g Gateways) Add(ctx context.Context, gateway string, relay bool) (KeyChange, error) {
	if err := schema.CheckGateway(gateway); err != nil {
		return KeyChange{}, err
	}
	old, revision, err := g.get(ctx, gateway)
	switch {
	case schema.Is(err, schema.NotFound):
		return g.fresh(ctx, gateway, relay, 0)
	case err != nil:
		return KeyChange{}, err
	case old.Revoked.IsZero() && old.Relay != relay:
		return KeyChange{}, schema.Errorf(schema.Conflict, "gateway %s has a key already, with relay %v", gateway, old.Relay).
			WithNext("revoke it first: provisioner gateway revoke %s %s, then add it again", g.provider, gateway)
	case old.Revoked.IsZero():
		return KeyChange{Record: old, Revision: revision}, nil
	}
	return g.fresh(ctx, gateway, relay, revision)
}

// Rotate gives a gateway a new key in place of the one it has; the old one is refused within a second. A gateway that is
// shut out stays so: that is a Conflict.
func (g Gateways) Rotate(ctx context.Context, gateway string) (KeyChange, error) {
	old, revision, err := g.get(ctx, gateway)
	switch {
	case err != nil:
		return KeyChange{}, err
	case !old.Revoked.IsZero():
		return KeyChange{}, schema.Errorf(schema.Conflict, "gateway %s was revoked at %s", gateway, old.Revoked.Format(time.RFC3339)).
			WithNext("to let it in again: provisioner gateway add %s %s", g.provider, gateway)
	}
	return g.fresh(ctx, gateway, old.Relay, revision)
}

// Revoke shuts a gateway out: neither its own key nor the enrolment key opens the port for it.
func (g Gateways) Revoke(ctx context.Context, gateway string) (KeyChange, error) {
	if err := schema.CheckGateway(gateway); err != nil {
		return KeyChange{}, err
	}
	k, revision, err := g.get(ctx, gateway)
	switch {
	case schema.Is(err, schema.NotFound):
		// One without a key of its own came in by the enrolment key; it is shut out all the same.
		k = record.GatewayKey{Version: record.Version, Gateway: gateway, Created: g.now().UTC()}
	case err != nil:
		return KeyChange{}, err
	case !k.Revoked.IsZero():
		return KeyChange{Record: k, Revision: revision}, nil
	}
	k.Revoked = g.now().UTC()
	return g.write(ctx, KeyChange{Record: k}, revision)
}

// fresh makes a key and writes it over the record of the given revision; 0: there is none.
func (g Gateways) fresh(ctx context.Context, gateway string, relay bool, revision uint64) (KeyChange, error) {
	key := credentials.NewKey("gk_")
	return g.write(ctx, KeyChange{Key: key, Record: record.GatewayKey{
		Version: record.Version, Gateway: gateway, Hash: credentials.Hash(key), Relay: relay, Created: g.now().UTC(),
	}}, revision)
}

// write writes a changed record over that of the given revision; 0: there is none.
func (g Gateways) write(ctx context.Context, c KeyChange, revision uint64) (KeyChange, error) {
	data, err := json.Marshal(c.Record)
	if err != nil {
		return KeyChange{}, fmt.Errorf("write the key of gateway %s: %w", c.Record.Gateway, err)
	}
	if revision == 0 {
		c.Revision, err = g.bucket.Create(ctx, gatewayKey(c.Record.Gateway), data)
	} else {
		c.Revision, err = g.bucket.Update(ctx, gatewayKey(c.Record.Gateway), data, revision)
	}
	if err != nil {
		return KeyChange{}, err
	}
	c.Changed = true
	return c, nil
}

func (g Gateways) get(ctx context.Context, gateway string) (record.GatewayKey, uint64, error) {
	var k record.GatewayKey
	value, revision, err := g.bucket.Get(ctx, gatewayKey(gateway))
	if schema.Is(err, schema.NotFound) {
		return k, 0, schema.Errorf(schema.NotFound, "gateway %s has no key of its own", gateway).
			WithNext("provisioner gateway add %s %s makes one", g.provider, gateway)
	}
	if err != nil {
		return k, 0, err
	}
	return k, revision, decode("a gateway's key", value, &k)
}
