package intake

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	"berth/schema"
	"berth/schema/record"
)

// Certificate is what is known of a certificate that a client has shown by TLS, and that one of the provider's authorities has
// signed.
type Certificate struct {
	Gateway string // its subject's common name
	serial  string // hex
	root    rootID
	until   time.Time
}

// rootID tells authorities apart: it is the SHA-256 of their certificate.
type rootID [sha256.Size]byte

// CertificateOf returns what is known of the certificate that a connection was opened with, nil if there was none.
func CertificateOf(s *tls.ConnectionState) *Certificate {
	if len(s.VerifiedChains) == 0 || len(s.PeerCertificates) == 0 {
		return nil
	}
	own, chain := s.PeerCertificates[0], s.VerifiedChains[0]
	return &Certificate{
		Gateway: own.Subject.CommonName, serial: own.SerialNumber.Text(16), root: sha256.Sum256(chain[len(chain)-1].Raw), until: own.NotAfter,
	}
}

// authorities are who may sign certificates of a provider's gateways.
type authorities struct {
	text  [2]string       // of which they were read
	pool  *x509.CertPool  // nil: there are none
	roots map[rootID]bool // whether it is the installation's
}

// authoritiesOf returns the authorities of a provider, those of before if they are the same. What cannot be read was refused when
// it was set.
func authoritiesOf(p *record.Pipeline, before *Keys) *authorities {
	a := &authorities{text: [2]string{p.GatewayCA, p.Settings.ClientCA}, roots: map[rootID]bool{}}
	if before != nil && before.authorities.text == a.text {
		return before.authorities
	}
	for n, text := range a.text {
		all, err := record.Authorities(text)
		if err != nil {
			continue
		}
		for _, c := range all {
			if a.pool == nil {
				a.pool = x509.NewCertPool()
			}
			a.pool.AddCert(c)
			id := rootID(sha256.Sum256(c.Raw))
			a.roots[id] = a.roots[id] || n == 0
		}
	}
	return a
}

// Clients returns who may sign clients' certificates, nil if nobody may.
func (k *Keys) Clients() *x509.CertPool { return k.authorities.pool }

// certified returns who shows a certificate under the name that he gives himself, which may be empty.
func (k *Keys) certified(c *Certificate, gateway string) (Identity, error) {
	ours, trusted := k.authorities.roots[c.root]
	own := k.gateways[c.Gateway]
	switch {
	case !trusted:
		return Identity{}, schema.Errorf(schema.Unauthorized, "whoever signed the certificate is trusted no more")
	case !k.around.Now().Before(c.until):
		return Identity{}, schema.Errorf(schema.Unauthorized, "the certificate has ended on %s", c.until.UTC().Format(time.DateOnly)).
			WithNext("have a new one made")
	case own != nil && !own.Revoked.IsZero():
		return Identity{}, schema.Errorf(schema.Unauthorized, "gateway %q was revoked", c.Gateway)
	case ours:
		h, known := k.hashes[record.CertHash(c.serial)]
		if !known || h.own.Gateway != c.Gateway {
			return Identity{}, schema.Errorf(schema.Unauthorized, "the certificate was revoked, or replaced by a new one")
		}
		return k.owner(h, gateway, record.CertHash(c.serial))
	case own != nil && slices.Contains(own.Serials, c.serial):
		return Identity{}, schema.Errorf(schema.Unauthorized, "the certificate was revoked")
	}
	if err := schema.CheckGateway(c.Gateway); err != nil {
		return Identity{}, err
	}
	if own == nil {
		own = &record.GatewayKey{Gateway: c.Gateway}
	}
	return k.owner(held{own: own}, gateway, record.CertHash(c.serial))
}
