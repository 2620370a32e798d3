package docker

import (
	"context"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"berth/provisioner/runtime"
	"berth/schema"
)

// withDefaults returns resources with this runtime's own in the place of what is not said: a gigabyte, half of the engine's
// processors, and as many threads as an instance at its own limits needs. Of open files it may have as many as the engine
// gives by itself: an engine with few, as one within a container, could not start what is given more.
func (r *Runtime) withDefaults(s runtime.Resources) runtime.Resources {
	if s.Memory == 0 {
		s.Memory = 1 << 30
	}
	if s.MilliCPU == 0 {
		s.MilliCPU = max(1000, int64(r.engine.cpus)*500)
	}
	if s.PIDs == 0 {
		s.PIDs = 512
	}
	return s
}

// limits returns resources as the engine is told them.
func (r *Runtime) limits(s runtime.Resources) container.Resources {
	s = r.withDefaults(s)
	limits := container.Resources{
		Memory: s.Memory, MemorySwap: s.Memory, // nothing is swapped out
		NanoCPUs: s.MilliCPU * 1e6, PidsLimit: &s.PIDs,
	}
	if s.Files > 0 {
		limits.Ulimits = []*container.Ulimit{{Name: "nofile", Soft: s.Files, Hard: s.Files}}
	}
	return limits
}

// resources returns what a container may use.
func resources(h *container.HostConfig) runtime.Resources {
	s := runtime.Resources{Memory: h.Memory, MilliCPU: h.NanoCPUs / 1e6}
	if h.PidsLimit != nil {
		s.PIDs = *h.PidsLimit
	}
	for _, l := range h.Ulimits {
		if l.Name == "nofile" {
			s.Files = l.Hard
		}
	}
	return s
}

// Update changes what a running container may use: all but the number of its open files, which waits for the next start.
func (r *Runtime) Update(ctx context.Context, name string, s runtime.Resources) error {
	c, err := r.running(ctx, name)
	if err != nil {
		return err
	}
	defer r.view.hear(c.ID)
	limits := r.limits(s)
	limits.Ulimits = nil
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err = r.cli.ContainerUpdate(ctx, c.ID, container.UpdateConfig{Resources: limits})
	switch {
	case err == nil:
		return nil
	case errdefs.IsNotFound(err):
		return notRunning(name)
	case errdefs.IsInvalidArgument(err):
		return schema.Errorf(schema.Invalid, "the Docker engine refuses these limits for %s: %v", name, err)
	case strings.Contains(err.Error(), "busy"):
		return schema.Errorf(schema.Conflict, "%s uses more memory now than it would be left", name).
			WithNext("leave it more, or restart it").WithCause(err)
	default:
		return r.failed("update "+name, err)
	}
}

func notRunning(name string) error { return schema.Errorf(schema.NotFound, "%s does not run", name) }
