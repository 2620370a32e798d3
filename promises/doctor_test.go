package promises

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"berth/internal/metrics"
	"berth/promises/install"
)

// check is a line of `provisioner doctor -o json`.
type check struct {
	Name     string `json:"name"`
	Provider string `json:"provider"`
	State    string `json:"state"`
	Text     string `json:"text"`
	Next     string `json:"next"`
}

// TestTheDoctorSaysWhatToDo makes the main troubles for real: frames that cannot be read, an instance that hangs, and a log
// that was restored from an older copy than the keyspace. The doctor names each, and what it says to do helps.
func TestTheDoctorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	in, dir := newInstall(t)
	p, err := in.Add(t.Context(), "north")
	if err != nil {
		t.Fatal(err)
	}
	if status := post(t, p, p.EnrolmentKey, "boiler,gateway=gw temperature=1"); status != 204 {
		t.Fatalf("a reading is answered %d", status)
	}
	for _, c := range doctor(t, in) {
		if c.State != "ok" && c.Name != "clock" && c.Name != "disk" && c.Name != "open files" { // those are the machine's
			t.Errorf("all is well, and the doctor says %+v", c)
		}
	}

	var stop atomic.Bool
	var sender sync.WaitGroup
	sender.Go(func() {
		for !stop.Load() {
			post(t, p, p.EnrolmentKey, "boiler,gateway=gw temperature=")
		}
	})
	found(t, in, check{Name: "rejects", Provider: "north", State: "warn", Text: "mostly for syntax", Next: "provisioner rejects ls north"})
	stop.Store(true)
	sender.Wait()

	pid, err := in.InstancePID(t.Context(), "north", "reports")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	found(t, in, check{Name: "instances", Provider: "north", Text: "reports runs and", Next: "provisioner logs north --role reports"})
	_ = syscall.Kill(pid, syscall.SIGCONT) // it may have been ended for its silence
	gone(t, in, "instances")

	olderLog(t, in, dir, p)
}

// olderLog restores a log that is older than the keyspace, and does what the doctor says.
func olderLog(t *testing.T, in *install.Install, dir string, p install.Provider) {
	t.Helper()
	nats, copied := filepath.Join(in.Data, "nats"), filepath.Join(dir, "nats")
	in.Stop()
	run(t, "cp", "-a", nats, copied)
	start(t, in)
	for range 20 {
		taken(t, p, "boiler,gateway=gw temperature=2")
	}
	in.Stop()
	if err := os.RemoveAll(nats); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "-a", copied, nats)
	start(t, in)
	c := found(t, in, check{Name: "instances", Provider: "north", State: "fail", Text: "restored from an older copy", Next: "provisioner logs north --role ingest"})
	order := regexp.MustCompile(`provisioner (set north --drop-log \d+)`).FindStringSubmatch(c.Text)
	if order == nil {
		t.Fatalf("it is not said how to give the log up: %s", c.Text)
	}
	out, err := in.CLI(t.Context(), strings.Fields(order[1])...)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s prints\n%s", order[0], out)
	gone(t, in, "instances")
	taken(t, p, "boiler,gateway=gw temperature=3")
}

// taken sends a line until it is taken: the port may be opened a moment after the instance is said to be well.
func taken(t *testing.T, p install.Provider, line string) {
	t.Helper()
	soon(t, "a reading is taken", func() bool {
		answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(lineOf(t, p, p.EnrolmentKey, line))
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusNoContent
	})
}

// start starts the installation and waits until its provider takes readings.
func start(t *testing.T, in *install.Install) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	if _, err := in.Start(ctx); err != nil {
		t.Fatal(err)
	}
	soon(t, "ingest has run", func() bool {
		var shown struct {
			State     string           `json:"state"`
			Instances []map[string]any `json:"instances"`
		}
		out, err := in.CLI(ctx, "show", "north", "-o", "json")
		return err == nil && json.Unmarshal(out, &shown) == nil && (shown.State == "ready" || len(shown.Instances) > 0 && shown.Instances[0]["failures"] != float64(0))
	})
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// doctor returns what the doctor finds.
func doctor(t *testing.T, in *install.Install) (all []check) {
	t.Helper()
	out, err := in.CLI(t.Context(), "doctor", "-o", "json")
	if jsonErr := json.Unmarshal(out, &all); jsonErr != nil {
		t.Fatalf("doctor prints %s (%v, %v)", out, jsonErr, err)
	}
	fails := false
	for _, c := range all {
		fails = fails || c.State == "fail"
		if c.State != "ok" && c.Next == "" {
			t.Errorf("it is not said what to do: %+v", c)
		}
	}
	if fails != (err != nil) || fails && !strings.Contains(err.Error(), "exit status 8") {
		t.Errorf("something fails: %v, and the exit code says %v", fails, err)
	}
	return all
}

// found waits until the doctor finds what is wanted, and returns it.
func found(t *testing.T, in *install.Install, want check) (is check) {
	t.Helper()
	soon(t, "the doctor finds "+want.Text, func() bool {
		for _, c := range doctor(t, in) {
			if c.Name == want.Name && c.Provider == want.Provider && (want.State == "" || c.State == want.State) &&
				c.State != "ok" && strings.Contains(c.Text, want.Text) && strings.Contains(c.Next, want.Next) {
				is = c
				return true
			}
		}
		return false
	})
	t.Logf("%s %s: %s\n → %s", is.State, is.Name, is.Text, is.Next)
	return is
}

// operatorHears checks that whoever operates the installation is told of a state of provider1: by the doctor, whose check
// fails and says what to do, and by the metrics.
func operatorHears(t *testing.T, in *install.Install, name, state string) {
	t.Helper()
	found(t, in, check{Name: name, Provider: "provider1", State: "fail", Text: state + " since "})
	scrape(t, in).want(metrics.IngestState, func(v float64) bool { return v == 1 }, "provider", "provider1", "state", state)
}

// gone waits until the doctor finds nothing wrong by that name.
func gone(t *testing.T, in *install.Install, name string) {
	t.Helper()
	var last check
	defer func() {
		if t.Failed() {
			t.Logf("it still finds %+v", last)
		}
	}()
	soon(t, name+" are well again", func() bool {
		for _, c := range doctor(t, in) {
			if c.Name == name && c.State != "ok" {
				last = c
				return false
			}
		}
		return true
	})
}
