package promises

import (
	"context"
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"berth/internal/gateways"
)

var (
	kills  = flag.Int("kills", 12, "how often the kill test kills something")
	spoken = flag.String("protocols", strings.Join(gateways.Protocols(), ","), "what the gateways of the kill test speak, in turn")
	seed   = flag.Uint64("seed", 0, "of all that is chosen by chance; 0: a new one each time")
)

// TestAckedIsStoredThroughKills is the promise that gave this folder its name: fifty gateways, of every protocol that is
// simulated, send at full speed while ingest, reports and the provisioner (with NATS inside) are killed by SIGKILL at
// random moments. After each recovery a query equals the gateways' own record of what was acknowledged, and so does
// everything at the end.
func TestAckedIsStoredThroughKills(t *testing.T) {
	count := *kills
	if testing.Short() {
		count = min(count, 6)
	}
	t.Logf("%d kills, -seed=%d", count, *seed)
	random := rand.New(rand.NewPCG(*seed, 0))

	in, dir := newInstall(t)
	s := newSendingBy(t, in, dir, "provider1", 50, 0, *spoken)
	s.run(func() {
		for n := range count {
			s.waitForAcks(500 + random.Int64N(20_000))
			victim := s.kill(random)
			took := s.recover()
			number := random.IntN(s.gateways)
			result := s.check(number)
			t.Logf("kill %d: %s; answering again after %v; %d of gateway %d acknowledged and found", n+1, victim, took.Round(time.Millisecond), result.Acked, number)
		}
	})
	s.checkAll()
	s.checkBooks()
}

// kill kills something and, if it was the provisioner, starts it again as its supervisor would.
func (s *sending) kill(random *rand.Rand) string {
	s.t.Helper()
	victim := []string{"ingest", "ingest", "reports", "provisioner", "provisioner"}[random.IntN(5)]
	if victim != "provisioner" {
		if err := s.install.KillInstance(s.t.Context(), "provider1", victim); err != nil {
			s.t.Fatal(err)
		}
		return victim
	}
	s.install.Kill()
	s.startAgain()
	return victim
}

// startAgain starts the provisioner as its supervisor would.
func (s *sending) startAgain() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), recovery)
	defer cancel()
	if _, err := s.install.Start(ctx); err != nil {
		s.t.Fatal(err)
	}
}
