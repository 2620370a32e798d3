package house

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// SourcePassword returns the password of a source in clear; empty: it has none.
func (h *House) SourcePassword(s *record.Source) (string, error) {
	if len(s.Sealed) == 0 {
		return "", nil
	}
	password, err := credentials.Open(h.secret, s.Sealed)
	if err != nil {
		return "", fmt.Errorf("open the password of the source %s: %w", s.Name, err)
	}
	return string(password), nil
}

// PutSource adds a source to a provider, or changes the one of its name, and reports whether there was something to change.
// Without a client identifier it keeps the one that it has, or gets one.
func (h *House) PutSource(ctx context.Context, provider string, s record.Source, password string) (record.Provider, bool, error) {
	return h.Change(ctx, provider, func(p *record.Provider) error {
		n, at := s, indexSource(p, s.Name)
		if at < 0 && len(p.Sources) >= record.MaxSources {
			return schema.Errorf(schema.Limited, "%s has %d sources, as many as it may", p.Name, len(p.Sources))
		}
		old := record.Source{}
		if at >= 0 {
			old = p.Sources[at]
		}
		succeed(&n, &old)
		had, err := h.SourcePassword(&old)
		if err != nil {
			had = "" // it was sealed with another secret: it is given anew
		}
		if n.Sealed = old.Sealed; password != had || err != nil {
			n.Sealed = nil
			if password != "" {
				if n.Sealed, err = credentials.Seal(h.secret, []byte(password)); err != nil {
					return fmt.Errorf("seal the password of the source %s: %w", n.Name, err)
				}
			}
		}
		if err := checkSource(&n); err != nil {
			return err
		}
		if at >= 0 && equal(&n, &old) {
			return nil
		}
		n.Changed = h.now().UTC()
		p.Sources = slices.Clone(p.Sources) // records share it
		if at >= 0 {
			p.Sources[at] = n
			return nil
		}
		n.Created, n.Changed = n.Changed, noTime
		p.Sources = append(p.Sources, n)
		return nil
	})
}

// succeed gives a source what it has of the one in whose place it comes, if there is one: its session, from which what is not
// subscribed to any more is to be taken.
func succeed(n, old *record.Source) {
	n.Created, n.Changed = old.Created, old.Changed
	if n.ClientID == "" {
		n.ClientID = old.ClientID
	}
	if n.ClientID == "" {
		n.ClientID = "berth-" + strings.ToLower(rand.Text()[:16]) // 22 characters: every broker takes 23 [MQTT-3.1.3-5]
	}
	if n.URL != old.URL || n.ClientID != old.ClientID {
		return
	}
	filters := n.Filters()
	for _, filter := range append(slices.Clone(old.Left), old.Filters()...) {
		if !slices.Contains(filters, filter) && !slices.Contains(n.Left, filter) {
			n.Left = append(n.Left, filter)
		}
	}
	n.Left = n.Left[max(0, len(n.Left)-record.MaxTopics):]
}

// equal reports whether two sources say the same.
func equal(a, b *record.Source) bool {
	one, err := json.Marshal(a)
	two, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(one) == string(two)
}

func indexSource(p *record.Provider, name string) int {
	return slices.IndexFunc(p.Sources, func(s record.Source) bool { return s.Name == name })
}

// checkSource returns an Invalid error that says why a source cannot be, or would take nothing.
func checkSource(s *record.Source) error {
	if err := s.Validate(); err != nil {
		return err
	}
	for i := range s.Topics {
		r := &s.Topics[i]
		if err := r.CheckFormat(); err != nil {
			return err
		}
		named := r.Gateway != "" || strings.Contains(r.Pattern, "{gateway}")
		if !named && (strings.Contains(r.Pattern, "{sensor}") || r.Format != "" && r.Format != "line" && r.Format != "thingsboard") {
			return schema.Errorf(schema.Invalid, "the topic %q does not say whose readings its messages have, and neither do they", r.Pattern).
				WithNext("put {gateway} in the place of a level, or give --gateway")
		}
	}
	if s.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(s.CA)) {
		return schema.Errorf(schema.Invalid, "there is no certificate in what is to be trusted").WithNext("give --ca a file with certificates as PEM")
	}
	return nil
}

// RemoveSource removes a provider's source, or returns NotFound.
func (h *House) RemoveSource(ctx context.Context, provider, name string) (record.Provider, error) {
	p, _, err := h.Change(ctx, provider, func(p *record.Provider) error {
		at := indexSource(p, name)
		if at < 0 {
			return schema.Errorf(schema.NotFound, "%s has no source named %s", provider, name).WithNext("provisioner source ls %s", provider)
		}
		p.Sources = slices.Delete(slices.Clone(p.Sources), at, at+1)
		if len(p.Sources) == 0 {
			p.Sources = nil
		}
		return nil
	})
	return p, err
}
