package promises

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var takeovers = flag.Int("takeovers", 6, "how often a newer ingest takes over")

// exitTakenOver is how an ingest ends that was taken over.
const exitTakenOver = 3

// TestOneWritesThroughTakeOvers starts a newer ingest of a provider, on the same port and the same keyspace, while the
// older one is paused (SIGSTOP), its connection to NATS stalls or is cut, or it is well, and lets the older one come
// back. Fifty gateways send all the while. The older one ends by itself and says why; the newer one takes what comes; and
// a query equals the gateways' own record.
//
// The provisioner runs everything but ingest: it would start one in between. Its own program is taken away from it, and
// the test starts instances as the provisioner does.
func TestOneWritesThroughTakeOvers(t *testing.T) {
	count := *takeovers
	if testing.Short() {
		count = min(count, 2)
	}
	t.Logf("%d take-overs, -seed=%d", count, *seed)
	random := rand.New(rand.NewPCG(*seed, 1))
	o := newTakeOver(t)
	o.run(func() {
		o.waitForAcks(500)
		first := random.IntN(len(faults))
		for n := range count {
			fault := faults[(first+n)%len(faults)]
			o.waitForAcks(500 + random.Int64N(20_000))
			older, begun := o.current, time.Now()
			fault.hurt(older)
			o.current = o.begin()
			o.waits(o.current)
			claimed := time.Since(begun)
			<-time.After(time.Duration(random.IntN(1500)) * time.Millisecond) // it may be away for longer, with batches under way
			back := time.Now()
			fault.heal(older)
			code := o.awaitEnd(older)
			if code != exitTakenOver {
				t.Fatalf("the older ingest, which %s, ends with code %d, want %d:\n%s", fault.name, code, exitTakenOver, older.said(t))
			}
			ended := time.Since(back)
			o.recover()
			if o.ended(o.current) {
				t.Fatalf("the newer ingest has ended too:\n%s", o.current.said(t))
			}
			result := o.check(random.IntN(o.gateways))
			t.Logf("take-over %d: the older one %s; the newer one had claimed after %v; the older one ended %v after it came back, frames are acknowledged and answered for %v after that; %d readings of a gateway acknowledged and found",
				n+1, fault.name, claimed.Round(time.Millisecond), ended.Round(time.Millisecond), (time.Since(back) - ended).Round(time.Millisecond), result.Acked)
		}
	})
	o.checkAll()
	o.checkBooks()
}

// faults are what befalls the older instance while the newer one starts, and how it ends.
var faults = []struct {
	name       string
	hurt, heal func(i *instance)
}{
	{"was paused", func(i *instance) { i.signal(syscall.SIGSTOP) }, func(i *instance) { i.signal(syscall.SIGCONT) }},
	{"was stalled", func(i *instance) { i.cable.stall() }, func(i *instance) { i.cable.mend() }},
	{"was cut off", func(i *instance) { i.cable.cut() }, func(i *instance) { i.cable.mend() }},
	{"was well", func(*instance) {}, func(*instance) {}},
}

// takeOver is an installation whose ingest the test itself runs.
type takeOver struct {
	*sending
	dir     string
	program string   // ingest
	env     []string // of the provisioner's own
	nats    string
	count   int
	current *instance
}

// instance is an ingest that the test started, with a cable to NATS of its own.
type instance struct {
	cmd   *exec.Cmd
	log   string
	cable *cable
	done  chan struct{} // closed when it has ended
}

func (i *instance) signal(s syscall.Signal) { _ = i.cmd.Process.Signal(s) }

// said returns what the instance has logged.
func (i *instance) said(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(i.log)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newTakeOver(t *testing.T) *takeOver {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"provisioner", "ingest", "reports", "web"} {
		if err := os.Link(filepath.Join(build(t), name), filepath.Join(bin, name)); err != nil { // one is taken away below
			t.Fatal(err)
		}
	}
	in := newStopped(t, dir, filepath.Join(dir, "var"))
	in.Bin = bin
	begin(t, in)
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	o := &takeOver{sending: newSending(t, in, dir, 50), dir: dir, program: filepath.Join(bin, "ingest.away")}
	pid, err := in.InstancePID(ctx, "provider1", "ingest")
	if err != nil {
		t.Fatal(err)
	}
	o.learn(pid)
	if err := os.Rename(filepath.Join(bin, "ingest"), o.program); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	o.current = o.begin()
	return o
}

// learn reads how the provisioner started its ingest.
func (o *takeOver) learn(pid int) {
	o.t.Helper()
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		o.t.Fatal(err)
	}
	for pair := range bytes.SplitSeq(environ, []byte{0}) {
		name, value, _ := strings.Cut(string(pair), "=")
		switch name {
		case "BERTH_NATS":
			o.nats = strings.TrimPrefix(value, "nats://")
		case "BERTH_INSTANCE", "BERTH_PARENT_FD":
		case "BERTH_CREDENTIALS": // it goes with the instance
			data, err := os.ReadFile(value)
			if err == nil {
				value = filepath.Join(o.dir, "credentials")
				err = os.WriteFile(value, data, 0o600)
			}
			if err != nil {
				o.t.Fatal(err)
			}
			o.env = append(o.env, name+"="+value)
		default:
			o.env = append(o.env, string(pair))
		}
	}
	if o.nats == "" {
		o.t.Fatalf("the provisioner's ingest was not told where NATS is: %q", environ)
	}
}

// begin starts an instance.
func (o *takeOver) begin() *instance {
	o.t.Helper()
	o.count++
	i := &instance{log: filepath.Join(o.dir, fmt.Sprintf("ingest-%d.log", o.count)), cable: lay(o.t, o.nats), done: make(chan struct{})}
	log, err := os.Create(i.log)
	if err != nil {
		o.t.Fatal(err)
	}
	i.cmd = exec.CommandContext(context.WithoutCancel(o.t.Context()), o.program)
	i.cmd.Env = append(o.env, "BERTH_NATS=nats://"+i.cable.address(), "BERTH_INSTANCE=test"+strconv.Itoa(o.count))
	i.cmd.Stdout, i.cmd.Stderr = log, log
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err = errors.Join(i.cmd.Start(), log.Close())
	if err != nil {
		o.t.Fatal(err)
	}
	go func() {
		_ = i.cmd.Wait() // how it ended its state tells
		close(i.done)
	}()
	o.t.Cleanup(func() {
		i.signal(syscall.SIGKILL)
		<-i.done
	})
	return i
}

// waits returns when the instance has claimed the log and waits for what the one before it still holds, or does not have
// to wait any more.
func (o *takeOver) waits(i *instance) {
	o.t.Helper()
	o.until("the newer ingest has claimed the log", func(context.Context) error {
		said := i.said(o.t)
		if o.ended(i) {
			o.t.Fatalf("the newer ingest has ended:\n%s", said)
		}
		if bytes.Contains(said, []byte("waiting for the keyspace")) || bytes.Contains(said, []byte("accepting")) {
			return nil
		}
		return fmt.Errorf("it says %q", said)
	})
}

func (o *takeOver) ended(i *instance) bool {
	select {
	case <-i.done:
		return true
	default:
		return false
	}
}

// awaitEnd waits for the instance's end and returns its exit code.
func (o *takeOver) awaitEnd(i *instance) int {
	o.t.Helper()
	o.until("the older ingest ends by itself", func(context.Context) error {
		if !o.ended(i) {
			return fmt.Errorf("it says %q", i.said(o.t))
		}
		return nil
	})
	return i.cmd.ProcessState.ExitCode()
}
