package docker

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	dockernet "github.com/docker/docker/api/types/network"

	"berth/schema"
)

// network is a network of the engine.
type network struct {
	id      string
	subnet  netip.Prefix
	gateway netip.Addr // its machine's address in it
}

// controlName returns the name of the network that connects all instances with NATS, the keyspaces and this machine. No
// way leads out of it.
func (r *Runtime) controlName() string { return "berth-" + r.o.Install + "-control" }

// networkName returns the name of a provider's own network, by which the outside reaches it. The house's own instances have
// one too: no provider has the underscore in its name.
func (r *Runtime) networkName(provider string) string {
	if provider == "" {
		provider = "_house"
	}
	return "berth-" + r.o.Install + "-net-" + provider
}

// ensureNetwork finds the named network, or makes it.
func (r *Runtime) ensureNetwork(ctx context.Context, name, provider string, internal bool) (network, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	n, err := r.findNetwork(ctx, name)
	if !errdefs.IsNotFound(err) {
		return n, err
	}
	_, err = r.cli.NetworkCreate(ctx, name, dockernet.CreateOptions{
		Driver: "bridge", Internal: internal,
		Labels: map[string]string{labelInstall: r.o.Install, labelProvider: provider},
	})
	switch {
	case err == nil, errdefs.IsConflict(err): // made, perhaps by a call that was cut off
	case strings.Contains(err.Error(), "non-overlapping"), strings.Contains(err.Error(), "predefined address pools"):
		return network{}, schema.Errorf(schema.Limited, "the Docker engine has no addresses left for another network").
			WithNext(`give it more in /etc/docker/daemon.json, such as "default-address-pools": [{"base": "10.200.0.0/16", "size": 27}], and start it again`).
			WithCause(err)
	default:
		return network{}, r.failed("make the network "+name, err)
	}
	return r.findNetwork(ctx, name)
}

// findNetwork finds the named network; errdefs' not found as it is. An engine may make two of one name, when a call that was
// cut off is made again: the older one counts, and the other goes once nothing is in it.
func (r *Runtime) findNetwork(ctx context.Context, name string) (network, error) {
	all, err := r.cli.NetworkList(ctx, dockernet.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	if err != nil {
		return network{}, r.failed("look for the network "+name, err)
	}
	all = slices.DeleteFunc(all, func(n dockernet.Summary) bool { return n.Name != name }) // the engine matches a part of it too
	ours := slices.DeleteFunc(slices.Clone(all), func(n dockernet.Summary) bool {
		return n.Labels[labelInstall] != r.o.Install && name != r.o.Network
	})
	switch {
	case len(all) == 0:
		return network{}, errdefs.ErrNotFound
	case len(ours) == 0:
		return network{}, schema.Errorf(schema.Conflict, "the network %s exists and is not of this installation", name).
			WithNext("remove it: docker network rm %s", name)
	}
	slices.SortFunc(ours, func(a, b dockernet.Summary) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	for _, other := range ours[1:] {
		if name != r.o.Network {
			_ = r.cli.NetworkRemove(ctx, other.ID) // what is in use stays
		}
	}
	n := network{id: ours[0].ID}
	for _, c := range ours[0].IPAM.Config {
		subnet, err := netip.ParsePrefix(c.Subnet)
		if err != nil || !subnet.Addr().Is4() {
			continue
		}
		gateway, err := netip.ParseAddr(strings.Split(c.Gateway, "/")[0])
		if err == nil {
			n.subnet, n.gateway = subnet, gateway
		}
	}
	return n, nil
}

// sweep removes the networks of providers of which nothing is left. What it cannot remove now, the next look at everything
// does.
func (r *Runtime) sweep(ctx context.Context) {
	r.untidy.Store(false)
	within, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	all, err := r.cli.NetworkList(within, dockernet.ListOptions{Filters: r.ours()})
	if err != nil {
		r.untidy.Store(true)
		r.o.Logger.Debug("networks that nothing uses stay for now", "error", r.failed("list networks", err))
		return
	}
	for _, n := range all {
		if n.ID == r.control.id || n.Name == r.controlName() {
			continue
		}
		if err := r.drop(within, n); err != nil {
			r.untidy.Store(true)
			r.o.Logger.Debug("a network that nothing uses stays for now", "network", n.Name, "error", err)
		}
	}
}

// drop removes a provider's network when nothing of the provider is left.
func (r *Runtime) drop(ctx context.Context, n dockernet.Summary) error {
	provider := n.Labels[labelProvider]
	defer r.locked(provider)()
	left, err := r.list(ctx, labelProvider, provider)
	if err != nil || len(left) > 0 {
		return err
	}
	if err := r.cli.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
		return r.failed("remove it", err)
	}
	return nil
}
