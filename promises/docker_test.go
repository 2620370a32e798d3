package promises

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/dockertest"
	"berth/internal/version"
)

// containers is a sending whose instances are containers.
type containers struct {
	*sending
	engine *dockertest.Engine
	label  string // that the installation's containers, networks and volumes bear
}

func sendingInContainers(t *testing.T, e *dockertest.Engine, gateways int) *containers {
	t.Helper()
	e.Images(t, build(t), version.Version)
	dir := t.TempDir()
	data := filepath.Join(dir, "var")
	c := &containers{engine: e}
	t.Cleanup(func() { // after the daemon has ended
		if id, err := os.ReadFile(filepath.Join(data, "install")); err == nil {
			c.label = "label=berth.install=" + strings.TrimSpace(string(id))
			c.removeAll()
		}
	})
	in := newInstallOn(t, dir, data, "", "--runtime", "docker", "--docker-host", e.Address)
	id, err := os.ReadFile(filepath.Join(data, "install"))
	if err != nil {
		t.Fatal(err)
	}
	c.label = "label=berth.install=" + strings.TrimSpace(string(id))
	c.sending = newSending(t, in, dir, gateways)
	return c
}

// removeAll removes what a test leaves that ended early.
func (c *containers) removeAll() {
	ctx := context.Background()
	for list, remove := range map[string]string{"ps -aq": "rm -fv", "network ls -q": "network rm"} {
		if left, err := c.engine.Do(ctx, append(strings.Fields(list), "--filter", c.label)...); err == nil && left != "" {
			_, _ = c.engine.Do(ctx, append(strings.Fields(remove), strings.Fields(left)...)...)
		}
	}
}

// running returns the installation's containers, in order of their ids.
func (c *containers) running() string {
	c.t.Helper()
	ids := strings.Fields(c.engine.Must(c.t, "ps", "-q", "--filter", c.label))
	lines := make([]string, 0, len(ids))
	for _, id := range ids {
		lines = append(lines, c.engine.Must(c.t, "inspect", "-f", "{{.Name}} {{.Id}} {{.State.Pid}} {{.RestartCount}}", id))
	}
	return strings.Join(lines, "\n")
}

// TestPipelinesInContainersOutliveTheProvisioner has gateways send to a pipeline in containers while the provisioner, with
// NATS and the log in it, is killed and stopped and comes back: the same containers go on, no gateway notices more than a
// pause, and nothing acknowledged is lost. Then the engine starts again what is killed in it, and a purge leaves nothing.
func TestPipelinesInContainersOutliveTheProvisioner(t *testing.T) {
	c := sendingInContainers(t, dockertest.Shared(t), 20)
	start := func() time.Duration {
		ctx, cancel := context.WithTimeout(t.Context(), recovery)
		defer cancel()
		begun := time.Now()
		if _, err := c.install.Start(ctx); err != nil {
			t.Fatal(err)
		}
		c.recover()
		return time.Since(begun)
	}
	c.run(func() {
		c.waitForAcks(1000)
		before := c.running()
		if n := strings.Count(before, "\n") + 1; n != 3 {
			t.Fatalf("%d containers run, want web, ingest and reports:\n%s", n, before)
		}
		for what, end := range map[string]func(){"killed": c.install.Kill, "stopped": c.install.Stop} {
			end()
			took := start()
			c.waitForAcks(1000)
			if after := c.running(); after != before {
				t.Errorf("after the provisioner was %s there are\n%s\nbefore it\n%s", what, after, before)
			}
			if n := c.fleet.Stats().Reconnects; n != 0 {
				t.Errorf("gateways connected anew %d times when the provisioner was %s", n, what)
			}
			c.check(0)
			t.Logf("the provisioner was %s: answering again %v after its start", what, took.Round(time.Millisecond))
		}
		c.update(before)
		c.killContainers()
	})
	c.checkAll()
	c.checkBooks()
	c.purge()
}

// update gives ingest more memory in place, and asks for an image that is not there: what runs goes on.
func (c *containers) update(before string) {
	c.t.Helper()
	cli := func(args ...string) error {
		ctx, cancel := context.WithTimeout(c.t.Context(), recovery)
		defer cancel()
		_, err := c.install.CLI(ctx, append([]string{"update", "provider1", "--yes", "--role", "ingest"}, args...)...)
		return err
	}
	if err := cli("--memory", "700MiB"); err != nil {
		c.t.Error(err)
	}
	limit := c.engine.Must(c.t, "ps", "-q", "--filter", c.label, "--filter", "label=berth.role=ingest")
	if limit = c.engine.Must(c.t, "inspect", "-f", "{{.HostConfig.Memory}}", limit); limit != "734003200" {
		c.t.Errorf("after the update ingest may use %s bytes", limit)
	}
	if err := cli("--image", "berth/none:none"); err == nil || !strings.Contains(err.Error(), "has no image berth/none:none") {
		c.t.Errorf("an update to an image that is not there: %v", err)
	}
	c.waitForAcks(1000)
	if after := c.running(); after != before {
		c.t.Errorf("after the updates there are\n%s\nbefore them\n%s", after, before)
	}
}

// killContainers kills ingest and reports: the engine starts them again.
func (c *containers) killContainers() {
	c.t.Helper()
	for _, role := range []string{"ingest", "reports"} {
		pid, err := c.install.InstancePID(c.t.Context(), "provider1", role)
		if err != nil {
			c.t.Fatal(err)
		}
		begun := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			c.t.Fatal(err)
		}
		c.until(role+" was started again", func(ctx context.Context) error {
			now, err := c.install.InstancePID(ctx, "provider1", role)
			if err == nil && (now == pid || now == 0) {
				return fmt.Errorf("process %d", now)
			}
			return err
		})
		c.recover()
		c.waitForAcks(1000)
		c.t.Logf("%s was killed: answering again after %v", role, time.Since(begun).Round(time.Millisecond))
	}
	if out, err := c.install.CLI(c.t.Context(), "doctor"); err != nil {
		c.t.Errorf("doctor: %v\n%s", err, out)
	}
}

// purge removes the provider with its data: only web and the network of all instances are left.
func (c *containers) purge() {
	c.t.Helper()
	if out, err := c.install.CLI(c.t.Context(), "rm", "provider1", "--purge-data", "--yes"); err != nil {
		c.t.Fatalf("rm: %v\n%s", err, out)
	}
	for what, want := range map[string]int{"ps -aq": 1, "volume ls -q": 1, "network ls -q": 2} {
		left := c.engine.Must(c.t, append(strings.Fields(what), "--filter", c.label)...)
		if n := len(strings.Fields(left)); n != want {
			c.t.Errorf("after the purge docker %s shows %d, want %d", what, n, want)
		}
	}
	if _, err := os.Stat(filepath.Join(c.install.Data, "keyspaces", "provider1")); !os.IsNotExist(err) {
		c.t.Errorf("after the purge its folder: %v", err)
	}
}
