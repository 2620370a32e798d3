package intake

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"berth/ingest/format"
	"berth/ingest/witness"
	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// Keys are who may send, and under which settings, at one time. They never change; a change makes new ones.
type Keys struct {
	// Settings are the provider's.
	Settings record.Settings

	around      Around
	authorities *authorities
	enrolment   string                        // hash of the enrolment key
	gateways    map[string]*record.GatewayKey // by the gateway's name
	hashes      map[string]held               // by the key's hash
	ends        []time.Time                   // when keys that were replaced end
	allowAny    func(gateway string) error    // for senders without a name
	allowLive   func(gateway string) error    // for relays
}

// held is whose a key is.
type held struct {
	own      *record.GatewayKey
	previous bool // it was replaced
}

// Around is what keys need to know beside the provider's records. What is not set is not asked.
type Around struct {
	Witness    *witness.Witness                        // what is seen of senders; not nil
	Introduced func(gateway string) (known, sure bool) // whether the provider has the gateway already
	Used       func(gateway string)                    // a gateway's key was used for the first time
	Count      func(reason string)                     // counts who is refused
	Now        func() time.Time
	Open       func(sealed []byte) []byte // opens a gateway's key that is kept sealed; nil, as what it returns: it cannot be opened
}

// Identity is who showed which key.
type Identity struct {
	Gateway string // empty: the enrolment key alone was shown, and each line names its gateway
	Relay   bool   // may speak for other gateways
	hash    string // of the key
	tls     bool   // it came by TLS
	address netip.Addr
	network bool         // it showed nothing, and comes from an allowed network
	cert    *Certificate // it was shown in the place of a key
}

// Forwards is who passes on what others have published, such as a source: a relay without a name of its own.
func Forwards() Identity { return Identity{Relay: true} }

// ErrPlain is why a plain connection is refused of a provider that takes TLS alone.
var ErrPlain = schema.Errorf(schema.Forbidden, "this provider takes connections by TLS alone").WithNext("connect to the same port by TLS")

// NewKeys returns the keys of a provider; before are those that they replace, nil for none.
func NewKeys(p *record.Pipeline, own map[string]record.GatewayKey, around Around, before *Keys) *Keys {
	k := &Keys{
		Settings: p.Settings, around: around, authorities: authoritiesOf(p, before), enrolment: p.EnrolmentHash,
		gateways: make(map[string]*record.GatewayKey, len(own)), hashes: make(map[string]held, len(own)),
	}
	for _, g := range own {
		k.gateways[g.Gateway] = &g
		if g.Own() {
			k.hashes[g.Shows()] = held{own: &g}
		}
		if before := g.Previous; before != nil && before.Hash != "" {
			k.hashes[before.Hash] = held{own: &g, previous: true}
			k.ends = append(k.ends, before.Until)
		}
	}
	k.allowAny, k.allowLive = k.enrols, k.live
	return k
}

// Ended reports whether a key that was replaced has ended between two times.
func (k *Keys) Ended(from, to time.Time) bool {
	return slices.ContainsFunc(k.ends, func(end time.Time) bool { return end.After(from) && !end.After(to) })
}

// Admits returns ErrPlain when connections like this one are refused, whatever they show.
func (k *Keys) Admits(c *Conn) error { return k.admits(c.TLS) }

func (k *Keys) admits(tls bool) error {
	if k.Settings.RequireTLS && !tls {
		return ErrPlain
	}
	return nil
}

// noKey stands for a key where a protocol wants one and who speaks it shows a certificate.
const noKey = "-"

// Authenticate returns who shows the key on a connection, under the name that he gives himself, which may be empty. A key
// that is a gateway's own names it; without one, or with "-", the certificate does that the connection was opened with.
// Errors are Unauthorized; Pending, when he has to wait for approval; or Forbidden when the key is good, but not for this name
// or this connection.
func (k *Keys) Authenticate(c *Conn, gateway, key string) (Identity, error) {
	if (key == "" || key == noKey) && c.Certificate != nil {
		return k.authenticateByCertificate(c, gateway)
	}
	id, err := k.AuthenticateFrom(c.Address.Addr(), c.TLS, gateway, key)
	if schema.Is(err, schema.Pending) {
		c.Waits()
	}
	return id, err
}

// AuthenticateFrom is Authenticate where there is no connection; tls says that nobody else can read what comes.
func (k *Keys) AuthenticateFrom(address netip.Addr, tls bool, gateway, key string) (Identity, error) {
	if err := k.admits(tls); err != nil {
		return Identity{}, err
	}
	if key == "" || key == noKey {
		return Identity{}, schema.Errorf(schema.Unauthorized, "there is no key, and no certificate")
	}
	id, err := k.holder(gateway, credentials.Hash(key))
	if err != nil {
		return id, err
	}
	id.tls, id.address = tls, address
	k.saw(id)
	if id.hash == k.enrolment && id.Gateway != "" {
		if err := k.introduce(id.Gateway, id.address); err != nil {
			k.around.Count(format.ReasonPending)
			return Identity{}, err
		}
	}
	return id, nil
}

func (k *Keys) authenticateByCertificate(c *Conn, gateway string) (Identity, error) {
	id, err := k.certified(c.Certificate, gateway)
	if err != nil {
		return id, err
	}
	id.tls, id.address, id.cert = c.TLS, c.Address.Addr(), c.Certificate
	k.saw(id)
	return id, nil
}

// PSKs returns the keys of a gateway as they are that are good now as pre-shared ones: the one it has, and the one before while that
// is good still.
func (k *Keys) PSKs(gateway string) (psks [][]byte) {
	own := k.gateways[gateway]
	if own == nil || !own.Revoked.IsZero() || k.around.Open == nil {
		return nil
	}
	add := func(sealed []byte) {
		if len(sealed) == 0 {
			return
		}
		if key := k.around.Open(sealed); len(key) > 0 {
			psks = append(psks, key)
		}
	}
	add(own.Sealed)
	if own.Previous != nil && !k.replaced(own) {
		add(own.Previous.Sealed)
	}
	return psks
}

// AllowsNetwork reports whether a connection comes from a network whose senders need no key.
func (k *Keys) AllowsNetwork(c *Conn) bool {
	return k.admits(c.TLS) == nil && k.Settings.Allows(c.Address.Addr())
}

// AuthenticateByNetwork returns who sends without a key from an allowed network: each line names its gateway.
func (k *Keys) AuthenticateByNetwork(c *Conn) (Identity, error) {
	id := Identity{network: true, tls: c.TLS, address: c.Address.Addr()}
	return id, k.Check(id)
}

// saw notes that a key was shown.
func (k *Keys) saw(id Identity) {
	h, own := k.hashes[id.hash]
	switch {
	case own && h.previous: // the one that it has now counts
	case own:
		if first := k.around.Witness.Saw(h.own.Gateway, id.hash, !id.tls, k.around.Now()); first && h.own.Previous != nil {
			k.around.Used(h.own.Gateway)
		}
	case id.cert != nil: // nothing is recorded of it
	default:
		k.around.Witness.Saw("", id.hash, !id.tls, k.around.Now())
	}
}

// Check returns the error that Authenticate would return now. Who was let in before has not to wait for approval.
func (k *Keys) Check(id Identity) error {
	if err := k.admits(id.tls); err != nil {
		return err
	}
	if id.network {
		if !k.Settings.Allows(id.address) {
			return schema.Errorf(schema.Unauthorized, "its network may not send without a key")
		}
		return nil
	}
	if id.cert != nil {
		_, err := k.certified(id.cert, id.Gateway)
		return err
	}
	_, err := k.holder(id.Gateway, id.hash)
	return err
}

func (k *Keys) holder(gateway, hash string) (Identity, error) {
	// Keys are random and only their hashes are compared: how long that takes says nothing about a key.
	if h, ok := k.hashes[hash]; ok {
		return k.owner(h, gateway, hash)
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
func (k *Keys) owner(h held, gateway, hash string) (Identity, error) {
	own := h.own
	switch {
	case !own.Revoked.IsZero():
		return Identity{}, schema.Errorf(schema.Unauthorized, "the key was revoked")
	case h.previous && k.replaced(own):
		return Identity{}, schema.Errorf(schema.Unauthorized, "the %s was replaced by a new one", shownBy(hash)).WithNext("use the gateway's new %s", what(own))
	}
	id := Identity{Gateway: own.Gateway, Relay: own.Relay, hash: hash}
	if gateway == "" || gateway == own.Gateway {
		return id, nil
	}
	if !own.Relay {
		return Identity{}, schema.Errorf(schema.Forbidden, "the %s is of gateway %q and not of %q", shownBy(hash), own.Gateway, gateway)
	}
	if err := schema.CheckGateway(gateway); err != nil {
		return Identity{}, err
	}
	id.Gateway = gateway
	return id, k.live(gateway)
}

// what returns what a gateway has of its own to show.
func what(own *record.GatewayKey) string { return shownBy(own.Shows()) }

// shownBy returns what a hash is of.
func shownBy(hash string) string {
	if strings.HasPrefix(hash, record.CertHash("")) {
		return "certificate"
	}
	return "key"
}

// replaced reports whether the key before the one that a gateway has is good no more.
func (k *Keys) replaced(own *record.GatewayKey) bool {
	before := own.Previous
	return !k.around.Now().Before(before.Until) || before.UntilUsed && k.around.Witness.Used(own.Gateway, own.Shows())
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
	var err error
	switch {
	case id.Relay:
		err = k.live(gateway)
	case id.Gateway == "":
		err = k.enrolsNew(gateway, id.address)
	default:
		return Identity{}, schema.Errorf(schema.Forbidden, "it is of gateway %q, but %q may only speak for itself", gateway, id.Gateway)
	}
	id.Gateway = gateway
	return id, err
}

// enrols returns an error unless the enrolment key is enough to speak for the gateway, if that has not to wait for approval.
func (k *Keys) enrols(gateway string) error {
	own := k.gateways[gateway]
	switch {
	case own == nil:
		return nil
	case !own.Revoked.IsZero():
		return schema.Errorf(schema.Unauthorized, "gateway %q was revoked", gateway)
	case own.Own():
		return schema.Errorf(schema.Unauthorized, "gateway %q has a %s of its own and must use it", gateway, what(own))
	default:
		return nil
	}
}

// enrolsNew is enrols, and lets a gateway that is new wait for approval.
func (k *Keys) enrolsNew(gateway string, from netip.Addr) error {
	if err := k.enrols(gateway); err != nil {
		return err
	}
	return k.introduce(gateway, from)
}

// introduce returns a Pending error when the gateway, which shows the enrolment key, has to wait for approval. One that the
// provider had before approval was asked for is as good as approved.
func (k *Keys) introduce(gateway string, from netip.Addr) error {
	if !k.Settings.Approve || k.Decided(gateway) {
		return nil
	}
	known, sure := false, true
	if k.around.Introduced != nil && !k.around.Witness.Waits(gateway) {
		known, sure = k.around.Introduced(gateway)
	}
	switch {
	case known:
		return nil
	case !sure:
		return schema.Errorf(schema.Pending, "it cannot be told yet whether gateway %q is new, and new ones wait for approval", gateway).
			WithNext("send again in a minute")
	default:
		return k.around.Witness.Wait(gateway, from.String(), k.around.Now())
	}
}

// Decided reports whether somebody has said of the gateway whether it may send.
func (k *Keys) Decided(gateway string) bool {
	own := k.gateways[gateway]
	return own != nil && own.Decided()
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
	case id.Gateway == "" && k.Settings.Approve:
		s.Allow = func(gateway string) error { return k.enrolsNew(gateway, id.address) }
	case id.Gateway == "":
		s.Allow = k.allowAny
	}
	return s
}
