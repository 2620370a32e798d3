package record

import (
	"net/netip"

	"berth/schema"
)

// MostNetworks is how many networks a provider may allow.
const MostNetworks = 64

// checkNetworks returns an Invalid error that names the first network which cannot be allowed.
func checkNetworks(networks []string) error {
	if len(networks) > MostNetworks {
		return schema.Errorf(schema.Invalid, "%d networks are more than %d", len(networks), MostNetworks)
	}
	for _, n := range networks {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return schema.Errorf(schema.Invalid, "%q is no network", n).WithNext("give one such as 10.1.0.0/16 or fd00:1::/64")
		}
		if p != p.Masked() {
			return schema.Errorf(schema.Invalid, "%s is an address within a network, and no network", n).WithNext("give %s, or %s/%d", p.Masked(), p.Addr(), p.Addr().BitLen())
		}
		if p.Bits() == 0 {
			return schema.Errorf(schema.Invalid, "%s is everybody, who would need no key", n).WithNext("name the networks that are yours")
		}
	}
	return nil
}

// Allows reports whether senders at an address need no key for bare line protocol.
func (s Settings) Allows(address netip.Addr) bool {
	for _, n := range s.Networks {
		if p, err := netip.ParsePrefix(n); err == nil && p.Contains(address.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}
