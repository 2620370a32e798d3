package people

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// usedEvery is how exactly it is known when a token was used last, so that one in use costs few writes.
const usedEvery = 10 * time.Minute

// longestToken is the longest that a token which expires may be good.
const longestToken = 10 * 366 * 24 * time.Hour

// NewToken keeps an API token of a provider that exists and returns its secret, which cannot be shown again.
func (b *Book) NewToken(ctx context.Context, t record.Token) (secret string, err error) {
	now := b.now().UTC()
	switch {
	case t.Name == "" || len(t.Name) > 64 || strings.TrimSpace(t.Name) != t.Name:
		return "", schema.Errorf(schema.Invalid, "%q is no token name: 1 to 64 characters without white space at its ends", t.Name)
	case t.Provider == "" && t.Scope != record.ScopeOperate:
		return "", schema.Errorf(schema.Invalid, "%q is no scope of an operators' token", t.Scope).WithNext("give operate")
	case t.Provider != "" && !slices.Contains(record.Scopes, t.Scope):
		return "", schema.Errorf(schema.Invalid, "%q is no scope of a token", t.Scope).WithNext("give read, write or manage")
	case !t.Expires.IsZero() && (!t.Expires.After(now) || t.Expires.Sub(now) > longestToken):
		return "", schema.Errorf(schema.Invalid, "a token cannot expire at %s", t.Expires.Format(time.RFC3339)).WithNext("give a time from now on to ten years ahead")
	}
	tokens, err := b.Tokens(ctx, t.Provider)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(tokens, func(other record.Token) bool { return other.Name == t.Name }) {
		return "", schema.Errorf(schema.Conflict, "there is a token named %s already", t.Name).WithNext("give another name, or revoke that one")
	}
	if len(tokens) >= MostTokens {
		return "", schema.Errorf(schema.Limited, "there are %d tokens already", len(tokens)).WithNext("revoke some first")
	}
	secret = credentials.NewKey("bt_")
	t.Version, t.Created, t.Used = record.Version, now, time.Time{}
	return secret, put(ctx, b.tokens, credentials.Hash(secret), t)
}

// Tokens returns the API tokens of a provider, or of the operators, without their secrets, in order of names.
func (b *Book) Tokens(ctx context.Context, provider string) ([]record.Token, error) {
	byHash, err := b.tokensOf(ctx, provider)
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

func (b *Book) tokensOf(ctx context.Context, provider string) (map[string]record.Token, error) {
	all, err := b.tokens.List(ctx)
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
func (b *Book) RevokeToken(ctx context.Context, provider, name string) error {
	byHash, err := b.tokensOf(ctx, provider)
	if err != nil {
		return err
	}
	for key, t := range byHash {
		if t.Name == name {
			return b.tokens.Delete(ctx, key)
		}
	}
	return schema.Errorf(schema.NotFound, "there is no token named %s", name).WithNext("see which there are: on their page, by the API, or provisioner token ls")
}

// Token returns the token with the secret, and notes that it was used; Unauthorized says that there is none, or that it
// has expired.
func (b *Book) Token(ctx context.Context, secret string) (record.Token, error) {
	var t record.Token
	wrong := schema.Errorf(schema.Unauthorized, "the API token is unknown, revoked or expired").
		WithNext("send Authorization: Bearer <token>, as provisioner token create shows it")
	if secret == "" || len(secret) > mostSecret {
		return t, wrong
	}
	key := credentials.Hash(secret)
	value, revision, err := b.tokens.Get(ctx, key)
	if schema.Is(err, schema.NotFound) {
		return t, wrong
	}
	if err != nil {
		return t, err
	}
	if err := decode("a token", value, &t); err != nil {
		return t, err
	}
	now := b.now().UTC()
	if t.Over(now) {
		return t, wrong
	}
	if now.Sub(t.Used) >= usedEvery {
		t.Used = now
		if data, err := json.Marshal(t); err == nil {
			_, _ = b.tokens.Update(ctx, key, data, revision) // somebody else noted it, or it was revoked: neither may be undone
		}
	}
	return t, nil
}
