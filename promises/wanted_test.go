package promises

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/bus"
	"berth/internal/gateways"
	"berth/promises/install"
)

// operated is two providers whose operator stops and starts one, asks what processes cannot do, and loses the other's record.
type operated struct {
	t            *testing.T
	in           *install.Install
	dir          string
	north, south install.Provider
	fleet        *gateways.Fleet // of north
	api          gateways.API
}

// TestWhatTheOperatorWantsIsSo: a provider that is stopped under load refuses connections, stays stopped through a SIGKILL
// of the provisioner, and has lost nothing when it is started again. What processes cannot do is refused with the reason.
// What no record wants goes on until somebody collects it, and nothing else is collected.
func TestWhatTheOperatorWantsIsSo(t *testing.T) {
	t.Parallel()
	o := newOperated(t)
	sending, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { o.fleet.Run(sending) })
	o.acknowledged(200)
	o.refuseWhatProcessesCannot()
	o.stopAndStart()
	stop()
	run.Wait()
	r, err := o.fleet.Check(t.Context(), o.api)
	if err != nil || !r.Good() || r.Acked == 0 {
		t.Errorf("what was acknowledged before and after the stop: %+v, %v", r, err)
	}
	t.Logf("%d readings acknowledged, lost 0", r.Acked)
	o.collect()
}

func newOperated(t *testing.T) *operated {
	t.Helper()
	in, dir := newInstall(t)
	o := &operated{t: t, in: in, dir: dir}
	for name, p := range map[string]*install.Provider{"north": &o.north, "south": &o.south} {
		var err error
		if *p, err = in.Add(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	token, err := in.Token(t.Context(), "north")
	if err != nil {
		t.Fatal(err)
	}
	o.api = gateways.API{Base: "http://" + in.Web, Provider: "north", Token: token}
	o.fleet, err = gateways.New(gateways.Options{Address: o.north.Address(), Key: o.north.EnrolmentKey, Prefix: "gw", Gateways: 20, Rate: 50, Sensors: 4})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// acknowledged waits until so many more frames are.
func (o *operated) acknowledged(n int64) {
	o.t.Helper()
	before := o.fleet.Stats().Acked
	soon(o.t, fmt.Sprintf("%d more frames are acknowledged", n), func() bool { return o.fleet.Stats().Acked >= before+n })
}

// refused runs a command line that must be refused as what cannot be, and says why.
func (o *operated) refused(why string, args ...string) {
	o.t.Helper()
	_, err := o.in.CLI(o.t.Context(), args...)
	if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.ExitCode() != 2 || !strings.Contains(err.Error(), why) {
		o.t.Errorf("provisioner %v: %v, want exit code 2 and %q", args, err, why)
	}
}

func (o *operated) refuseWhatProcessesCannot() {
	o.t.Helper()
	before := o.pids("north")
	o.refused("processes of this machine, which have no image", "update", "north", "--image", "berth/{role}:v2", "--yes")
	o.refused("nothing would hold them to that", "update", "north", "--memory", "128m", "--yes")
	o.refused("nothing runs within it", "exec", "north", "ingest", "health")
	if after := o.pids("north"); after != before {
		o.t.Errorf("what was refused has changed the processes %v to %v", before, after)
	}
}

// pids returns the processes of a provider.
func (o *operated) pids(name string) (pids [2]int) {
	o.t.Helper()
	for i, role := range []string{"ingest", "reports"} {
		var err error
		if pids[i], err = o.in.InstancePID(o.t.Context(), name, role); err != nil {
			o.t.Fatal(err)
		}
	}
	return pids
}

// state returns a provider's state, as ls says it.
func (o *operated) state(name string) string {
	o.t.Helper()
	out, err := o.in.CLI(o.t.Context(), "ls", "-o", "json")
	if err != nil {
		return err.Error()
	}
	var all []struct {
		Name      string `json:"name"`
		State     string `json:"state"`
		Instances []struct {
			Memory int64 `json:"memory"`
		} `json:"instances"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		o.t.Fatalf("%v: %s", err, out)
	}
	for _, p := range all {
		if p.Name != name {
			continue
		}
		for _, i := range p.Instances {
			if i.Memory < 1<<20 || i.Memory > 1<<30 {
				o.t.Errorf("an instance of %s is said to use %d bytes", name, i.Memory)
			}
		}
		return p.State
	}
	return "gone"
}

func (o *operated) stopAndStart() {
	o.t.Helper()
	pids := o.pids("north")
	if _, err := o.in.CLI(o.t.Context(), "stop", "north"); err != nil {
		o.t.Fatal(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			o.t.Errorf("process %d of north goes on", pid)
		}
	}
	o.notListening()
	o.in.Kill()
	ctx, cancel := context.WithTimeout(o.t.Context(), recovery)
	defer cancel()
	if _, err := o.in.Start(ctx); err != nil {
		o.t.Fatal(err)
	}
	soon(o.t, "the other one is ready again", func() bool { return o.state("south") == "ready" })
	if state := o.state("north"); state != "stopped" {
		o.t.Errorf("after the provisioner's restart north is %s", state)
	}
	o.notListening()
	if _, err := o.in.CLI(o.t.Context(), "set", "north", "--retention", "90d"); err != nil {
		o.t.Errorf("settings of a stopped provider cannot be changed: %v", err)
	}
	begun := time.Now()
	if _, err := o.in.CLI(o.t.Context(), "start", "north"); err != nil {
		o.t.Fatal(err)
	}
	o.acknowledged(200)
	o.t.Logf("frames are acknowledged %v after the start", time.Since(begun).Round(time.Millisecond))
}

// notListening checks that gateways are refused.
func (o *operated) notListening() {
	o.t.Helper()
	var d net.Dialer
	c, err := d.DialContext(o.t.Context(), "tcp", o.north.Address())
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		o.t.Errorf("a gateway of a stopped provider connects: %v", err)
	}
}

func alive(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(state, []byte(") Z "))
}

// collect loses south's record, and has its instances collected.
func (o *operated) collect() {
	o.t.Helper()
	north, south := o.pids("north"), o.pids("south")
	o.lose("south", south[0])
	gc := func(args ...string) string {
		out, err := o.in.CLI(o.t.Context(), append([]string{"gc"}, args...)...)
		if err != nil {
			o.t.Fatal(err)
		}
		return string(out)
	}
	soon(o.t, "the orphans are known", func() bool { return strings.Count(gc(), "there is no provider south") == 2 })
	out, _ := o.in.CLI(o.t.Context(), "doctor") // its exit code tells of the machine too
	if strings.Count(string(out), "no record wants it") != 2 {
		o.t.Errorf("the doctor says:\n%s", out)
	}
	if text := gc("--apply"); strings.Count(text, "it is left alone until") != 2 {
		o.t.Errorf("orphans within the time of grace: %s", text)
	}
	if text := gc("--older-than", "0s"); strings.Count(text, "south: stop") != 2 || !strings.Contains(text, "Nothing was done") {
		o.t.Errorf("what would be collected: %s", text)
	}
	if !alive(south[0]) || !alive(south[1]) {
		o.t.Fatal("an orphan was stopped, and nobody had said so")
	}
	if text := gc("--older-than", "0s", "--apply"); strings.Count(text, "south: stop") != 2 {
		o.t.Errorf("collected: %s", text)
	}
	soon(o.t, "the orphans have ended", func() bool { return !alive(south[0]) && !alive(south[1]) })
	if text := gc("--older-than", "0s", "--apply"); !strings.Contains(text, "every instance is wanted") {
		o.t.Errorf("collected once more: %s", text)
	}
	if now := o.pids("north"); now != north {
		o.t.Errorf("the processes of north were %v and are %v", north, now)
	}
}

// lose deletes a provider's record behind the provisioner's back. One of its processes tells where NATS is.
func (o *operated) lose(name string, pid int) {
	o.t.Helper()
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		o.t.Fatal(err)
	}
	authority, err := bus.OpenAuthority(filepath.Join(o.dir, "var", "authority"))
	if err != nil {
		o.t.Fatal(err)
	}
	url := ""
	for pair := range bytes.SplitSeq(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(pair, []byte("BERTH_NATS=")); ok {
			url = string(value)
		}
	}
	conn, err := bus.Connect(o.t.Context(), bus.Options{URL: url, Credentials: authority.House(), Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		o.t.Fatal(err)
	}
	defer conn.Close()
	bucket, err := conn.Bucket(o.t.Context(), bus.BucketOptions{Name: "providers"})
	if err != nil {
		o.t.Fatal(err)
	}
	if err := bucket.Delete(o.t.Context(), name); err != nil {
		o.t.Fatal(err)
	}
}
