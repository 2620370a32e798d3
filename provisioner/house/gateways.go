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
	provider string
	bucket   *bus.Bucket // pipeline
	seen     *bus.Bucket // episodes: what ingest has seen of senders
	now      func() time.Time
}

// KeyChange is what came of a change of a gateway's key.
type KeyChange struct {
	Key      string // in clear; empty: no new one was made
	Record   record.GatewayKey
	Revision uint64 // of the record
	Changed  bool
}

// Gateways returns the keys of gateways that a provider's bucket "pipeline" holds, with what the bucket "episodes" says of
// them.
func (h *House) Gateways(provider string, pipeline, episodes *bus.Bucket) Gateways {
	return Gateways{provider: provider, bucket: pipeline, seen: episodes, now: h.now}
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
		var shown record.Shown
		if e, ok := episodes[record.ShownPrefix+suffix]; ok && decode("what was seen of a key", e.Value, &shown) == nil && shown.Hash == k.Hash {
			s.Shown = &shown
		}
		all = append(all, s)
	}
	for key, e := range episodes {
		suffix, ok := strings.CutPrefix(key, record.WaitingPrefix)
		if _, decided := records[record.GatewayKeyPrefix+suffix]; !ok || decided {
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

// Add gives a gateway a key of its own; it cannot be shown again. For one that has a key nothing is changed, unless that
// was revoked. Whether a gateway is a relay is changed only with its key.
func (g Gateways) Add(ctx context.Context, gateway string, relay bool) (KeyChange, error) {
	if err := schema.CheckGateway(gateway); err != nil {
		return KeyChange{}, err
	}
	old, revision, err := g.get(ctx, gateway)
	switch {
	case schema.Is(err, schema.NotFound), err == nil && !old.Own():
		return g.fresh(ctx, gateway, relay, nil, revision)
	case err != nil:
		return KeyChange{}, err
	case old.Revoked.IsZero() && old.Relay != relay:
		return KeyChange{}, schema.Errorf(schema.Conflict, "gateway %s has a key already, with relay %v", gateway, old.Relay).
			WithNext("revoke it first: provisioner gateway revoke %s %s, then add it again", g.provider, gateway)
	case old.Revoked.IsZero():
		return KeyChange{Record: old, Revision: revision}, nil
	}
	return g.fresh(ctx, gateway, relay, nil, revision)
}

// Overlap is how long a key that was replaced stays good, unless asked otherwise; MostOverlap is the longest.
const (
	Overlap     = 24 * time.Hour
	MostOverlap = 90 * 24 * time.Hour
)

// Rotate gives a gateway a new key in place of the one it has, which stays good for the overlap, or no longer than until the
// new one is first used; without an overlap it is refused within a second. A key that was replaced before ends at once. A
// gateway that is shut out stays so: that is a Conflict.
func (g Gateways) Rotate(ctx context.Context, gateway string, overlap time.Duration, untilUsed bool) (KeyChange, error) {
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
		before = &record.PreviousKey{Hash: old.Hash, Until: g.now().UTC().Add(overlap).Truncate(time.Second), UntilUsed: untilUsed}
	}
	return g.fresh(ctx, gateway, old.Relay, before, revision)
}

// Approve lets a gateway in that shows the enrolment key, though new ones wait for approval; also one that was refused. For
// one that has a key of its own nothing is changed.
func (g Gateways) Approve(ctx context.Context, gateway string) (KeyChange, error) {
	if err := schema.CheckGateway(gateway); err != nil {
		return KeyChange{}, err
	}
	k, revision, err := g.get(ctx, gateway)
	switch {
	case schema.Is(err, schema.NotFound):
		k = record.GatewayKey{Version: record.Version, Gateway: gateway, Created: g.now().UTC()}
	case err != nil:
		return KeyChange{}, err
	case k.Own() && !k.Revoked.IsZero():
		return KeyChange{}, schema.Errorf(schema.Conflict, "gateway %s had a key of its own, which was revoked", gateway).
			WithNext("to let it in again with a new one: provisioner gateway add %s %s", g.provider, gateway)
	case k.Revoked.IsZero():
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
	k.Revoked, k.Previous = g.now().UTC(), nil
	return g.write(ctx, KeyChange{Record: k}, revision)
}

// fresh makes a key and writes it over the record of the given revision; 0: there is none.
func (g Gateways) fresh(ctx context.Context, gateway string, relay bool, before *record.PreviousKey, revision uint64) (KeyChange, error) {
	key := credentials.NewKey("gk_")
	return g.write(ctx, KeyChange{Key: key, Record: record.GatewayKey{
		Version: record.Version, Gateway: gateway, Hash: credentials.Hash(key), Previous: before, Relay: relay, Created: g.now().UTC(),
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
