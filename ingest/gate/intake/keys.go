package intake

import (
	"berth/ingest/format"
	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// Keys are who may send, and under which settings, at one time. They never change; a change makes new ones.
type Keys struct {
	// Settings are the provider's.
	Settings record.Settings

	enrolment string                        // hash of the enrolment key
	gateways  map[string]*record.GatewayKey // by the gateway's name
	hashes    map[string]*record.GatewayKey // by the key's hash
	allowAny  func(gateway string) error    // for senders without a name
	allowLive func(gateway string) error    // for relays
}

// Identity is who showed which key.
type Identity struct {
	Gateway string // empty: the enrolment key alone was shown, and each line names its gateway
	Relay   bool   // may speak for other gateways
	hash    string // of the key
	tls     bool   // it came by TLS
}

// ErrPlain is why a plain connection is refused of a provider that takes TLS alone.
var ErrPlain = schema.Errorf(schema.Forbidden, "this provider takes connections by TLS alone").WithNext("connect to the same port by TLS")

// NewKeys returns the keys of a provider.
func NewKeys(p *record.Pipeline, own map[string]record.GatewayKey) *Keys {
	k := &Keys{
		Settings: p.Settings, enrolment: p.EnrolmentHash,
		gateways: make(map[string]*record.GatewayKey, len(own)), hashes: make(map[string]*record.GatewayKey, len(own)),
	}
	for _, g := range own {
		k.gateways[g.Gateway] = &g
		k.hashes[g.Hash] = &g
	}
	k.allowAny, k.allowLive = k.enrols, k.live
	return k
}

// Admits returns ErrPlain when connections like this one are refused, whatever they show.
func (k *Keys) Admits(c *Conn) error { return k.admits(c.TLS) }

func (k *Keys) admits(tls bool) error {
	if k.Settings.RequireTLS && !tls {
		return ErrPlain
	}
	return nil
}

// Authenticate returns who shows the key on a connection, under the name that he gives himself, which may be empty. A key
// that is a gateway's own names it. Errors are Unauthorized, or Forbidden when the key is good, but not for this name or
// this connection.
func (k *Keys) Authenticate(c *Conn, gateway, key string) (Identity, error) {
	if err := k.admits(c.TLS); err != nil {
		return Identity{}, err
	}
	if key == "" {
		return Identity{}, schema.Errorf(schema.Unauthorized, "there is no key")
	}
	id, err := k.holder(gateway, credentials.Hash(key))
	id.tls = c.TLS
	return id, err
}

// Check returns the error that Authenticate would return now.
func (k *Keys) Check(id Identity) error {
	if err := k.admits(id.tls); err != nil {
		return err
	}
	_, err := k.holder(id.Gateway, id.hash)
	return err
}

func (k *Keys) holder(gateway, hash string) (Identity, error) {
	// Keys are random and only their hashes are compared: how long that takes says nothing about a key.
	if own := k.hashes[hash]; own != nil {
		return k.owner(own, gateway, hash)
	}
	if hash != k.enrolment {
		return Identity{}, schema.Errorf(schema.Unauthorized, "the key is unknown")
	}
	if gateway == "" {
		return Identity{hash: hash}, nil
	}
	if err := schema.CheckGateway(gateway); err != nil {
		return Identity{}, err
	}
	if err := k.enrols(gateway); err != nil {
		return Identity{}, err
	}
	return Identity{Gateway: gateway, hash: hash}, nil
}

// owner returns who shows a key of a gateway's or relay's own.
func (k *Keys) owner(own *record.GatewayKey, gateway, hash string) (Identity, error) {
	if !own.Revoked.IsZero() {
		return Identity{}, schema.Errorf(schema.Unauthorized, "the key was revoked")
	}
	id := Identity{Gateway: own.Gateway, Relay: own.Relay, hash: hash}
	if gateway == "" || gateway == own.Gateway {
		return id, nil
	}
	if !own.Relay {
		return Identity{}, schema.Errorf(schema.Forbidden, "the key is of gateway %q and not of %q", own.Gateway, gateway)
	}
	if err := schema.CheckGateway(gateway); err != nil {
		return Identity{}, err
	}
	id.Gateway = gateway
	return id, k.live(gateway)
}

// As returns the identity under which who shows the key speaks for a gateway that a path or topic names. The error says why
// he may not.
func (k *Keys) As(id Identity, gateway string) (Identity, error) {
	if gateway == id.Gateway {
		return id, nil
	}
	if err := schema.CheckGateway(gateway); err != nil {
		return Identity{}, err
	}
	allow := k.live
	switch {
	case id.Relay:
	case id.Gateway == "":
		allow = k.enrols
	default:
		return Identity{}, schema.Errorf(schema.Forbidden, "it is of gateway %q, but %q may only speak for itself", gateway, id.Gateway)
	}
	id.Gateway = gateway
	return id, allow(gateway)
}

// enrols returns an error unless the enrolment key is enough to speak for the gateway.
func (k *Keys) enrols(gateway string) error {
	own := k.gateways[gateway]
	switch {
	case own == nil:
		return nil
	case !own.Revoked.IsZero():
		return schema.Errorf(schema.Unauthorized, "gateway %q was revoked", gateway)
	default:
		return schema.Errorf(schema.Unauthorized, "gateway %q has a key of its own and must use it", gateway)
	}
}

// live returns an error when the gateway was revoked, so that nobody else may speak for it either.
func (k *Keys) live(gateway string) error {
	if own := k.gateways[gateway]; own != nil && !own.Revoked.IsZero() {
		return schema.Errorf(schema.Forbidden, "gateway %q was revoked", gateway)
	}
	return nil
}

// Sender returns the identity as decoders want it.
func (k *Keys) Sender(id Identity) format.Sender {
	s := format.Sender{Gateway: id.Gateway, Relay: id.Relay}
	switch {
	case id.Relay:
		s.Allow = k.allowLive
	case id.Gateway == "":
		s.Allow = k.allowAny
	}
	return s
}
