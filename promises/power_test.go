package promises

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/promises/cutfs"
)

var cuts = flag.Int("cuts", 8, "how often the test of power cuts cuts the power")

// TestAckedIsStoredThroughPowerCuts keeps all data of an installation, those of NATS and of the keyspaces among them, on
// a disk that forgets what was not synced. Gateways send at full speed; the power is cut, at a random time or just before
// an operation that is rare, and sometimes again before everything has come back. All programs are killed and started
// again on what is left. Then a query equals the gateways' own record of what was acknowledged, and so does everything at
// the end.
func TestAckedIsStoredThroughPowerCuts(t *testing.T) {
	count := *cuts
	if testing.Short() {
		count = min(count, 3)
	}
	p := newPower(t)
	t.Logf("%d cuts, -seed=%d", count, *seed)
	p.run(func() {
		for n := range count {
			moment := p.cut()
			took := p.recover()
			number := p.random.IntN(p.gateways)
			result := p.check(number)
			t.Logf("cut %d: %s; answering again after %v; %d of gateway %d acknowledged and found", n+1, moment, took.Round(time.Millisecond), result.Acked, number)
		}
	})
	p.checkAll()
	p.checkBooks()
}

// TestPowerCutsAreNoticed is the test of the test: with a disk that answers syncs and does nothing, acknowledged readings
// are lost, and found to be.
func TestPowerCutsAreNoticed(t *testing.T) {
	t.Parallel()
	p := newPower(t)
	p.disk.Lie()
	p.run(func() {
		p.waitForAcks(5000)
		p.disk.Cut()
		p.powerOn()
		p.start()
		p.recover()
		for number := range p.gateways {
			if result := p.ask(number); result.Lost > 0 {
				t.Logf("%d of %d acknowledged readings of gateway %d lost, and noticed", result.Lost, result.Acked, number)
				return
			}
		}
		t.Error("no acknowledged reading was lost, though nothing was synced: the test notices nothing")
	})
}

// power is an installation whose power can be cut.
type power struct {
	*sending
	disk   *cutfs.Disk
	mount  string
	random *rand.Rand
}

func newPower(t *testing.T) *power {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting the disk that forgets takes root")
	}
	dir := t.TempDir()
	p := &power{mount: filepath.Join(dir, "var"), random: rand.New(rand.NewPCG(*seed, 1))}
	if err := os.Mkdir(p.mount, 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.disk, err = cutfs.New(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := p.disk.Mount(p.mount); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.disk.Unmount(), p.disk.Close()); err != nil {
			t.Error(err)
		}
	})
	in := newInstallAt(t, dir, filepath.Join(p.mount, "berth"))
	p.sending = newSending(t, in, dir, 50)
	return p
}

// moments are when the power is cut: while all goes well, at a random time, or just before one of the next operations of
// a kind. Removals come with trims, renames with new months and with what nats-server and the records keep.
var moments = []struct {
	name string
	kind cutfs.Kind
	most int // of such operations before the cut
}{
	{name: "at a random time"},
	{"before a sync", cutfs.Syncing, 200},
	{"before a write", cutfs.Writing, 200},
	{"before a new file", cutfs.Making, 4},
	{"before a rename", cutfs.Renaming, 2},
	{"before a removal", cutfs.Removing, 2},
}

// cut cuts the power at some moment, kills everything, and starts it again on what is left. Three times of ten the power
// is cut again while everything comes back, at any time of that.
func (p *power) cut() (what string) {
	p.t.Helper()
	m := moments[p.random.IntN(len(moments))]
	p.waitForAcks(500 + p.random.Int64N(20_000))
	if m.most > 0 {
		p.disk.CutBefore(m.kind, 1+p.random.IntN(m.most))
		p.waitForCut(time.Duration(p.random.IntN(3000)) * time.Millisecond)
	}
	what = m.name
	p.disk.Cut()
	for p.powerOn(); p.random.IntN(10) < 3; p.powerOn() {
		limit := time.Duration(p.random.IntN(2000)) * time.Millisecond
		what += fmt.Sprintf(", again %v after the start", limit)
		p.startFor(limit)
		p.disk.Cut()
	}
	p.start()
	return what
}

// start starts the installation again.
func (p *power) start() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), recovery)
	defer cancel()
	if _, err := p.install.Start(ctx); err != nil {
		p.t.Fatal(err)
	}
}

// startFor starts the installation and returns when the time is over, however far it has come.
func (p *power) startFor(limit time.Duration) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	if _, err := p.install.Start(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		p.t.Fatal(err)
	}
	<-ctx.Done()
}

// waitForCut waits until the power is off, or the time is over.
func (p *power) waitForCut(limit time.Duration) {
	over := time.NewTimer(limit)
	defer over.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !p.disk.Off() {
		select {
		case <-over.C:
			return
		case <-tick.C:
		}
	}
}

// powerOn kills what still runs without power, and mounts what the cut has left of the disk.
func (p *power) powerOn() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), recovery)
	defer cancel()
	if err := p.install.KillAll(ctx); err != nil {
		p.t.Fatal(err)
	}
	if err := p.disk.Unmount(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.disk.Restore(p.random); err != nil {
		p.t.Fatal(err)
	}
	if err := p.disk.Mount(p.mount); err != nil {
		p.t.Fatal(err)
	}
}
