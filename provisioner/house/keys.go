package house

import (
	"context"
	"time"

	"berth/schema"
	"berth/schema/record"
)

var noTime time.Time

// OperatorLink makes a one-time sign-in link for whoever runs the installation and returns its secret.
func (h *House) OperatorLink(ctx context.Context) (string, error) {
	return h.Link(ctx, record.Link{Role: record.Operator})
}

// AdminLink makes a one-time sign-in link for a provider's admin and returns its secret.
func (h *House) AdminLink(ctx context.Context, provider string) (string, error) {
	return h.Link(ctx, record.Link{Role: record.Admin, Provider: provider})
}

// Link makes a one-time link and returns its secret. The role that it does not name is an admin's, or without a provider
// an operator's.
func (h *House) Link(ctx context.Context, l record.Link) (string, error) {
	switch {
	case l.Provider == "" && (l.Role == "" || l.Role == record.Operator):
		l.Role = record.Operator
		return h.NewLink(ctx, l)
	case l.Provider == "" || l.Role == record.Operator:
		return "", schema.Errorf(schema.Invalid, "an operator has no provider, and everybody else has one").WithNext("give a provider, or no role")
	case l.Role == "":
		l.Role = record.Admin
	case l.Role != record.Admin && l.Role != record.Viewer:
		return "", schema.Errorf(schema.Invalid, "there is no role %q", l.Role).WithNext("give admin or viewer")
	}
	if _, err := h.Active(ctx, l.Provider); err != nil {
		return "", err
	}
	return h.NewLink(ctx, l)
}

// NewToken makes an API token of a provider, or an operator's, and returns its secret, which cannot be shown again.
func (h *House) NewToken(ctx context.Context, t record.Token) (string, error) {
	if t.Provider != "" {
		if _, err := h.Active(ctx, t.Provider); err != nil {
			return "", err
		}
	}
	return h.Book.NewToken(ctx, t)
}
