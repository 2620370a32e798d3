package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	dockernet "github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"berth/provisioner/runtime"
	"berth/schema"
)

// Where things are within a container.
const (
	secretsWithin = "/run/berth"
	foldersWithin = "/folders"
)

// Start starts a container, unless one of the same spec runs already. What is left of the name that does not run goes
// first: it may be half of a start that was cut off.
func (r *Runtime) Start(ctx context.Context, s runtime.Spec) error {
	defer r.view.doubt()
	left, err := r.named(ctx, s.Name)
	if err != nil {
		return err
	}
	for _, c := range left {
		switch {
		case !runs(c):
			if err := r.retire(ctx, c); err != nil {
				return err
			}
		case c.Config.Labels[labelSpec] == s.Hash:
			return nil
		default:
			return schema.Errorf(schema.Conflict, "%s runs already, of another spec", s.Name)
		}
	}
	err = r.bringUp(ctx, s)
	if err != nil {
		r.sweep(context.WithoutCancel(ctx))
	}
	return err
}

// bringUp makes a container and starts it, or leaves none.
func (r *Runtime) bringUp(ctx context.Context, s runtime.Spec) error {
	defer r.locked(s.Provider)()
	id, err := r.create(ctx, s)
	if err != nil {
		return err
	}
	if err = r.equip(ctx, id, s); err == nil {
		err = r.launch(ctx, id, s)
	}
	if err == nil {
		return nil
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
	defer cancel()
	if e := r.remove(within, id); e != nil { // the next start removes it
		r.o.Logger.Warn("what is left of a start cannot be removed", "instance", s.Name, "error", e)
	}
	return err
}

// image returns the image of a spec.
func (r *Runtime) image(s runtime.Spec) string {
	if s.Image != "" {
		return s.Image
	}
	return r.o.Image(s.Role, s.Version)
}

// Check reports whether the engine has the image.
func (r *Runtime) Check(ctx context.Context, s runtime.Spec) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err := r.cli.ImageInspect(ctx, r.image(s))
	switch {
	case errdefs.IsNotFound(err):
		return noImage(r.image(s), err)
	case err != nil:
		return r.failed("look for the image "+r.image(s), err)
	}
	return nil
}

func noImage(name string, cause error) error {
	return schema.Errorf(schema.NotFound, "the Docker engine has no image %s", name).
		WithNext("make it: make images; or load it: docker load, docker pull").WithCause(cause)
}

// createStep is the pause before a container is created again under a name that is just being given up, or taken.
const createStep = 100 * time.Millisecond

// create makes the container, in its provider's network.
func (r *Runtime) create(ctx context.Context, s runtime.Spec) (id string, err error) {
	network, err := r.ensureNetwork(ctx, r.networkName(s.Provider), s.Provider, false)
	if err != nil {
		return "", err
	}
	if err := r.handOver(s); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	config, host := r.configure(s, network)
	name := r.containerName(s)
	for {
		made, err := r.cli.ContainerCreate(ctx, config, host, nil, nil, name)
		switch {
		case err == nil:
			return made.ID, nil
		case errdefs.IsNotFound(err) && strings.Contains(err.Error(), config.Image):
			return "", noImage(config.Image, err)
		case errdefs.IsInvalidArgument(err):
			return "", schema.Errorf(schema.Invalid, "%s is not started: the Docker engine refuses what it is told: %v", s.Name, err).
				WithNext("give it other bounds: provisioner update")
		case !errdefs.IsConflict(err):
			return "", r.failed("create "+name, err)
		}
		if err := r.vacate(ctx, name); err != nil {
			return "", err
		}
	}
}

// vacate has a name free that a container holds: one of ours that a call made which was cut off goes.
func (r *Runtime) vacate(ctx context.Context, name string) error {
	c, err := r.inspect(ctx, name)
	switch {
	case errdefs.IsNotFound(err): // it is only being made, or removed
		timer := time.NewTimer(createStep)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return r.failed("create "+name, ctx.Err())
		}
	case err != nil:
		return err
	case c.Config.Labels[labelInstall] != r.o.Install:
		return schema.Errorf(schema.Conflict, "a container named %s exists and is not of this installation", name).
			WithNext("look at it: docker inspect %s; remove it: docker rm -f %s", name, name)
	default:
		return r.retire(ctx, c)
	}
}

// configure returns what the engine is told of a container.
func (r *Runtime) configure(s runtime.Spec, own network) (*container.Config, *container.HostConfig) {
	env := maps.Clone(r.o.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, s.Env)
	for name := range s.Files {
		env[name] = secretsWithin + "/" + name
	}
	config := &container.Config{Image: r.image(s), User: r.o.User, Labels: r.labels(s), ExposedPorts: nat.PortSet{}}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		config.Env = append(config.Env, name+"="+env[name])
	}
	grace := int(r.o.Grace / time.Second)
	config.StopTimeout = &grace // also when the engine itself stops
	host := &container.HostConfig{
		NetworkMode:    container.NetworkMode(own.id),
		PortBindings:   nat.PortMap{},
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyAlways}, // an engine that was killed takes what it finds running for stopped by somebody
		ReadonlyRootfs: true,
		CapDrop:        []string{"ALL"},
		SecurityOpt:    []string{"no-new-privileges"},
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{
			"max-size": strconv.FormatInt(r.o.LogSize, 10), "max-file": "3",
		}},
		Resources: r.limits(s.Resources),
		Mounts:    mounts(r.o.Install, s),
	}
	for _, p := range s.Ports {
		bind(config, host, p, "tcp")
		if p.UDP {
			bind(config, host, p, "udp")
		}
	}
	return config, host
}

func bind(config *container.Config, host *container.HostConfig, p runtime.Port, protocol string) {
	port := nat.Port(fmt.Sprintf("%d/%s", p.Number, protocol))
	config.ExposedPorts[port] = struct{}{}
	host.PortBindings[port] = []nat.PortBinding{{HostIP: p.Host, HostPort: strconv.Itoa(p.Number)}}
}

func mounts(install string, s runtime.Spec) []mount.Mount {
	all := []mount.Mount{{
		Type: mount.TypeVolume, Target: secretsWithin, // without a source: it goes with the container
		VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: map[string]string{labelInstall: install}},
	}}
	for _, within := range slices.Sorted(maps.Keys(s.Folders)) {
		all = append(all, mount.Mount{Type: mount.TypeBind, Source: s.Folders[within], Target: within})
	}
	return all
}

// equip gives the container its secret files and connects it with the others.
func (r *Runtime) equip(ctx context.Context, id string, s runtime.Spec) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	archive, err := pack(s.Files, r.o.User)
	if err != nil {
		return fmt.Errorf("pack the secrets of %s: %w", s.Name, err)
	}
	if err := r.cli.CopyToContainer(ctx, id, secretsWithin, archive, container.CopyToContainerOptions{}); err != nil {
		return r.failed("give "+s.Name+" its secrets", err)
	}
	err = r.cli.NetworkConnect(ctx, r.control.id, id, &dockernet.EndpointSettings{})
	if errdefs.IsNotFound(err) { // somebody removed it: this machine's address in it may be another one now
		return schema.Errorf(schema.Unavailable, "the network %s is gone", r.controlName()).
			WithNext("start the provisioner again: it makes the network").WithCause(err)
	}
	if err != nil {
		return r.failed("connect "+s.Name, err)
	}
	return nil
}

// pack returns an archive of files that only the user reads.
func pack(files map[string][]byte, user string) (*bytes.Buffer, error) {
	var uid, gid int
	if _, err := fmt.Sscanf(user, "%d:%d", &uid, &gid); err != nil {
		return nil, fmt.Errorf("read the user %q: %w", user, err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o400, Uid: uid, Gid: gid, Size: int64(len(files[name]))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	return &b, w.Close()
}

// launch starts the container.
func (r *Runtime) launch(ctx context.Context, id string, s runtime.Spec) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	err := r.cli.ContainerStart(ctx, id, container.StartOptions{})
	if err != nil && portTaken(err) {
		var at []string
		for _, p := range s.Ports {
			at = append(at, fmt.Sprintf("%s:%d", p.Host, p.Number))
		}
		return schema.Errorf(schema.Unavailable, "%s is not started: %s is held by something else", s.Name, strings.Join(at, ", ")).
			WithNext("see by what: sudo ss -lntup; docker ps").WithCause(err)
	}
	if err != nil && strings.Contains(err.Error(), "rlimit") {
		return schema.Errorf(schema.Invalid, "%s is not started: the Docker engine cannot give it %d open files", s.Name, s.Resources.Files).
			WithNext("ask for fewer, or give the engine more: LimitNOFILE= of docker.service").WithCause(err)
	}
	if err != nil {
		return r.failed("start "+s.Name, err)
	}
	return nil
}

// handOver gives the folders that the instance writes to the user that it runs as: root made them, and instances are not
// root. A provisioner that is not root runs instances as itself.
func (r *Runtime) handOver(s runtime.Spec) error {
	var uid, gid int
	if _, err := fmt.Sscanf(r.o.User, "%d:%d", &uid, &gid); err != nil {
		return fmt.Errorf("read the user %q: %w", r.o.User, err)
	}
	if os.Getuid() != 0 {
		return nil
	}
	for _, folder := range s.Folders {
		if err := chownAll(folder, uid, gid); err != nil {
			return fmt.Errorf("give %s to the user of %s: %w", folder, s.Name, err)
		}
	}
	return nil
}

// chownAll gives a folder and all in it to a user. Other instances may be at work in it, and one that somebody has broken into
// may put links where folders were: nothing outside is touched, and what is gone meanwhile is passed over.
func chownAll(folder string, uid, gid int) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // only read
	return fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = root.Lchown(path, uid, gid)
		}
		if path != "." && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}
