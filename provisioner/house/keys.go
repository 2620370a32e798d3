package house

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

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
