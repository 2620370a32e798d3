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

// Gateways are the keys of single gateways, in a provider's own account.
type Gateways struct {
	house    *House
	provider string
	bucket   *bus.Bucket // pipeline
	seen     *bus.Bucket // episodes: what ingest has seen of senders
	now      func() time.Time
}

// KeyChange is what came of a change of a gateway's key.
type KeyChange struct {
	Key      string // in clear; empty: no new one was made
	Cert     string // PEM, a certificate in the place of a key; empty: none was made
	Secret   string // PEM, the key of the certificate
	Record   record.GatewayKey
	Revision uint64 // of the record
	Changed  bool
}

// Gateways returns the keys of gateways that a provider's bucket "pipeline" holds, with what the bucket "episodes" says of
// them.
func (h *House) Gateways(provider string, pipeline, episodes *bus.Bucket) Gateways {
	return Gateways{house: h, provider: provider, bucket: pipeline, seen: episodes, now: h.now}
}

func gatewayKey(gateway string) string { return record.GatewayKeyPrefix + credentials.Hash(gateway) }

// Seen is a gateway's record with what ingest has seen of it. Of one that waits for approval there is no record.
type Seen struct {
	Gateway string
	Key     *record.GatewayKey // nil: there is none
	Shown   *record.Shown      // of the key that it has; nil: it was never shown
	Waiting *record.Waiting    // nil: it does not wait
}

// List returns all gateways of which something is recorded, in order of their names, and what was seen of the enrolment key,
// whose hash is given.
func (g Gateways) List(ctx context.Context, enrolment string) ([]Seen, record.Shown, error) {
	records, err := g.bucket.List(ctx)
	if err != nil {
		return nil, record.Shown{}, err
	}
	episodes, err := g.seen.List(ctx)
	if err != nil {
		return nil, record.Shown{}, err
	}
	var all []Seen
	decided := map[string]bool{} // by the end of their records' keys
	for key, e := range records {
		suffix, ok := strings.CutPrefix(key, record.GatewayKeyPrefix)
		if !ok {
			continue
		}
		var k record.GatewayKey
		if err := decode("a gateway's key", e.Value, &k); err != nil {
			return nil, record.Shown{}, err
		}
		s := Seen{Gateway: k.Gateway, Key: &k}
		decided[suffix] = k.Decided()
		var shown record.Shown
		if e, ok := episodes[record.ShownPrefix+suffix]; ok && decode("what was seen of a key", e.Value, &shown) == nil && shown.Hash == k.Shows() {
			s.Shown = &shown
		}
		all = append(all, s)
	}
	for key, e := range episodes {
		suffix, ok := strings.CutPrefix(key, record.WaitingPrefix)
		if !ok || decided[suffix] {
			continue
		}
		var w record.Waiting
		if decode("a gateway that waits", e.Value, &w) == nil {
			all = append(all, Seen{Gateway: w.Gateway, Waiting: &w})
		}
	}
	slices.SortFunc(all, func(a, b Seen) int { return cmp.Compare(a.Gateway, b.Gateway) })
	var shown record.Shown
	if e, ok := episodes[record.ShownPrefix+record.ShownEnrolment]; !ok || decode("what was seen of a key", e.Value, &shown) != nil || shown.Hash != enrolment {
		shown = record.Shown{}
	}
	return all, shown, nil
}

// Fresh says what a gateway is to be given.
type Fresh struct {
	Relay bool          // it may speak for many gateways
	PSK   bool          // the key may be a pre-shared one, of CoAP within DTLS
	Cert  bool          // a certificate in the place of a key
	Life  time.Duration // of the certificate; 0: CertLife
}

// CertLife is how long a gateway's certificate holds, unless asked otherwise; MostCertLife is the longest.
const (
	CertLife     = 2 * 365 * 24 * time.Hour
	MostCertLife = 10 * 365 * 24 * time.Hour
)

// Add gives a gateway a key or a certificate of its own; it cannot be shown again. For one that has either nothing is changed,
// unless that was revoked. Whether a gateway is a relay, and which of both it has, is changed only with a new one.
func (g Gateways) Add(ctx context.Context, gateway string, f Fresh) (KeyChange, error) {
	if err := schema.CheckGateway(gateway); err != nil {
		return KeyChange{}, err
	}
	old, revision, err := g.get(ctx, gateway)
	switch {
	case schema.Is(err, schema.NotFound), err == nil && !old.Own():
		return g.fresh(ctx, gateway, f, &old, nil, revision)
	case err != nil:
		return KeyChange{}, err
	case old.Revoked.IsZero() && f.Cert && old.Cert == nil:
		return KeyChange{}, schema.Errorf(schema.Conflict, "gateway %s has a key already", gateway).
			WithNext("to give it a certificate in its place: provisioner gateway rotate %s %s --cert", g.provider, gateway)
	case old.Revoked.IsZero() && f.PSK && len(old.Sealed) == 0:
		return KeyChange{}, schema.Errorf(schema.Conflict, "gateway %s has a key already, which is kept as a hash alone", gateway).
			WithNext("to give it one that can be a pre-shared key: provisioner gateway rotate %s %s --psk", g.provider, gateway)
	case old.Revoked.IsZero() && old.Relay != f.Relay:
		return KeyChange{}, schema.Errorf(schema.Conflict, "gateway %s has a key already, with relay %v", gateway, old.Relay).
			WithNext("revoke it first: provisioner gateway revoke %s %s, then add it again", g.provider, gateway)
	case old.Revoked.IsZero():
		return KeyChange{Record: old, Revision: revision}, nil
	}
	return g.fresh(ctx, gateway, f, &old, nil, revision)
}

// Overlap is how long a key that was replaced stays good, unless asked otherwise; MostOverlap is the longest.
const (
	Overlap     = 24 * time.Hour
	MostOverlap = 90 * 24 * time.Hour
)

// Rotate gives a gateway a new key in place of the one it has, which stays good for the overlap, or no longer than until the
// new one is first used; without an overlap it is refused within a second. A key that was replaced before ends at once. A
// gateway that is shut out stays so: that is a Conflict. A gateway that has a certificate is given a certificate, one that
// has a pre-shared key another.
func (g Gateways) Rotate(ctx context.Context, gateway string, f Fresh, overlap time.Duration, untilUsed bool) (KeyChange, error) {
	if overlap < 0 || overlap > MostOverlap {
		return KeyChange{}, schema.Errorf(schema.Invalid, "an overlap of %v is not between 0 and %d days", overlap, int(MostOverlap.Hours()/24))
	}
	old, revision, err := g.get(ctx, gateway)
	switch {
	case err != nil:
		return KeyChange{}, err
	case !old.Own():
		return KeyChange{}, g.noKey(gateway)
	case !old.Revoked.IsZero():
		return KeyChange{}, schema.Errorf(schema.Conflict, "gateway %s was revoked at %s", gateway, old.Revoked.Format(time.RFC3339)).
			WithNext("to let it in again: provisioner gateway add %s %s", g.provider, gateway)
	}
	var before *record.PreviousKey
	if overlap > 0 {
		before = &record.PreviousKey{Hash: old.Shows(), Sealed: old.Sealed, Until: g.now().UTC().Add(overlap).Truncate(time.Second), UntilUsed: untilUsed}
	}
	f.PSK = f.PSK || len(old.Sealed) > 0 && !f.Cert
	f.Relay, f.Cert = old.Relay, f.Cert || old.Cert != nil && !f.PSK
	return g.fresh(ctx, gateway, f, &old, before, revision)
}

// Approve lets a gateway in that shows the enrolment key, though new ones wait for approval; also one that was refused. For
// one that has a key of its own nothing is changed.
func (g Gateways) Approve(ctx context.Context, gateway string) (KeyChange, error) {
	if err := schema.CheckGateway(gateway); err != nil {
		return KeyChange{}, err
	}
	k, revision, err := g.getOrNew(ctx, gateway)
	switch {
	case err != nil:
		return KeyChange{}, err
	case k.Own() && !k.Revoked.IsZero():
		return KeyChange{}, schema.Errorf(schema.Conflict, "gateway %s had a key of its own, which was revoked", gateway).
			WithNext("to let it in again with a new one: provisioner gateway add %s %s", g.provider, gateway)
	case k.Revoked.IsZero() && k.Decided():
		return KeyChange{Record: k, Revision: revision}, nil
	}
	k.Approved, k.Revoked = g.now().UTC(), time.Time{}
	return g.write(ctx, KeyChange{Record: k}, revision)
}

// Refuse shuts out a gateway that waits for approval, or NotFound if it does not.
func (g Gateways) Refuse(ctx context.Context, gateway string) (KeyChange, error) {
	if err := schema.CheckGateway(gateway); err != nil {
		return KeyChange{}, err
	}
	if _, _, err := g.seen.Get(ctx, record.WaitingPrefix+credentials.Hash(gateway)); schema.Is(err, schema.NotFound) {
		return KeyChange{}, schema.Errorf(schema.NotFound, "gateway %s does not wait for approval", gateway).
			WithNext("to shut it out all the same: provisioner gateway revoke %s %s", g.provider, gateway)
	} else if err != nil {
		return KeyChange{}, err
	}
	return g.Revoke(ctx, gateway)
}

// getOrNew returns a gateway's record, or a new one, of revision 0, that is not written.
func (g Gateways) getOrNew(ctx context.Context, gateway string) (k record.GatewayKey, revision uint64, err error) {
	k, revision, err = g.get(ctx, gateway)
	if schema.Is(err, schema.NotFound) {
		return record.GatewayKey{Version: record.Version, Gateway: gateway, Created: g.now().UTC()}, 0, nil
	}
	return k, revision, err
}

// Revoke shuts a gateway out: neither its own key nor the enrolment key opens the port for it.
func (g Gateways) Revoke(ctx context.Context, gateway string) (KeyChange, error) {
	if err := schema.CheckGateway(gateway); err != nil {
		return KeyChange{}, err
	}
	// One without a key of its own came in by the enrolment key; it is shut out all the same.
	k, revision, err := g.getOrNew(ctx, gateway)
	switch {
	case err != nil:
		return KeyChange{}, err
	case !k.Revoked.IsZero():
		return KeyChange{Record: k, Revision: revision}, nil
	}
	k.Revoked, k.Previous, k.Sealed = g.now().UTC(), nil, nil
	return g.write(ctx, KeyChange{Record: k}, revision)
}

// fresh makes a key, or a certificate, and writes it over the record of the given revision; 0: there is none.
func (g Gateways) fresh(ctx context.Context, gateway string, f Fresh, old *record.GatewayKey, before *record.PreviousKey, revision uint64) (KeyChange, error) {
	c := KeyChange{Record: record.GatewayKey{
		Version: record.Version, Gateway: gateway, Previous: before, Relay: f.Relay, Created: g.now().UTC(), Serials: old.Serials,
	}}
	if f.Cert {
		if err := g.certify(ctx, &c, f.Life); err != nil {
			return KeyChange{}, err
		}
	} else {
		c.Key = credentials.NewKey("gk_")
		c.Record.Hash = credentials.Hash(c.Key)
		if f.PSK {
			var err error
			if c.Record.Sealed, err = credentials.Seal(credentials.PipelineSecret(g.house.secret, g.provider), []byte(c.Key)); err != nil {
				return KeyChange{}, fmt.Errorf("seal the key of gateway %s: %w", gateway, err)
			}
		}
	}
	return g.write(ctx, c, revision)
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
		return k, 0, g.noKey(gateway)
	}
	if err != nil {
		return k, 0, err
	}
	return k, revision, decode("a gateway's key", value, &k)
}

func (g Gateways) noKey(gateway string) error {
	return schema.Errorf(schema.NotFound, "gateway %s has no key of its own", gateway).
		WithNext("provisioner gateway add %s %s makes one", g.provider, gateway)
}
