package dockertest_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/dockertest"
)

// image is what an engine says of an image, as far as it matters here.
type image struct {
	Size   int64
	Config struct {
		User        string
		Labels      map[string]string
		Healthcheck *struct{ Test []string }
		Entrypoint  []string
		Volumes     map[string]struct{}
	}
}

// TestImages: each holds one program and nothing else, runs as nobody in particular, says what it is, and starts.
func TestImages(t *testing.T) {
	e := dockertest.Shared(t)
	const version = "v0-test"
	said := e.Images(t, "", version)
	secrets := secretFiles(t)
	for _, program := range dockertest.Programs {
		name := "berth/" + program + ":" + version
		if !regexp.MustCompile(regexp.QuoteMeta(name) + ` +\d+\.\d MB`).MatchString(said) {
			t.Errorf("docker/images does not tell the size of %s:\n%s", name, said)
		}
		t.Run(program, func(t *testing.T) {
			holdsLittle(t, e, program, version)
			if program != "fieldsim" {
				isHealthyWhileNATSIsAway(t, e, program, version, secrets)
			}
		})
	}
}

// holdsLittle checks what an image holds and says.
func holdsLittle(t *testing.T, e *dockertest.Engine, program, version string) {
	t.Helper()
	name := "berth/" + program + ":" + version
	var got []image
	if err := json.Unmarshal([]byte(e.Must(t, "image", "inspect", name)), &got); err != nil {
		t.Fatal(err)
	}
	c := got[0].Config
	if got[0].Size > 40_000_000 || got[0].Size < 1_000_000 {
		t.Errorf("it has %d bytes", got[0].Size)
	}
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(c.User) {
		t.Errorf("it runs as %q", c.User)
	}
	labels := maps.Clone(c.Labels)
	delete(labels, "org.opencontainers.image.description")
	want := map[string]string{
		"org.opencontainers.image.title": "berth-" + program, "org.opencontainers.image.vendor": "Berth",
		"org.opencontainers.image.version": version, "org.opencontainers.image.revision": "test",
	}
	if diff := cmp.Diff(want, labels); diff != "" {
		t.Errorf("it has other labels (-want +got):\n%s", diff)
	}
	if program != "fieldsim" && (c.Healthcheck == nil || !slices.Equal(c.Healthcheck.Test, []string{"CMD", "/" + program, "health"})) {
		t.Errorf("it is checked by %v", c.Healthcheck)
	}
	if files := filesOf(t, e, name); !slices.Equal(files, []string{program}) {
		t.Errorf("it holds %v", files)
	}
}

// filesOf returns the files of an image, without those that the engine puts into each container.
func filesOf(t *testing.T, e *dockertest.Engine, image string) (files []string) {
	t.Helper()
	id := e.Must(t, "create", image)
	archive := filepath.Join(t.TempDir(), "files.tar")
	e.Must(t, "export", "-o", archive, id)
	e.Must(t, "rm", "-v", id)
	for name := range tarNames(t, archive) {
		switch first, _, _ := strings.Cut(name, "/"); {
		case strings.HasSuffix(name, "/"), name == ".dockerenv", first == "dev", first == "etc":
		default:
			files = append(files, name)
		}
	}
	return files
}

// container starts a container as production does: nothing can be written, nothing is allowed. It ends with the test.
func container(t *testing.T, e *dockertest.Engine, args ...string) string {
	t.Helper()
	id := e.Must(t, append([]string{
		"run", "-d", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none",
		"--health-interval", "200ms", "--health-timeout", "3s", "--health-retries", "1", "--health-start-period", "0s", "--pids-limit", "64",
	}, args...)...)
	t.Cleanup(func() {
		if _, err := e.Do(context.WithoutCancel(t.Context()), "rm", "-f", "-v", id); err != nil {
			t.Error(err)
		}
	})
	return id
}

// secretFiles returns a folder with the secret files of an instance, which another user may read.
func secretFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"credentials": "none", "secret": strings.Repeat("s", 32)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// isHealthyWhileNATSIsAway: a container starts with a read-only root and no capability; it is healthy before it has reached
// NATS; stopped it is not, and going on it is again.
func isHealthyWhileNATSIsAway(t *testing.T, e *dockertest.Engine, program, version, secrets string) {
	t.Helper()
	var args []string // the provisioner has a NATS of its own
	if program != "provisioner" {
		args = []string{
			"-v", secrets + ":/secrets:ro", "-e", "BERTH_CREDENTIALS=/secrets/credentials", "-e", "BERTH_HOUSE_SECRET=/secrets/secret",
			"-e", "BERTH_NATS=nats://127.0.0.1:4222", "-e", "BERTH_INSTANCE=i1", "-e", "BERTH_PROVIDER=provider1", "-e", "BERTH_KEYSPACES=sqlite:/keyspaces",
		}
	}
	id := container(t, e, append(args, "berth/"+program+":"+version)...)
	health := func(want string) {
		t.Helper()
		until(t, e, id, func() bool {
			return e.Must(t, "inspect", "--format", "{{.State.Running}} {{.State.Health.Status}}", id) == "true "+want
		})
	}
	health("healthy")
	if said := e.Must(t, "exec", id, "/"+program, "health"); !strings.HasPrefix(said, program) {
		t.Errorf("it says %q", said)
	}
	e.Must(t, "kill", "--signal", "STOP", id)
	health("unhealthy")
	e.Must(t, "kill", "--signal", "CONT", id)
	health("healthy")
	e.Must(t, "stop", id)
	if code := e.Must(t, "inspect", "--format", "{{.State.ExitCode}}", id); code != "0" {
		t.Errorf("stopped in order, it ends with exit code %s:\n%s", code, logs(t, e, id))
	}
}

// until asks again until fn says true, half a minute at most, and shows what the container wrote when it does not.
func until(t *testing.T, e *dockertest.Engine, id string, fn func() bool) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !fn() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("it took too long; %s\n%s", e.Must(t, "inspect", "--format", "{{json .State}}", id), logs(t, e, id))
		}
	}
}
