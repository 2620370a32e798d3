package docker

import (
	"strconv"

	"github.com/docker/docker/api/types/filters"

	"berth/provisioner/runtime"
)

// Labels of containers and networks.
const (
	labelInstall  = "berth.install"
	labelName     = "berth.name" // of the instance
	labelProvider = "berth.provider"
	labelRole     = "berth.role"
	labelSlot     = "berth.slot"
	labelInstance = "berth.instance"
	labelSpec     = "berth.spec"
	labelVersion  = "berth.version"
)

// labels returns an instance's labels.
func (r *Runtime) labels(s runtime.Spec) map[string]string {
	return map[string]string{
		labelInstall: r.o.Install, labelName: s.Name, labelProvider: s.Provider, labelRole: s.Role, labelSlot: strconv.Itoa(int(s.Slot)),
		labelInstance: s.ID, labelSpec: s.Hash, labelVersion: s.Version,
	}
}

// ours chooses what bears the installation's label, and those of the pairs key, value.
func (r *Runtime) ours(pairs ...string) filters.Args {
	args := filters.NewArgs(filters.Arg("label", labelInstall+"="+r.o.Install))
	for i := 0; i+1 < len(pairs); i += 2 {
		args.Add("label", pairs[i]+"="+pairs[i+1])
	}
	return args
}

// containerName returns the name of the container of a spec.
func (r *Runtime) containerName(s runtime.Spec) string {
	return "berth-" + r.o.Install + "-" + s.Name + "-" + s.Hash
}
