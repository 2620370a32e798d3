package house

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/certs"
	"berth/internal/credentials"
	"berth/schema"
	"berth/schema/record"
)

// longestSubject is the longest common name that X.509 allows, in characters.
const longestSubject = 64

// certify makes a certificate whose subject names the gateway, signed by the provider's authority. The gateway's name must be
// short enough for one.
func (g Gateways) certify(ctx context.Context, c *KeyChange, life time.Duration) error {
	gateway := c.Record.Gateway
	switch {
	case life == 0:
		life = CertLife
	case life < time.Hour || life > MostCertLife:
		return schema.Errorf(schema.Invalid, "a certificate's life of %v is not between 1 hour and %d days", life, int(MostCertLife.Hours()/24))
	}
	if n := len([]rune(gateway)); n > longestSubject {
		return schema.Errorf(schema.Invalid, "the gateway's name has %d characters, and a certificate's subject %d at most", n, longestSubject).
			WithNext("give it a key: provisioner gateway add %s NAME", g.provider)
	}
	authority, err := g.house.gatewayAuthority(ctx, g.provider)
	if err != nil {
		return err
	}
	until := g.now().UTC().Add(life).Truncate(time.Second)
	cert, secret, err := authority.Sign(&certs.Wish{Name: gateway, Usages: []certs.Usage{certs.Client}, Until: until})
	if err != nil {
		return err
	}
	read, err := certs.Parse(cert)
	if err != nil {
		return err
	}
	c.Cert, c.Secret = string(cert), string(secret)
	c.Record.Cert = &record.GatewayCert{Serial: read.SerialNumber.Text(16), Until: until}
	return nil
}

// gatewayAuthority returns the authority that signs the certificates of a provider's gateways. It is made when it is first
// needed.
func (h *House) gatewayAuthority(ctx context.Context, provider string) (*certs.Authority, error) {
	var authority *certs.Authority
	_, _, err := h.Change(ctx, provider, func(p *record.Provider) (err error) {
		if p.GatewayCASealed != nil {
			kept, err := credentials.Open(h.secret, p.GatewayCASealed)
			if err != nil {
				return fmt.Errorf("open the authority of the gateways of %s: %w", provider, err)
			}
			authority, err = certs.Decode(kept)
			return err
		}
		if authority, err = certs.New("berth gateways of " + provider); err != nil {
			return err
		}
		kept, err := authority.Encode()
		if err != nil {
			return err
		}
		p.GatewayCA = string(authority.CA())
		p.GatewayCASealed, err = credentials.Seal(h.secret, kept)
		return err
	})
	return authority, err
}

// RevokeCertificate refuses one certificate of a gateway, that the provider's own authority has signed, by its serial number in
// hex; the gateway may show others. One that was signed here is not told apart from its gateway: that is an Invalid error.
func (g Gateways) RevokeCertificate(ctx context.Context, gateway, serial string) (KeyChange, error) {
	serial, err := parseSerial(serial)
	if err != nil {
		return KeyChange{}, err
	}
	if err := schema.CheckGateway(gateway); err != nil {
		return KeyChange{}, err
	}
	k, revision, err := g.getOrNew(ctx, gateway)
	switch {
	case err != nil:
		return KeyChange{}, err
	case k.Cert != nil && k.Cert.Serial == serial:
		return KeyChange{}, schema.Errorf(schema.Invalid, "the certificate was signed here, and is the one that gateway %s has", gateway).
			WithNext("replace it at once: provisioner gateway rotate %s %s --overlap 0; or shut the gateway out: provisioner gateway revoke %s %s",
				g.provider, gateway, g.provider, gateway)
	case slices.Contains(k.Serials, serial):
		return KeyChange{Record: k, Revision: revision}, nil
	case len(k.Serials) >= record.MostSerials:
		return KeyChange{}, schema.Errorf(schema.Limited, "%d certificates of gateway %s are revoked, the limit", len(k.Serials), gateway).
			WithNext("shut the gateway out: provisioner gateway revoke %s %s", g.provider, gateway)
	}
	k.Serials = append(slices.Clone(k.Serials), serial)
	return g.write(ctx, KeyChange{Record: k}, revision)
}

// parseSerial reads a serial number as programs print it: hex, with colons or without.
func parseSerial(s string) (string, error) {
	plain := strings.TrimLeft(strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s, "0x"), ":", "")), "0")
	if plain == "" || len(plain) > 64 || strings.Trim(plain, "0123456789abcdef") != "" {
		return "", schema.Errorf(schema.Invalid, "%q is no serial number of a certificate", s).
			WithNext("give it in hex, as openssl x509 -serial prints it")
	}
	return plain, nil
}
