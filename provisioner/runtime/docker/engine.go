package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"

	"berth/schema"
)

// leastAPI is the oldest API of an engine that will do: Docker 20.10.
const leastAPI = "1.41"

// connect connects to the engine and finds out what it is.
func (r *Runtime) connect(ctx context.Context) error {
	options := []client.Opt{client.WithTLSClientConfigFromEnv(), client.WithAPIVersionNegotiation()}
	if r.o.Host != "" {
		options = append(options, client.WithHost(r.o.Host))
	}
	cli, err := client.NewClientWithOpts(options...)
	if err != nil {
		return schema.Errorf(schema.Invalid, "%q is no address of a Docker engine", r.o.Host).
			WithNext("give --docker-host, such as unix:///var/run/docker.sock").WithCause(err)
	}
	r.cli = cli
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	info, err := cli.Info(ctx)
	if err != nil {
		return r.failed("ask what it is", err)
	}
	if versions.LessThan(cli.ClientVersion(), leastAPI) {
		return schema.Errorf(schema.Unavailable, "the Docker engine at %s speaks API %s, needed is %s", cli.DaemonHost(), cli.ClientVersion(), leastAPI).
			WithNext("upgrade it to Docker 20.10 or later")
	}
	r.engine.cpus = info.NCPU
	if !strings.HasPrefix(cli.DaemonHost(), "unix:") {
		r.engine.host = info.Name
	}
	return nil
}

// failed returns what went wrong with the engine, as whoever runs it must hear it.
func (r *Runtime) failed(act string, err error) error {
	at := r.cli.DaemonHost()
	switch text := err.Error(); {
	case strings.Contains(text, "permission denied") && client.IsErrConnectionFailed(err):
		return schema.Errorf(schema.Forbidden, "the Docker engine at %s may not be used by this user", at).
			WithNext("run the provisioner as root, or join the group: sudo usermod -aG docker $USER").WithCause(err)
	case client.IsErrConnectionFailed(err):
		return schema.Errorf(schema.Unavailable, "no Docker engine answers at %s", at).
			WithNext("start it: sudo systemctl start docker; or name another: serve --docker-host").WithCause(err)
	case errors.Is(err, context.DeadlineExceeded):
		return schema.Errorf(schema.Unavailable, "the Docker engine at %s did not answer in time", at).
			WithNext("see how it is: docker ps; its own log: journalctl -u docker").WithCause(fmt.Errorf("%s: %w", act, err))
	default:
		return fmt.Errorf("%s: %w", act, err)
	}
}

// portTaken reports whether the engine could not publish a port since something else has it.
func portTaken(err error) bool {
	text := err.Error()
	return strings.Contains(text, "port is already allocated") || strings.Contains(text, "address already in use")
}
