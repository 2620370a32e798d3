package reports

import (
	"fmt"
	"net"
	"net/netip"

	"berth/schema"
)

// reachedAt returns where others reach what listens at an address: for all who do not listen on every address of theirs
// that is the same; else it is at that address of this machine, or container, which is in the given network.
func reachedAt(listening, network string) (string, error) {
	if network == "" {
		return listening, nil
	}
	within, err := netip.ParsePrefix(network)
	if err != nil {
		return "", schema.Errorf(schema.Invalid, "%q is no network", network).WithNext("give --announce one such as 172.18.0.0/16")
	}
	_, port, err := net.SplitHostPort(listening)
	if err != nil {
		return "", fmt.Errorf("read the address of the API: %w", err)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find the addresses of this machine: %w", err)
	}
	for _, a := range addresses {
		if own, err := netip.ParsePrefix(a.String()); err == nil && within.Contains(own.Addr().Unmap()) {
			return net.JoinHostPort(own.Addr().Unmap().String(), port), nil
		}
	}
	return "", schema.Errorf(schema.Invalid, "no address of this machine is in the network %s", network).
		WithNext("give --announce the network in which web and the provisioner reach this")
}
