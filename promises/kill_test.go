package promises

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/gateways"
	"berth/promises/install"
	"berth/schema"
)

var (
	kills = flag.Int("kills", 20, "how often the kill test kills something")
	seed  = flag.Uint64("seed", 0, "of the kill test's choices; 0: a new one each time")
)

// TestAckedIsStoredThroughKills is the promise that gave this folder its name: fifty gateways send at full speed while
// ingest, reports and the provisioner (with NATS inside) are killed by SIGKILL at random moments. After each recovery a
// query equals the gateways' own record of what was acknowledged, and so does everything at the end.
func TestAckedIsStoredThroughKills(t *testing.T) {
	count := *kills
	if testing.Short() {
		count = min(count, 6)
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("%d kills, -seed=%d", count, *seed)
	random := rand.New(rand.NewPCG(*seed, 0))

	k := newKillTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		k.fleet.Run(ctx)
	}()
	defer func() { cancel(); <-sent }()

	for n := range count {
		k.waitForAcks(500 + random.Int64N(20_000))
		victim := k.kill(random)
		took := k.recover()
		number := random.IntN(k.gateways)
		result := k.check(number)
		t.Logf("kill %d: %s; answering again after %v; %d of gateway %d acknowledged and found", n+1, victim, took.Round(time.Millisecond), result.Acked, number)
	}
	cancel()
	<-sent
	k.checkAll()
	k.checkBooks()
}

// killTest is one run of the kill test.
type killTest struct {
	t        *testing.T
	install  *install.Install
	fleet    *gateways.Fleet
	api      gateways.API
	gateways int
}

// recovery bounds how long an installation may take to answer again after a kill.
const recovery = time.Minute

func newKillTest(t *testing.T) *killTest {
	t.Helper()
	in, data := newInstall(t)
	k := &killTest{t: t, install: in, gateways: 50}
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	t.Cleanup(func() {
		in.Stop()
		if t.Failed() {
			k.keep(data)
		}
	})
	provider, err := in.Add(ctx, "provider1")
	if err != nil {
		t.Fatal(err)
	}
	token, err := in.Token(ctx, "provider1")
	if err != nil {
		t.Fatal(err)
	}
	k.api = gateways.API{Base: "http://" + in.Web, Provider: "provider1", Token: token}
	k.fleet, err = gateways.New(gateways.Options{
		Address: provider.Address(), Key: provider.EnrolmentKey, Gateways: k.gateways, Sensors: 4, Window: 16,
		Start: time.Now().Add(-30 * time.Hour).Truncate(time.Second), Step: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// keep saves what a failed run left, to look at.
func (k *killTest) keep(data string) {
	out := filepath.Join("out", fmt.Sprintf("kill-%d", *seed))
	_ = os.Remove(filepath.Join(data, "var", "provisioner.sock")) // a socket cannot be copied
	if err := os.CopyFS(out, os.DirFS(data)); err != nil {
		k.t.Logf("keep %s: %v", out, err)
		return
	}
	k.t.Logf("what the run left is in promises/%s", out)
}

// waitForAcks waits until so many more frames are acknowledged.
func (k *killTest) waitForAcks(more int64) {
	k.t.Helper()
	goal := k.fleet.Stats().Acked + more
	k.until("frames are acknowledged", func(context.Context) error {
		if acked := k.fleet.Stats().Acked; acked < goal {
			return fmt.Errorf("%d of %d", acked, goal)
		}
		return nil
	})
}

// until asks again and again until fn succeeds.
func (k *killTest) until(what string, fn func(ctx context.Context) error) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), recovery)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := fn(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			k.t.Fatalf("after %v still not: %s: %v", recovery, what, err)
		case <-tick.C:
		}
	}
}

// kill kills something and, if it was the provisioner, starts it again as its supervisor would.
func (k *killTest) kill(random *rand.Rand) string {
	k.t.Helper()
	victim := []string{"ingest", "ingest", "reports", "provisioner", "provisioner"}[random.IntN(5)]
	if victim != "provisioner" {
		if err := k.install.KillInstance(k.t.Context(), "provider1", victim); err != nil {
			k.t.Fatal(err)
		}
		return victim
	}
	k.install.Kill()
	ctx, cancel := context.WithTimeout(k.t.Context(), recovery)
	defer cancel()
	if _, err := k.install.Start(ctx); err != nil {
		k.t.Fatal(err)
	}
	return victim
}

// recover waits until acknowledgements go on and the API answers, and returns how long that took.
func (k *killTest) recover() time.Duration {
	k.t.Helper()
	begun := time.Now()
	k.waitForAcks(1)
	k.until("the API answers", func(ctx context.Context) error {
		var books api.Books
		return k.api.Books(ctx, &books)
	})
	return time.Since(begun)
}

// check compares one gateway, as soon as its answer is complete.
func (k *killTest) check(number int) gateways.Result {
	k.t.Helper()
	var result gateways.Result
	k.until("a complete answer comes", func(ctx context.Context) error {
		result = gateways.Result{}
		if err := k.fleet.CheckGateway(ctx, k.api, number, &result); err != nil {
			return err
		}
		if result.Incomplete > 0 {
			return schema.Errorf(schema.Unavailable, "not complete: %v", result.Examples)
		}
		return nil
	})
	k.mustBeGood(result)
	return result
}

func (k *killTest) mustBeGood(r gateways.Result) {
	k.t.Helper()
	if !r.Good() {
		k.t.Fatalf("acknowledged readings: lost %d, duplicated %d, wrong %d of %d: %v", r.Lost, r.Duplicated, r.Wrong, r.Acked, r.Examples)
	}
}

// checkAll compares every gateway.
func (k *killTest) checkAll() {
	k.t.Helper()
	begun := time.Now()
	result, err := k.fleet.Check(k.t.Context(), k.api)
	if err != nil {
		k.t.Fatal(err)
	}
	k.mustBeGood(result)
	stats := k.fleet.Stats()
	k.t.Logf("%d readings acknowledged, %d found, %d of them in doubt; lost 0, duplicated 0, wrong 0; %d frames sent again over %d reconnects; compared in %v",
		result.Acked, result.Found, result.Doubt, stats.Again, stats.Reconnects, time.Since(begun).Round(time.Millisecond))
}

// checkBooks compares the books with each other, after all the kills.
func (k *killTest) checkBooks() {
	k.t.Helper()
	k.until("the books balance", func(ctx context.Context) error {
		var b api.Books
		if err := k.api.Books(ctx, &b); err != nil {
			return err
		}
		if sum := b.Frames.Committed + b.Frames.Rejected + b.Frames.GivenUp + b.Frames.InHand; sum != b.Frames.Received {
			return fmt.Errorf("received %d frames, accounted for %d: %+v", b.Frames.Received, sum, b.Frames)
		}
		if acked := uint64(k.fleet.Stats().Readings); b.Readings.Accepted < acked {
			return fmt.Errorf("%d readings accepted, %d acknowledged", b.Readings.Accepted, acked)
		}
		return nil
	})
}
