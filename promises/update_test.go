package promises

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/dockertest"
	"berth/internal/version"
)

// TestContainersAreUpdatedUnderLoad has gateways send while their provider's containers are given other bounds, a good
// image, one that there is not, and one that ends at once, with the provisioner killed on the way back; then an operator
// restarts, stops, starts, removes and adds it by API. Bounds change in place; a good image stays, the others are taken back;
// gateways are away for seconds, and nothing acknowledged is lost.
func TestContainersAreUpdatedUnderLoad(t *testing.T) {
	c := sendingInContainers(t, dockertest.Shared(t), 20)
	next, ends := c.image("next"), c.image("ends", `ENTRYPOINT ["/ingest","--no-such-flag"]`)
	c.run(func() {
		c.waitForAcks(1000)
		c.bound()
		c.pauses("a good image", 10*time.Second, func() { c.change(0, "--role", "ingest", "--image", next) })
		c.runs(next)
		c.pauses("an image that there is not", 15*time.Second, func() { c.change(8, "--role", "ingest", "--image", next+"-not") })
		c.runs(next)
		c.pauses("an image that ends at once", 20*time.Second, func() { c.change(8, "--role", "ingest", "--image", ends) })
		c.runs(next)
		c.pauses("an image that ends at once, and a killed provisioner", 30*time.Second, func() { c.killedOnTheWayBack(ends, next) })
		c.acts()
	})
	c.checkAll()
	c.checkBooks()
	c.purge()
}

// image makes an image of ingest under another tag, changed as a Dockerfile's lines say, and removes it after the test.
func (c *containers) image(tag string, changes ...string) string {
	c.t.Helper()
	of, name := "berth/ingest:"+version.Version, fmt.Sprintf("berth/ingest:%s-%d", tag, time.Now().UnixNano())
	id := c.engine.Must(c.t, "create", of)
	args := []string{"commit"}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	c.engine.Must(c.t, append(args, strings.TrimSpace(id), name)...)
	c.engine.Must(c.t, "rm", strings.TrimSpace(id))
	c.t.Cleanup(func() { _, _ = c.engine.Do(context.WithoutCancel(c.t.Context()), "image", "rm", "-f", name) })
	return name
}

// change runs provisioner update, which must end with the given exit code.
func (c *containers) change(code int, args ...string) {
	c.t.Helper()
	out, err := c.install.CLI(c.t.Context(), append([]string{"update", "provider1", "--yes"}, args...)...)
	got := 0
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		got = ended.ExitCode()
	}
	if got != code {
		c.t.Fatalf("provisioner update %v: %v, want exit code %d\n%s", args, err, code, out)
	}
}

// bound gives the containers other bounds: they are the same as before, and have them.
func (c *containers) bound() {
	c.t.Helper()
	before := c.running()
	c.change(0, "--memory", "256m", "--cpus", "1.5", "--pids", "300")
	if after := c.running(); after != before {
		c.t.Errorf("other bounds made of\n%s\n\n%s", before, after)
	}
	for role, want := range map[string]string{"ingest": "268435456 1500000000 300", "reports": "268435456 1500000000 300"} {
		if got := c.engine.Must(c.t, "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}", c.container(role)); strings.TrimSpace(got) != want {
			c.t.Errorf("%s is held to %s, want %s", role, got, want)
		}
	}
	if out, err := c.install.CLI(c.t.Context(), "exec", "provider1", "ingest", "health"); err != nil {
		c.t.Errorf("exec: %v\n%s", err, out)
	}
}

// container returns the id of the running container of a role.
func (c *containers) container(role string) string {
	c.t.Helper()
	return strings.TrimSpace(c.engine.Must(c.t, "ps", "-q", "--filter", c.label, "--filter", "label=berth.role="+role))
}

// runs checks of which image ingest is.
func (c *containers) runs(image string) {
	c.t.Helper()
	c.recover()
	if got := strings.TrimSpace(c.engine.Must(c.t, "inspect", "-f", "{{.Config.Image}}", c.container("ingest"))); got != image {
		c.t.Errorf("ingest is of image %s, want %s", got, image)
	}
}

// pauses does something, and says how long gateways had no acknowledgement at the longest, which is bounded.
func (c *containers) pauses(what string, most time.Duration, do func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	var (
		longest time.Duration
		watch   sync.WaitGroup
	)
	watch.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		acked, at := c.fleet.Stats().Acked, time.Now()
		for ctx.Err() == nil {
			<-tick.C
			if now := c.fleet.Stats().Acked; now != acked {
				acked, at = now, time.Now()
			}
			longest = max(longest, time.Since(at))
		}
	})
	begun := time.Now()
	do()
	c.recover()
	cancel()
	watch.Wait()
	c.t.Logf("%s: done after %v; gateways were away for %v", what, time.Since(begun).Round(10*time.Millisecond), longest.Round(10*time.Millisecond))
	if longest > most {
		c.t.Errorf("%s: gateways were away for %v", what, longest)
	}
}

// killedOnTheWayBack kills the provisioner once the new image runs; the next one brings the old one back.
func (c *containers) killedOnTheWayBack(image, back string) {
	c.t.Helper()
	c.change(0, "--role", "ingest", "--image", image, "--wait", "0")
	c.until("a container of the new image is there", func(ctx context.Context) error {
		ids, err := c.engine.Do(ctx, "ps", "-aq", "--filter", c.label, "--filter", "ancestor="+image)
		if err == nil && ids == "" {
			err = errors.New("not yet")
		}
		return err
	})
	c.install.Kill()
	ctx, cancel := context.WithTimeout(c.t.Context(), recovery)
	defer cancel()
	if _, err := c.install.Start(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.until("the old image is back, and it is said why", func(ctx context.Context) error {
		out, err := c.install.CLI(ctx, "ls")
		if want := "ingest has image " + back + " back: " + image; err == nil && !strings.Contains(string(out), want) {
			return fmt.Errorf("ls says:\n%s", out)
		}
		return err
	})
	c.runs(back)
}
